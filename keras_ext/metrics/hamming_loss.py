"""Hamming loss: the share of labels that are predicted wrongly."""

import keras
from keras import ops

from keras_ext import _checks, _labels
from keras_ext._types import Config, Tensor
from keras_ext.metrics import _inputs
from keras_ext.metrics._running_sum import WeightedMean

_NAME = "HammingLoss"


@keras.saving.register_keras_serializable(package="keras_ext")
class HammingLoss(WeightedMean):
    """Share of labels that are predicted wrongly.

    For samples that may have any number of labels. A label is predicted where the
    prediction is above `threshold`. With `w` the weights:

    `loss = sum(w * (predicted != true)) / sum(w)`

    over all labels of all samples. The loss looks too good where labels are many and
    rare: a model that predicts none is then nearly always right. `ExactMatch` is the
    other extreme, and requires all labels of a sample to be right.

    Reference: R. E. Schapire, Y. Singer, "Improved Boosting Algorithms Using
    Confidence-rated Predictions", 1999, https://doi.org/10.1023/A:1007614523901.

    Args:
        threshold: A label is predicted if its prediction is above this number; 0 for
            logits. Default: 0.5.
        name: Name of the metric.
        dtype: Dtype of the result. Default: `None`, which means
            `keras.config.floatx()`.

    Call arguments:
        y_true: 1 for each label of the sample, 0 for the others.
        y_pred: Probabilities of the labels, or with `threshold=0` logits.
        sample_weight: Weights of the samples or of their labels, finite and at least 0.
            Entries of weight 0 count as absent; any other with a NaN prediction makes
            the result NaN.

    Input shape:
        `y_true`, `y_pred`: `(batch, ..., labels)`. `sample_weight`: `(batch,)`,
        `(batch, ...)` or `(batch, ..., labels)`.

    Output shape:
        A scalar, from 0 (all are right) to 1.

    Raises:
        ValueError: If `threshold` is not a number; on update, if shapes do not match
            or, in eager execution, a target is neither 0 nor 1. Compiled code cannot
            raise; there, such a target makes the result NaN.

    Example:

    >>> import numpy as np
    >>> from keras_ext.metrics import HammingLoss
    >>> metric = HammingLoss()
    >>> y_true = np.array([[1, 0, 0, 0], [1, 1, 0, 0]])
    >>> y_pred = np.array([[0.9, 0.8, 0.1, 0.1], [0.7, 0.6, 0.2, 0.1]])
    >>> float(metric(y_true, y_pred))  # 1 of 8
    0.125

    With no samples, the result is 0. Masks are not used; pass them as `sample_weight`.
    Sums are kept as pairs of float32, even under half precision, so that counts are
    exact up to 2**48 if no single batch counts more than 2**24.
    """

    def __init__(
        self,
        *,
        threshold: float = 0.5,
        name: str | None = "hamming_loss",
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.threshold = _checks.number("threshold", threshold)

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        """Add the labels of a batch."""
        y_true, y_pred = _inputs.same_shape(_NAME, y_true, y_pred)
        _inputs.check_labels_axis(_NAME, y_pred)
        weights = _labels.weights_like(_NAME, sample_weight, y_true, self.total.dtype)
        absent = ops.equal(weights, 0)
        true, known = _inputs.binary_targets(_NAME, y_true, absent, y_pred)
        predicted = _inputs.is_positive(y_pred, self.threshold)
        self.add(predicted != true, weights, known)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {**super().get_config(), "threshold": self.threshold}
