"""Predictions of a model that has diverged: which of them are NaN."""

import keras
from keras import ops

from keras_ext._types import Tensor


def are_numbers(values: Tensor, *, axis: int | None = None) -> Tensor:
    """Return for each value whether it is a number, not NaN.

    A NaN prediction says that a model has diverged, not that a metric is used in the
    wrong way. So it makes the result NaN, in eager execution too, where targets that
    are not valid are an error.

    Args:
        values: Predictions.
        axis: An axis along which all must be numbers. Default: `None`, each by itself.
    """
    if keras.backend.is_float_dtype(values.dtype):
        numbers = ~ops.isnan(values)
    else:
        numbers = ops.ones_like(values, dtype="bool")
    return numbers if axis is None else ops.all(numbers, axis=axis)
