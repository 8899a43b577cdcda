"""Norms whose squares neither overflow nor vanish."""

from typing import Any

import keras
from keras import ops

from keras_ext._highest import highest
from keras_ext._types import Tensor

# How the exponent of a float is stored, and the least scale: what is less has slopes
# that may overflow.
_LAYOUTS = {"float32": ("int32", 0x7F80 << 16, 2.0**-120)}
_LAYOUTS["float64"] = ("int64", 0x7FF0 << 48, 2.0**-1000)


def scale(x: Tensor, axis: Any) -> Tensor:
    """Return a power of 2 that is near the largest of `x` along `axis`, kept as 1.

    What is divided by it keeps its digits, and has squares that neither overflow nor
    vanish: a norm is the scale times the norm of `x / scale`. It has no gradient, and
    is never 0.

    Args:
        x: Tensor of dtype float32 or float64.
        axis: The axis or axes of a norm.
    """
    dtype = keras.backend.standardize_dtype(x.dtype)
    bits, exponent, least = _LAYOUTS[dtype]
    largest = highest(ops.abs(ops.stop_gradient(x)), axis, keepdims=True)
    # The exponent alone is the largest power of 2 that is not above the number.
    exponent = ops.convert_to_tensor(exponent, bits)
    power = ops.view(ops.bitwise_and(ops.view(largest, bits), exponent), dtype)
    return ops.maximum(power, least)


def unit(x: Tensor, axis: Any) -> Tensor:
    """Return `x` divided by its norm along `axis`; 0 stays 0, of slope 0.

    So does what is less than 1e-36 in float32, since its slopes overflow.
    """
    x = x / scale(x, axis)
    square = ops.sum(ops.square(x), axis=axis, keepdims=True)
    nothing = square < 1.0  # no entry reaches the scale, which is the least there is
    return ops.where(nothing, 0.0, x * ops.rsqrt(ops.where(nothing, 1.0, square)))
