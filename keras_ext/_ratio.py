"""Shares of a whole, of nothing too."""

from keras import ops

from keras_ext._types import Tensor

# The slope of a quotient has the square of the divisor, which must not be 0 in float32.
_NOTHING = 1e-18


def ratio(part: Tensor, whole: Tensor) -> Tensor:
    """Return `part / whole`; 0, with slope 0, where `whole` is 0 or next to it."""
    nothing = whole < _NOTHING
    return ops.where(nothing, 0.0, part / ops.where(nothing, 1.0, whole))
