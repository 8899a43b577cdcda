"""Losses: a function of every sample, and the `keras.losses.Loss` around it."""

from keras_ext.losses.pinball import Pinball, pinball
from keras_ext.losses.sparse_categorical_focal_crossentropy import (
    SparseCategoricalFocalCrossentropy,
    sparse_categorical_focal_crossentropy,
)

__all__ = [
    "Pinball",
    "SparseCategoricalFocalCrossentropy",
    "pinball",
    "sparse_categorical_focal_crossentropy",
]
