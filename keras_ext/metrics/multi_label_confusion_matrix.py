"""Confusion matrices of several labels, each of which a sample may have."""

import keras
from keras import ops

from keras_ext import _checks, _labels
from keras_ext._types import Config, Tensor
from keras_ext.metrics import _inputs, _running_sum

_NAME = "MultiLabelConfusionMatrix"


@keras.saving.register_keras_serializable(package="keras_ext")
class MultiLabelConfusionMatrix(keras.metrics.Metric):
    """Counts for every label how often it was found, missed and wrongly predicted.

    For samples that may have any number of labels. A label is predicted where the
    prediction is above `threshold`. The matrix of a label is

    `[[tn, fp], [fn, tp]]`

    the summed weights of samples without the label that were predicted without (true
    negatives) and with it (false positives), and of those with the label that were
    predicted without (false negatives) and with it (true positives).

    Reference: G. Tsoumakas, I. Katakis, "Multi-Label Classification: An Overview",
    2007, https://doi.org/10.4018/jdwm.2007070101; the layout is that of scikit-learn's
    `multilabel_confusion_matrix`.

    Args:
        num_labels: Positive integer. Number of labels.
        threshold: A label is predicted if its prediction is above this number; 0 for
            logits. Default: 0.5.
        name: Name of the metric.
        dtype: Dtype of the result, at least float32, since half precision cannot
            count. Default: `None`, which means `keras.config.floatx()`.

    Call arguments:
        y_true: 1 for each label of the sample, 0 for the others.
        y_pred: Probabilities of the labels, or with `threshold=0` logits.
        sample_weight: Weights of the samples or of their labels, finite and at least 0.
            Entries of weight 0 count as absent; any other with a NaN prediction makes
            the result NaN.

    Input shape:
        `y_true`, `y_pred`: `(batch, ..., num_labels)`. `sample_weight`: `(batch,)`,
        `(batch, ...)` or `(batch, ..., num_labels)`.

    Output shape:
        `(num_labels, 2, 2)`.

    Raises:
        ValueError: If an argument is out of range; on update, if shapes do not match
            or, in eager execution, a target is neither 0 nor 1. Compiled code cannot
            raise; there, such a target makes the matrix of its label NaN.

    Example:

    >>> import numpy as np
    >>> from keras_ext.metrics import MultiLabelConfusionMatrix
    >>> metric = MultiLabelConfusionMatrix(num_labels=2)
    >>> y_true = np.array([[1, 0], [1, 1], [0, 1]])
    >>> y_pred = np.array([[0.9, 0.8], [0.3, 0.7], [0.1, 0.6]])
    >>> print(np.array(metric(y_true, y_pred)))
    [[[1. 0.]
      [1. 1.]]
    <BLANKLINE>
     [[0. 1.]
      [0. 2.]]]

    The result is not a scalar. `fit` and `evaluate` of Keras and of `keras_ext.Trainer`
    return it as a NumPy array, and the `CSVLogger`s write it. The progress bar of
    `keras_ext` leaves it out; that of Keras shows its mean, which is meaningless, or in
    Keras 3.12 raises an error (`verbose=0` avoids it), as `keras.callbacks.TensorBoard`
    does in all versions. In these cases, evaluate it in a callback, as shown for
    `ConfusionMatrix`.

    Masks are not used; pass them as `sample_weight`. Counts are kept as pairs of
    float32, even under half precision, and are exact up to 2**48 if no single batch
    counts more than 2**24; the result is exact up to 2**24.
    """

    def __init__(
        self,
        num_labels: int,
        *,
        threshold: float = 0.5,
        name: str | None = "multi_label_confusion_matrix",
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.num_labels = _checks.positive_int("num_labels", num_labels)
        self.threshold = _checks.number("threshold", threshold)
        shape = (self.num_labels, 2, 2)
        self.total, self.rest = _running_sum.add_variables(self, shape)

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        """Add a batch to the matrices of the labels."""
        y_true, y_pred = _inputs.same_shape(_NAME, y_true, y_pred)
        _inputs.check_labels_axis(_NAME, y_pred, self.num_labels)
        weights = _labels.weights_like(_NAME, sample_weight, y_true, self.total.dtype)
        absent = ops.equal(weights, 0)
        true, known = _inputs.binary_targets(_NAME, y_true, absent, y_pred)
        predicted = _inputs.is_positive(y_pred, self.threshold)
        batch = multi_label_confusion_matrix(true, predicted, weights, known)
        _running_sum.accumulate(self.total, self.rest, batch)

    def result(self) -> Tensor:
        """Return the matrices of all samples since the last reset."""
        return self.total + self.rest

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "num_labels": self.num_labels,
            "threshold": self.threshold,
        }


def multi_label_confusion_matrix(
    true: Tensor, predicted: Tensor, weights: Tensor, known: Tensor
) -> Tensor:
    """Return the summed weights `[[tn, fp], [fn, tp]]` of every label.

    Args:
        true: Booleans `(batch, ..., labels)`, whether the sample has the label.
        predicted: Booleans of the same shape, whether it is predicted.
        weights: Weights of the same shape.
        known: Booleans of the same shape, whether `true` and `predicted` are known.

    Returns:
        Tensor `(labels, 2, 2)`, of the dtype of the weights; NaN for a label with a
        sample for which they are not known, or whose weight is NaN.
    """
    samples = tuple(range(len(weights.shape) - 1))
    of_true = weights * ops.cast(true, weights.dtype)
    of_predicted = ops.cast(predicted, weights.dtype)
    cells = []
    for side in (weights - of_true, of_true):
        positive = side * of_predicted
        cells += [side - positive, positive]
    sums = ops.stack([ops.sum(cell, axis=samples) for cell in cells], axis=-1)
    spoiled = _inputs.are_spoiled(weights, known, axis=samples)
    sums = ops.where(ops.expand_dims(spoiled, axis=-1), float("nan"), sums)
    return ops.reshape(sums, (-1, 2, 2))
