"""Exact match: the share of samples with entirely correct predictions."""

import keras
from keras import ops

from keras_ext import _checks, _labels
from keras_ext._types import Config, Tensor
from keras_ext.metrics import _inputs
from keras_ext.metrics._running_sum import WeightedMean

_NAME = "ExactMatch"


@keras.saving.register_keras_serializable(package="keras_ext")
class ExactMatch(WeightedMean):
    """Share of samples with entirely correct predictions.

    For samples that may have any number of labels, also called subset accuracy: a label
    is predicted where the prediction is above `threshold`, and a sample is correct if
    all its labels are. With `threshold=None`, for sequences: a sample is correct if its
    labels, whole numbers such as tokens, all equal those of the target. With `w` the
    weights of the samples:

    `exact match = sum(w * all labels right) / sum(w)`

    Reference: S. Godbole, S. Sarawagi, "Discriminative Methods for Multi-labeled
    Classification", 2004, https://doi.org/10.1007/978-3-540-24775-3_5.

    Args:
        threshold: A label is predicted if its prediction is above this number; 0 for
            logits. `None`: predictions are compared directly with the targets. Default:
            0.5.
        name: Name of the metric.
        dtype: Dtype of the result. Default: `None`, which means
            `keras.config.floatx()`.

    Call arguments:
        y_true: 1 for each label of the sample, 0 for the others; with `threshold=None`,
            whole numbers.
        y_pred: Probabilities of the labels, or with `threshold=0` logits; with
            `threshold=None`, whole numbers.
        sample_weight: Weights of the samples, finite and at least 0. A sample of weight
            0 counts as absent; any other with a NaN prediction makes the result NaN.

    Input shape:
        `y_true`, `y_pred`: `(batch, ..., labels)`. `sample_weight`: `(batch, ...)` or
        `(batch,)`.

    Output shape:
        A scalar, from 0 to 1.

    Raises:
        ValueError: If `threshold` is neither a number nor `None`; on update, if shapes
            do not match or, in eager execution, a target is neither 0 nor 1 (unless
            `threshold=None`). Compiled code cannot raise; there, such a target makes
            the result NaN.

    Example:

    >>> import numpy as np
    >>> from keras_ext.metrics import ExactMatch
    >>> metric = ExactMatch()
    >>> y_true = np.array([[1, 0, 0], [1, 1, 0]])
    >>> y_pred = np.array([[0.9, 0.8, 0.1], [0.7, 0.6, 0.2]])
    >>> float(metric(y_true, y_pred))
    0.5
    >>> metric = ExactMatch(threshold=None)
    >>> float(metric(np.array([[3, 7], [3, 1]]), np.array([[3, 7], [3, 2]])))
    0.5

    Padding of sequences must be the same in targets and predictions. With no samples,
    the result is 0. Masks are not used. Sums are kept as pairs of float32, even under
    half precision, so that counts are exact up to 2**48 if no single batch counts more
    than 2**24.
    """

    def __init__(
        self,
        *,
        threshold: float | None = 0.5,
        name: str | None = "exact_match",
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.threshold = _checks.optional(_checks.number, "threshold", threshold)

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        """Add the samples of a batch."""
        y_true, y_pred = _inputs.same_shape(_NAME, y_true, y_pred)
        _inputs.check_labels_axis(_NAME, y_pred)
        weights = _labels.weights_like(
            _NAME, sample_weight, y_pred[..., 0], self.total.dtype
        )
        absent = ops.expand_dims(ops.equal(weights, 0), axis=-1)
        if self.threshold is None:
            right = ops.equal(y_true, y_pred)
            known = _inputs.are_numbers(y_pred) | absent
        else:
            true, known = _inputs.binary_targets(_NAME, y_true, absent, y_pred)
            right = _inputs.is_positive(y_pred, self.threshold) == true
        self.add(ops.all(right, axis=-1), weights, known)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {**super().get_config(), "threshold": self.threshold}
