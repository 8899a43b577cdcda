"""Norms whose squares neither overflow nor vanish."""

from typing import Any

import keras
from keras import ops

from keras_ext._highest import highest
from keras_ext._types import Tensor

# Sizes whose squares, and products of a few, need no care.
_USUAL = 2.0**-10, 2.0**10
# What is less has slopes that may overflow.
_LEAST = {"float32": 2.0**-120, "float64": 2.0**-1000}


def scale(x: Tensor, axis: Any) -> Tensor:
    """Return 1, or the largest of `x` along `axis` if that is unusual; kept as size 1.

    What is divided by it has squares that neither overflow nor vanish: a norm is the
    scale times the norm of `x / scale`. It has no gradient, and is never 0: where all
    is next to nothing, it is 1, and the squares are 0.

    Args:
        x: Tensor of dtype float32 or float64.
        axis: The axis or axes of a norm.
    """
    low, high = _USUAL
    least = _LEAST[keras.backend.standardize_dtype(x.dtype)]
    largest = highest(ops.abs(ops.stop_gradient(x)), axis, keepdims=True)
    usual = (largest >= low) & (largest <= high) | (largest < least)
    return ops.where(usual, ops.ones_like(largest), largest)


def unit(x: Tensor, axis: Any) -> Tensor:
    """Return `x` divided by its norm along `axis`; 0 stays 0, of slope 0.

    So does what is less than 1e-36 in float32, since its slopes overflow.
    """
    x = x / scale(x, axis)
    square = ops.sum(ops.square(x), axis=axis, keepdims=True)
    nothing = ops.equal(square, 0.0)
    return ops.where(nothing, 0.0, x * ops.rsqrt(ops.where(nothing, 1.0, square)))
