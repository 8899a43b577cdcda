"""Reporting to Ray Train."""

import os
from typing import Any

from keras_ext.callbacks.training_callback import TrainingCallback


class RayReport(TrainingCallback):
    """Reports the logs of each epoch to Ray Train, with the folder of a run.

    For a function that `ray.train.tensorflow.TensorflowTrainer` runs in each worker.
    All workers must be given it, since Ray waits for the report of each of them. The
    chief reports the folder of its `keras_ext.callbacks.Checkpoint`, too, which Ray
    copies to its storage: Ray keeps no metrics that are reported without a checkpoint.

    When Ray restarts the workers after a failure, `resume=True` continues the run from
    the folder itself, in which there may be a later checkpoint than in Ray's copy. All
    workers must be able to read it. To continue from the copy, as in another cluster,
    copy `ray.train.get_checkpoint()` to the folder first.

    Needs `pip install 'keras_ext[ray]'`.

    Args:
        directory: The folder of the Checkpoint, a string or path. It is created if it
            does not exist.

    Raises:
        ImportError: If Ray is not installed.
        RuntimeError: In training, if Ray Train has not started this process.

    Example:

    >>> import keras
    >>> import keras_ext
    >>> def train(config):  # for ray.train.tensorflow.TensorflowTrainer(train, ...)
    ...     import tensorflow as tf
    ...     strategy = tf.distribute.MultiWorkerMirroredStrategy()
    ...     with strategy.scope():
    ...         model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    ...         trainer = keras_ext.Trainer(model)
    ...         trainer.compile("sgd", loss="mse")
    ...     folder = config["folder"]
    ...     callbacks = [
    ...         keras_ext.callbacks.Checkpoint(folder),
    ...         keras_ext.callbacks.RayReport(folder),
    ...     ]
    ...     trainer.fit(
    ...         config["x"], config["y"], epochs=10, resume=True, callbacks=callbacks
    ...     )
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        super().__init__()
        self.directory = directory
        try:
            import ray.train
        except ImportError as error:
            raise ImportError(
                "RayReport needs Ray Train, which is not installed: "
                "pip install 'keras_ext[ray]'"
            ) from error
        self._ray = ray.train

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Report the epoch, counted from 0, and its logs; waits for all workers."""
        checkpoint = None
        if self._ray.get_context().get_world_rank() == 0:
            os.makedirs(self.directory, exist_ok=True)
            checkpoint = self._ray.Checkpoint.from_directory(self.directory)
        self._ray.report({"epoch": epoch, **(logs or {})}, checkpoint=checkpoint)
