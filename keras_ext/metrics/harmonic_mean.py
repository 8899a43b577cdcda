"""The harmonic mean of values: the mean of rates over equal amounts."""

import keras
from keras import ops

from keras_ext._types import Tensor
from keras_ext.metrics import _running_sum
from keras_ext.metrics._inputs import weighted_values

_NAME = "HarmonicMean"


@keras.saving.register_keras_serializable(package="keras_ext")
class HarmonicMean(keras.metrics.Metric):
    """Weighted harmonic mean of values.

    For rates over equal amounts, such as speed over stretches of equal length, and for
    averages that small values should pull down, as in the F1 score: the reciprocal of
    this mean is the mean of the reciprocals. Like `keras.metrics.Mean`, it takes
    values, not targets and predictions. With values `v` and weights `w`:

    `mean = sum(w) / sum(w / v)`

    Reference: G. H. Hardy, J. E. Littlewood, G. Pólya, "Inequalities", 1934,
    chapter 2.

    Args:
        name: Name of the metric.
        dtype: Dtype of the result. Default: `None`, which means
            `keras.config.floatx()`.

    Call arguments:
        values: Finite numbers of at least 0.
        sample_weight: Weights of the values, finite and at least 0. A value of weight 0
            counts as absent; any other NaN makes the result NaN.

    Input shape:
        `values`: any; each element is a value. `sample_weight`: the same, or
        `(batch,)`, the weight of all values of a sample, or a number.

    Output shape:
        A scalar, at least 0.

    Raises:
        ValueError: On update, if shapes do not match or, in eager execution, a value
            or a weight is negative or infinite. Compiled code cannot raise; there, such
            a value makes the result NaN.

    Example:

    >>> import numpy as np
    >>> from keras_ext.metrics import HarmonicMean
    >>> metric = HarmonicMean()
    >>> float(metric(np.array([30.0, 60.0])))
    40.0
    >>> metric.reset_state()
    >>> float(metric(np.array([1.0, 4.0]), sample_weight=np.array([1.0, 2.0])))
    2.0

    A value of 0 makes the result 0. Without values, the result is also 0. Metrics of
    values cannot be passed to `compile`, which feeds targets and predictions: update
    them in a model, a layer or a loop.

    Masks are not used; pass them as `sample_weight`. Reciprocals are summed as pairs of
    float32, even under half precision.
    """

    def __init__(
        self,
        name: str | None = "harmonic_mean",
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.total, self.rest = _running_sum.add_variables(self, (3,))

    def update_state(self, values: Tensor, sample_weight: Tensor | None = None) -> None:
        """Add the reciprocals of a batch."""
        batch = weighted_values(_NAME, values, sample_weight, self.total.dtype)
        sums = sums_of_weights(batch.values, batch.weights)
        sums = ops.where(ops.all(batch.valid), sums, float("nan"))
        _running_sum.accumulate(self.total, self.rest, sums)

    def result(self) -> Tensor:
        """Return the mean of all values since the last reset."""
        return ops.cast(harmonic_mean(self.total + self.rest), self.dtype)


def sums_of_weights(values: Tensor, weights: Tensor) -> Tensor:
    """Return three sums: of weights divided by values, of weights, of weights of zeros.

    Args:
        values: Finite numbers of at least 0; arbitrary where the weight is 0.
        weights: Their weights, of the same shape and dtype.

    Returns:
        Tensor `(3,)`. Zeros are left out of the first sum.
    """
    zero = ops.equal(values, 0)
    out = zero | ops.equal(weights, 0)
    reciprocals = ops.where(out, 0.0, ops.reciprocal(values))
    parts = [weights * reciprocals, weights, weights * ops.cast(zero, weights.dtype)]
    return ops.stack([ops.sum(part) for part in parts])


def harmonic_mean(sums: Tensor) -> Tensor:
    """Return the mean from the sums that `sums_of_weights` returns."""
    reciprocals, weight, of_zeros = ops.unstack(sums, 3)
    # A sum with a NaN, from an invalid value, is not above 0.
    mean = ops.divide_no_nan(weight, reciprocals)
    return ops.where(of_zeros > 0, 0.0, mean)
