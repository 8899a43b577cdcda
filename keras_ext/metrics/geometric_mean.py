"""The geometric mean of values: the mean of factors."""

import keras
from keras import ops

from keras_ext._types import Tensor
from keras_ext.metrics._inputs import weighted_values
from keras_ext.metrics._running_sum import ExponentialOfMean

_NAME = "GeometricMean"
_LEAST = -1e20
"""Used instead of the logarithm of 0, since pairs of floats cannot sum infinities."""


@keras.saving.register_keras_serializable(package="keras_ext")
class GeometricMean(ExponentialOfMean):
    """Weighted geometric mean of values.

    For values that multiply or differ by orders of magnitude, such as ratios, speeds
    and likelihoods: the logarithm of this mean is the mean of the logarithms. Like
    `keras.metrics.Mean`, it takes values, not targets and predictions. With values `v`
    and their weights `w`:

    `mean = exp(sum(w * log(v)) / sum(w))`

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
    >>> from keras_ext.metrics import GeometricMean
    >>> metric = GeometricMean()
    >>> float(metric(np.array([1.0, 10.0, 100.0])))
    10.0
    >>> metric.reset_state()
    >>> float(metric(np.array([2.0, 16.0]), sample_weight=np.array([2.0, 1.0])))
    4.0

    A value of 0 makes the result 0 if its weight is at least 1e-17 of the others' sum
    and at most 1e18. Without values, the result is also 0. Metrics of values cannot be
    passed to `compile`, which feeds targets and predictions: update them in a model, a
    layer or a loop.

    Masks are not used; pass them as `sample_weight`. Logarithms are summed as pairs of
    float32, even under half precision.
    """

    def __init__(
        self,
        name: str | None = "geometric_mean",
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)

    def update_state(self, values: Tensor, sample_weight: Tensor | None = None) -> None:
        """Add the logarithms of a batch."""
        batch = weighted_values(_NAME, values, sample_weight, self.total.dtype)
        # The logarithm of a negative or infinite value is not a finite number either.
        logarithms = ops.maximum(ops.log(batch.values), _LEAST)
        self.add(ops.where(batch.absent, 0.0, logarithms), batch.weights)
