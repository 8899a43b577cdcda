"""A run of which an earlier version has saved a checkpoint, in `saved_before`.

Its files were made by `python -m tests.training.earlier_run FOLDER` on the last commit
before checkpoints said their format. What they hold must still resume.
"""

import contextlib
import pathlib
import sys

import keras
import numpy as np

import keras_ext
from keras_ext.callbacks import Checkpoint, LearningRateScheduler, WeightAveraging

SAVED = pathlib.Path(__file__).parent / "saved_before"
EPOCHS = 4


class LeaveAfter(keras.callbacks.Callback):
    """Fails after so many batches, as a process that is killed does."""

    def __init__(self, batches):
        super().__init__()
        self._batches = batches

    def get_state(self):
        return {}

    def set_state(self, state):
        pass

    def on_train_batch_end(self, batch, logs=None):
        self._batches -= 1
        if not self._batches:
            raise InterruptedError


def run(folder, *, leave_after=-1, resume=True):
    """Train, and return the weights and the losses of the epochs."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, "relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3, seed=2),
            keras.layers.Dense(1),
        ]
    )
    trainer = keras_ext.Trainer(model, seed=3)
    trainer.compile(keras.optimizers.Adam(0.01), loss="mse", metrics=["mae"])
    x = np.random.default_rng(4).normal(size=(80, 4)).astype("float32")
    schedule = keras.optimizers.schedules.ExponentialDecay(0.01, 5, 0.9)
    history = trainer.fit(
        x,
        x @ [[1.0], [2.0], [-1.0], [0.5]],
        batch_size=8,
        epochs=EPOCHS,
        verbose=0,
        callbacks=[
            LearningRateScheduler(schedule, update_freq="batch"),
            WeightAveraging(decay=0.9),
            Checkpoint(folder, save_freq=7, signals=()),
            LeaveAfter(leave_after),
        ],
        resume=resume,
    )
    return [np.asarray(one) for one in model.weights], history.history["loss"]


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    with contextlib.suppress(InterruptedError):
        run(folder, leave_after=15, resume=False)
    for checkpoint in sorted(folder.iterdir()):
        print(checkpoint)
