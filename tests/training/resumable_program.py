"""A training that is killed and run again; not a test, the tests start it.

Run as `python -m tests.training.resumable_program FOLDER --seed 1 ...`; with `--serve`,
it does so in forks of itself, as often as asked to: see `fork_server.py`. It prints
"training" when the first step can be made, and writes `result.npz` when it has ended:
weights, optimizer, random generators and History, which must be those of a run that
nobody has killed, whatever `--seed` is.
"""

import argparse
import json
import pathlib
import sys
import time

import keras
import numpy as np
import tensorflow as tf

import keras_ext
from keras_ext.callbacks import Checkpoint, CSVLogger, WeightAveraging
from keras_ext.training.resume.store import CheckpointStore
from tests.training import fork_server

EPOCHS = 6
SAMPLES, BATCH = 200, 16


def make_data(kind):
    """Return the data for training, and for validation."""
    generator = np.random.default_rng(7)
    x = generator.integers(0, 255, size=(SAMPLES + 40, 8, 8, 1)).astype("uint8")
    y = (x.mean((1, 2, 3)) > 127).astype("int32")
    train, validation = (x[:SAMPLES], y[:SAMPLES]), (x[SAMPLES:], y[SAMPLES:])
    if kind == "dataset":
        # The order in which a dataset shuffles hangs on the seed when it is made.
        tf.random.set_seed(7)
        train = tf.data.Dataset.from_tensor_slices(train).shuffle(SAMPLES).batch(BATCH)
    return train, validation


def make_trainer(xla, averaged):
    """Return a compiled Trainer: everything that has a state is in it."""
    layers = [
        keras.Input((8, 8, 1)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.RandomFlip(),
        *([] if xla else [keras.layers.RandomTranslation(0.2, 0.2)]),
        keras.layers.Flatten(),
        keras.layers.Dense(32, "relu"),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(2, "softmax"),
    ]
    trainer = keras_ext.Trainer(keras.Sequential(layers))
    schedule = keras_ext.schedules.OneCycle(0.01, total_steps=100)
    optimizer = keras.optimizers.Adam(schedule, use_ema=not averaged, ema_momentum=0.9)
    trainer.compile(
        keras_ext.optimizers.Lookahead(optimizer) if averaged else optimizer,
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=xla,
    )
    return trainer


class Slowly(keras.callbacks.Callback):
    """Gives whoever wants to kill the program the time for it."""

    def __init__(self, seconds, every_step):
        super().__init__()
        self._seconds = seconds
        self.batch_hook_freq = 1 if every_step else "epoch"

    def on_train_batch_end(self, batch, logs=None):
        time.sleep(self._seconds)

    def on_epoch_end(self, epoch, logs=None):
        time.sleep(self._seconds)


def make_slow_files(seconds):
    """Have a checkpoint take time before it is written, and before it is in place."""
    write = CheckpointStore._write_files

    def slow_write(*args):
        time.sleep(seconds)
        write(*args)
        time.sleep(seconds)

    CheckpointStore._write_files = slow_write


def fit(trainer, data, validation, **options):
    """Train with `fit`."""
    batch_size = None if isinstance(data, tf.data.Dataset) else BATCH
    inputs = data if batch_size is None else data[0]
    targets = None if batch_size is None else data[1]
    return trainer.fit(
        inputs,
        targets,
        batch_size=batch_size,
        epochs=EPOCHS,
        verbose=0,
        validation_data=validation,
        **options,
    ).history


def loop(trainer, data, validation, *, every_step, **options):
    """Train with a loop written by hand, one step at a time or many."""
    batch_size = None if isinstance(data, tf.data.Dataset) else BATCH
    loop = keras_ext.Loop(trainer, epochs=EPOCHS, verbose=0, **options)
    for epoch in loop:
        if every_step:
            for batch in epoch.batches(data, batch_size):
                epoch.log(trainer.step(batch))
        else:
            for chunk in epoch.chunks(data, batch_size):
                epoch.log(trainer.steps(chunk))
        epoch.evaluate(validation)
    return loop.history.history


def main():
    """Train, and write down what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--data", choices=["arrays", "dataset"], default="arrays")
    parser.add_argument("--driver", choices=["fit", "loop"], default="fit")
    parser.add_argument("--every-step", action="store_true")
    parser.add_argument("--xla", action="store_true")
    parser.add_argument("--averaged", action="store_true")
    parser.add_argument("--save-freq", default="epoch")
    parser.add_argument("--slow", type=float, default=0.0)
    parser.add_argument("--slow-files", type=float, default=0.0)
    options = parser.parse_args()
    make_slow_files(options.slow_files)
    data, validation = make_data(options.data)
    keras.utils.set_random_seed(options.seed)
    trainer = make_trainer(options.xla, options.averaged)
    frequency = options.save_freq
    averages = [WeightAveraging(decay=0.9)] if options.averaged else []
    callbacks = [
        *averages,
        keras.callbacks.EarlyStopping("val_loss", patience=4),
        CSVLogger(options.folder / "log.csv", update_freq=5),
        Checkpoint(
            options.folder / "run",
            save_freq=int(frequency) if frequency.isdigit() else frequency,
        ),
        Slowly(options.slow, options.every_step),
    ]
    print("training", flush=True)
    drive = fit
    if options.driver == "loop":

        def drive(*args, **kwargs):
            return loop(*args, every_step=options.every_step, **kwargs)

    history = drive(trainer, data, validation, callbacks=callbacks, resume=True)
    variables = [*trainer.variables, *trainer.optimizer.variables]
    values = {f"{i} {one.path}": one.numpy() for i, one in enumerate(variables)}
    np.savez(options.folder / "result.npz", history=json.dumps(history), **values)


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        fork_server.serve(sys.argv[2])
    main()
