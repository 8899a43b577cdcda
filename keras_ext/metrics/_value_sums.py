"""What the means of powers and logarithms of values share: their sums."""

from collections.abc import Callable

from keras import ops

from keras_ext import _checks, _labels
from keras_ext._types import Tensor


def value_sums(
    owner: str,
    values: Tensor,
    sample_weight: Tensor | None,
    function: Callable[[Tensor], Tensor],
    dtype: str,
) -> Tensor:
    """Return three sums of weights: times `function(value)`, of all, of zeros.

    Zeros, of which `function` may be infinite, are left out of the first sum. A value
    that is negative, infinite or NaN makes all of them NaN.

    Raises:
        ValueError: If shapes do not match; in eager execution, if there is such a
            value of a weight other than 0.
    """
    values = ops.cast(values, dtype)
    weights = _labels.weights_like(owner, sample_weight, values, dtype, what="value")
    absent = ops.equal(weights, 0)
    valid = (values >= 0) & ops.isfinite(values)
    _check(owner, values, valid | absent)
    zero = ops.equal(values, 0)
    ordinary = function(ops.where(valid & ~zero, values, 1.0))
    parts = [
        weights * ops.where(zero | absent, 0.0, ordinary),
        weights,
        ops.where(zero, weights, 0.0),
    ]
    sums = ops.stack([ops.sum(part) for part in parts])
    return ops.where(ops.all(valid | absent), sums, float("nan"))


def _check(owner: str, values: Tensor, valid: Tensor) -> None:
    value = _checks.first_offender(values, valid)
    if value is not None:
        raise ValueError(
            f"{owner} expects `values` to be finite and at least 0. Received: values "
            f"with {value:g}. Give values to leave out a `sample_weight` of 0."
        )
