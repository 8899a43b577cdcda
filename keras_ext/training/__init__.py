"""The training room: `Trainer` and `Loop`. The only room that imports TensorFlow."""

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "keras_ext.Trainer, Loop and callbacks.Checkpoint need Keras's TensorFlow "
        f"backend. Received: backend {keras.backend.backend()!r}. Set the environment "
        "variable KERAS_BACKEND=tensorflow before importing Keras. Layers, losses, "
        "metrics, schedules, optimizers and the other callbacks run on every backend."
    )

from keras_ext.training.base.workers import WorkerError
from keras_ext.training.data.chunks import Chunk
from keras_ext.training.loop.epoch import Epoch
from keras_ext.training.loop.logs import StepLogs
from keras_ext.training.loop.loop import Loop
from keras_ext.training.resume.signals import Preempted
from keras_ext.training.trainer.sharpness_aware_trainer import SharpnessAwareTrainer
from keras_ext.training.trainer.trainer import Trainer

__all__ = [
    "Chunk",
    "Epoch",
    "Loop",
    "Preempted",
    "SharpnessAwareTrainer",
    "StepLogs",
    "Trainer",
    "WorkerError",
]
