"""What the means of values of at least 0 share: how they are read and checked."""

from typing import NamedTuple

from keras import ops

from keras_ext import _checks, _labels
from keras_ext._types import Tensor
from keras_ext.metrics._numbers import are_numbers


class WeightedValues(NamedTuple):
    """Values of a batch, their weights, and which of them do not count or are wrong."""

    values: Tensor
    weights: Tensor
    absent: Tensor
    valid: Tensor


def weighted_values(
    owner: str, values: Tensor, sample_weight: Tensor | None, dtype: str
) -> WeightedValues:
    """Return values and weights, each of the same shape and of dtype `dtype`.

    Raises:
        ValueError: If shapes do not match; in eager execution, if a value of a weight
            other than 0 is negative or infinite.
    """
    values = ops.cast(values, dtype)
    weights = _labels.weights_like(owner, sample_weight, values, dtype, what="value")
    absent = ops.equal(weights, 0)
    valid = (values >= 0) & ops.isfinite(values) | absent
    value = _checks.first_offender(values, valid | ~are_numbers(values))
    if sample_weight is not None:
        valid = valid & are_numbers(weights)
    if value is not None:
        raise ValueError(
            f"{owner} expects `values` to be finite and at least 0. Received: values "
            f"with {value:g}. Give values to leave out a `sample_weight` of 0."
        )
    return WeightedValues(values, weights, absent, valid)
