"""Losses: a function of every sample, and the `keras.losses.Loss` around it."""

from keras_ext.losses.crf_negative_log_likelihood import (
    CRFNegativeLogLikelihood,
    crf_negative_log_likelihood,
)
from keras_ext.losses.pinball import Pinball, pinball
from keras_ext.losses.sparse_categorical_focal_crossentropy import (
    SparseCategoricalFocalCrossentropy,
    sparse_categorical_focal_crossentropy,
)

__all__ = [
    "CRFNegativeLogLikelihood",
    "Pinball",
    "SparseCategoricalFocalCrossentropy",
    "crf_negative_log_likelihood",
    "pinball",
    "sparse_categorical_focal_crossentropy",
]
