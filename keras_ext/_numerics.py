"""Arithmetic at the limits of floats: near 0 and 1, empty, huge or tiny values."""

import math
from typing import Any

import keras
from keras import ops

from keras_ext._types import Tensor

# Magnitudes whose squares, and products of a few, are safe.
_USUAL = 2.0**-10, 2.0**10
# Smaller numbers have slopes that may overflow.
_LEAST = {"float32": 2.0**-120, "float64": 2.0**-1000}
# The slope of a quotient contains the squared divisor, which must not be 0 in float32.
_NOTHING = 1e-18


def at_least_float32(x: Tensor) -> Tensor:
    """Return `x` in its own float dtype, or float32 if that is less precise."""
    x = ops.convert_to_tensor(x)
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))


def highest(x: Tensor, axis: Any, *, keepdims: bool = False) -> Tensor:
    """Return the maximum along `axis`; for an empty batch, an empty tensor.

    Without `initial`, Keras raises on an empty batch.
    """
    return ops.max(x, axis=axis, keepdims=keepdims, initial=-float("inf"))


def ratio(part: Tensor, whole: Tensor) -> Tensor:
    """Return `part / whole`; 0, with slope 0, where `whole` is 0 or nearly so."""
    nothing = whole < _NOTHING
    return ops.where(nothing, 0.0, part / ops.where(nothing, 1.0, whole))


def power(share: Tensor, exponent: float) -> Tensor:
    """Return `share^exponent`, for an exponent of at least 0; finite slope at 0."""
    if exponent == 0:
        return 1.0
    return ops.power(ops.maximum(share, keras.config.epsilon()), exponent)


def one_minus_power(base: float, exponent: Tensor) -> Tensor:
    """Return `1 - base^exponent`, accurate even where the power is nearly 1.

    Args:
        base: Float in [0, 1).
        exponent: Positive numbers, as a float tensor.
    """
    return -ops.expm1((math.log(base) if base else -math.inf) * exponent)


def scale(x: Tensor, axis: Any) -> Tensor:
    """Return 1, or the largest of `x` along `axis` if extreme; the axis is kept.

    Divided by it, values have squares that neither overflow nor vanish: a norm is the
    scale times the norm of `x / scale`. It has no gradient, and is never 0: where all
    values are close to 0, it is 1, and the squares are 0.

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
    """Return `x` divided by its norm along `axis`; 0 stays 0, with slope 0.

    So do values below 1e-36 in float32, whose slopes would overflow.
    """
    x = x / scale(x, axis)
    square = ops.sum(ops.square(x), axis=axis, keepdims=True)
    nothing = ops.equal(square, 0.0)
    return ops.where(nothing, 0.0, x * ops.rsqrt(ops.where(nothing, 1.0, square)))
