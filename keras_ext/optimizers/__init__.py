"""Optimizers that Keras lacks: a rectified Adam, and a wrapper that looks ahead."""

from keras_ext.optimizers.lookahead import Lookahead
from keras_ext.optimizers.rectified_adam import RectifiedAdam

__all__ = [
    "Lookahead",
    "RectifiedAdam",
]
