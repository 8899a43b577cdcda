"""What the metrics that are a mean over the samples share."""

import keras
from keras import ops

from keras_ext._types import Tensor
from keras_ext.metrics import _running_sum


class WeightedMean(keras.metrics.Metric):
    """Base of the metrics that are the weighted mean of something, or a share.

    A subclass calls `add` in `update_state`.

    Args:
        name: Name of the metric.
        dtype: Dtype of the result.
    """

    def __init__(self, name: str | None, dtype: str | keras.DTypePolicy | None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.total, self.rest = _running_sum.add_variables(self, (2,))

    def add(self, values: Tensor, weights: Tensor, valid: Tensor | None = None) -> None:
        """Add the values of a batch, or where something was so, and their weights.

        If any is not `valid`, the mean becomes NaN. Default: `None`, all are.
        """
        weighted = ops.sum(weights * ops.cast(values, weights.dtype))
        if valid is not None:
            # Of the sum alone: to choose among all values takes longer than the rest.
            weighted = ops.where(ops.all(valid), weighted, float("nan"))
        batch = ops.stack([weighted, ops.sum(weights)])
        _running_sum.accumulate(self.total, self.rest, batch)

    def result(self) -> Tensor:
        """Return the mean since the last reset; 0 if there was nothing."""
        weighted, of_all = ops.unstack(self.total + self.rest, 2)
        return ops.cast(ops.divide_no_nan(weighted, of_all), self.dtype)


class ExponentialOfMean(WeightedMean):
    """Base of the metrics that are the exponential of a weighted mean."""

    def result(self) -> Tensor:
        """Return the exponential of the mean since the last reset; 0 of nothing."""
        weighted, of_all = ops.unstack(self.total + self.rest, 2)
        return ops.cast(exponential_of_mean(weighted, of_all), self.dtype)


def exponential_of_mean(weighted: Tensor, of_all: Tensor) -> Tensor:
    """Return `exp(weighted / of_all)`, from the two sums; 0 if `of_all` is 0."""
    exponential = ops.exp(ops.divide_no_nan(weighted, of_all))
    return ops.where(ops.equal(of_all, 0), 0.0, exponential)
