"""Sums and means that stay exact over more batches than float32 can count."""

import keras
from keras import ops

from keras_ext._types import Tensor


def sum_dtype(dtype: str) -> str:
    """Return the dtype that a metric of dtype `dtype` should sum in."""
    return keras.backend.result_type(dtype, "float32")


def add(total: Tensor, rest: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the new total, and what rounding has removed from it so far.

    A float32 counts to 2**24 and then stops, since adding 1 is rounded away. The
    rounding error is itself a float32 ("two-sum", D. E. Knuth, The Art of Computer
    Programming, volume 2, section 4.2.2); kept in `rest` and added with the next values
    ("compensated summation", W. Kahan, Further Remarks on Reducing Truncation Errors,
    1965, https://doi.org/10.1145/363707.363723), it lets the pair count to 2**48. Other
    sums lose the rounding error of `values + rest`, which is of the size of that
    already in `values`, the sum of a batch.
    """
    values = values + rest
    new_total = total + values
    back = new_total - total
    return new_total, (total - (new_total - back)) + (values - back)


def add_variables(
    metric: keras.metrics.Metric, shape: tuple[int, ...]
) -> tuple[keras.Variable, keras.Variable]:
    """Give a metric the pair of variables, `total` and `rest`, of a running sum."""
    dtype = sum_dtype(metric.dtype)
    total, rest = (
        metric.add_variable(shape, "zeros", dtype=dtype, name=name)
        for name in ("total", "rest")
    )
    return total, rest


def accumulate(total: keras.Variable, rest: keras.Variable, values: Tensor) -> None:
    """Add `values` to the sum that the pair of variables holds."""
    new_total, new_rest = add(total.value, rest.value, values)
    total.assign(new_total)
    rest.assign(new_rest)


class WeightedMean(keras.metrics.Metric):
    """Base of metrics that are a weighted mean or a share.

    A subclass calls `add` in `update_state`.

    Args:
        name: Name of the metric.
        dtype: Dtype of the result.
    """

    def __init__(self, name: str | None, dtype: str | keras.DTypePolicy | None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.total, self.rest = add_variables(self, (2,))

    def add(self, values: Tensor, weights: Tensor, valid: Tensor | None = None) -> None:
        """Add the values of a batch, or booleans, and their weights.

        If any is not `valid`, the mean becomes NaN. Default: `None`, all are.
        """
        weighted = ops.sum(weights * ops.cast(values, weights.dtype))
        if valid is not None:
            # Only the sum: selecting among all values would take longer than the rest.
            weighted = ops.where(ops.all(valid), weighted, float("nan"))
        batch = ops.stack([weighted, ops.sum(weights)])
        accumulate(self.total, self.rest, batch)

    def result(self) -> Tensor:
        """Return the mean since the last reset; 0 if there were no values."""
        weighted, of_all = ops.unstack(self.total + self.rest, 2)
        return ops.cast(ops.divide_no_nan(weighted, of_all), self.dtype)


class ExponentialOfMean(WeightedMean):
    """Base of metrics that are the exponential of a weighted mean."""

    def result(self) -> Tensor:
        """Return the exponential of the mean since the last reset; 0 without values."""
        weighted, of_all = ops.unstack(self.total + self.rest, 2)
        return ops.cast(exponential_of_mean(weighted, of_all), self.dtype)


def exponential_of_mean(weighted: Tensor, of_all: Tensor) -> Tensor:
    """Return `exp(weighted / of_all)`, from the two sums; 0 if `of_all` is 0."""
    exponential = ops.exp(ops.divide_no_nan(weighted, of_all))
    return ops.where(ops.equal(of_all, 0), 0.0, exponential)
