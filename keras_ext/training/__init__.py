"""The training room: `Trainer` and `Loop`. The only room that imports TensorFlow."""

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "keras_ext.Trainer, Loop and callbacks.Checkpoint need Keras's TensorFlow "
        f"backend. Received: backend {keras.backend.backend()!r}. Set the environment "
        "variable KERAS_BACKEND=tensorflow before Keras is imported. Layers, losses, "
        "metrics, schedules, optimizers and the other callbacks run on every backend."
    )

from keras_ext.training.chunks import Chunk
from keras_ext.training.epoch import Epoch
from keras_ext.training.logs import StepLogs
from keras_ext.training.loop import Loop
from keras_ext.training.preemption import Preempted
from keras_ext.training.sharpness_aware_trainer import SharpnessAwareTrainer
from keras_ext.training.trainer import Trainer

__all__ = [
    "Chunk",
    "Epoch",
    "Loop",
    "Preempted",
    "SharpnessAwareTrainer",
    "StepLogs",
    "Trainer",
]
