"""A training that workers are killed in, and continue: run in each of them.

Prints a line for each call, and in the end, as JSON, everything that must be the same.
The environment says how: FOLDER, DRIVER ("fit" or "Loop"), DATA ("arrays" or
"dataset"), SEED of the process.
"""

import hashlib
import json
import os
import time

import tensorflow as tf

STRATEGY = (
    tf.distribute.MultiWorkerMirroredStrategy()
    if "TF_CONFIG" in os.environ
    else tf.distribute.get_strategy()
)

import keras  # noqa: E402 - the strategy must be the first
import numpy as np  # noqa: E402

import keras_ext  # noqa: E402

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 6)).astype("float32")
Y = RNG.integers(0, 3, size=150)
EPOCHS = int(os.environ.get("EPOCHS", 6))


class Reports(keras.callbacks.Callback):
    """Prints each step, which it slows down a little, so that it may be killed."""

    def on_train_batch_end(self, batch, logs=None):
        print("step", batch, flush=True)
        time.sleep(float(os.environ.get("SLEEP", 0)))

    def on_test_batch_end(self, batch, logs=None):
        print("test", batch, flush=True)


def make():
    # Another process draws other numbers, until it continues the run.
    keras.utils.set_random_seed(int(os.environ.get("SEED", 1)))
    with STRATEGY.scope():
        layers = [
            keras.layers.Dense(8, activation="relu"),
            keras.layers.BatchNormalization(synchronized=True),
            keras.layers.Dropout(float(os.environ.get("DROPOUT", 0.3))),
            keras.layers.Dense(3),
        ]
        trainer = keras_ext.Trainer(keras.Sequential([keras.Input((6,)), *layers]))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        trainer.compile(
            keras.optimizers.Adam(0.01),
            loss=loss,
            metrics=["accuracy"],
        )
    return trainer


def data():
    if os.environ["DATA"] == "arrays":
        return X, Y
    # In every process: the order of a dataset depends on it.
    tf.random.set_seed(5)
    rows = tf.data.Dataset.from_tensor_slices((X, Y))
    return rows.shuffle(150, seed=3).batch(8)


def main():
    folder = os.environ["FOLDER"]
    trainer = make()
    frequency = os.environ.get("SAVE_FREQ", "5")
    frequency = int(frequency) if frequency.isdigit() else frequency
    callbacks = [
        keras_ext.callbacks.Checkpoint(f"{folder}/run", save_freq=frequency),
        keras_ext.callbacks.CSVLogger(f"{folder}/log.csv"),
        Reports(),
    ]
    options = {"epochs": EPOCHS, "callbacks": callbacks, "verbose": 2, "resume": True}
    x, *y = (data(),) if os.environ["DATA"] == "dataset" else data()
    if os.environ["DRIVER"] == "fit":
        options |= {"validation_data": (X[:60], Y[:60])}
        options |= {"batch_size": 8} if y else {}
        history = trainer.fit(x, *y, **options).history
    else:
        with keras_ext.Loop(trainer, **options) as loop:
            for epoch in loop:
                batches = epoch.chunks((x, *y), batch_size=8) if y else epoch.chunks(x)
                for chunk in batches:
                    epoch.log(trainer.steps(chunk))
                if not epoch.cut_short:
                    epoch.evaluate((X[:60], Y[:60]))
        history = loop.history.history
    digest = hashlib.sha256()
    for one in [*trainer.weights, *trainer.optimizer.variables]:
        digest.update(np.ascontiguousarray(one).tobytes())
    print(json.dumps({"weights": digest.hexdigest(), "history": history}), flush=True)


if __name__ == "__main__":
    main()
