"""Matthews correlation coefficient: the correlation of true and predicted classes."""

import keras
from keras import ops

from keras_ext._types import Tensor
from keras_ext.metrics._confusion_metric import ConfusionMetric


@keras.saving.register_keras_serializable(package="keras_ext")
class MatthewsCorrelationCoefficient(ConfusionMetric):
    """Correlation of predicted and true classes, for classes of unequal frequency.

    High only if a model does well on every class: one that always predicts the most
    frequent class scores 0, and so does one that guesses. A perfect model scores 1, and
    for two classes one that is always wrong scores -1. For two classes it is Pearson's
    correlation of true and predicted class,

    `(tp * tn - fp * fn) / sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))`

    and for more Gorodkin's `R_K`. With `C[i, j]` the share of samples of class `i`
    predicted as `j`, `t[i] = sum_j C[i, j]` and `p[j] = sum_i C[i, j]`:

    `(sum_k C[k, k] - sum_k t[k] * p[k])
    / sqrt((1 - sum_k t[k]^2) * (1 - sum_k p[k]^2))`

    Reference: B. W. Matthews, "Comparison of the predicted and observed secondary
    structure of T4 phage lysozyme", 1975,
    https://doi.org/10.1016/0005-2795(75)90109-9; for more than two classes,
    J. Gorodkin, "Comparing two K-category assignments by a K-category correlation
    coefficient", 2004, https://doi.org/10.1016/j.compbiolchem.2004.09.006.

    Args:
        num_classes: Integer of at least 2. Number of classes.
        sparse_y_true: Whether targets are class labels. Otherwise they are one-hot.
            Default: `True`.
        sparse_y_pred: Whether predictions are class labels. Otherwise they are scores
            of the classes, as a model returns them, and the class with the largest is
            predicted. Default: `False`.
        ignore_class: Integer, the label in `y_true` of samples to leave out. Default:
            `None`.
        name: Name of the metric.
        dtype: Dtype of the result. Default: `None`, which means
            `keras.config.floatx()`.

    Call arguments:
        y_true: Class labels, or one-hot targets.
        y_pred: Probabilities or logits of the classes, or class labels. A single
            column for two classes holds probabilities, not logits.
        sample_weight: Weights of the samples, finite and at least 0. A sample of weight
            0 counts as absent; any other with a NaN prediction makes the result NaN.

    Input shape:
        `y_pred`: `(batch, ..., num_classes)`; for two classes also `(batch, ..., 1)`,
        the probability of class 1, which is predicted if that is above 0.5; with
        `sparse_y_pred=True`, `(batch, ...)` or `(batch, ..., 1)`. `y_true`:
        `(batch, ...)` or `(batch, ..., 1)`; with `sparse_y_true=False`,
        `(batch, ..., num_classes)`. `sample_weight`: `(batch, ...)` or `(batch,)`.

    Output shape:
        A scalar, at most 1; at least -1, which is reached only with two classes.

    Raises:
        ValueError: If an argument is out of range; on update, if shapes do not match
            or, in eager execution, a label is not one of the classes. Compiled code
            cannot raise; there, such a label makes the result NaN.

    Example:

    >>> import numpy as np
    >>> from keras_ext.metrics import MatthewsCorrelationCoefficient
    >>> metric = MatthewsCorrelationCoefficient(num_classes=2)
    >>> y_pred = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]])
    >>> result = metric(np.array([0, 0, 1, 1]), y_pred)
    >>> round(float(result), 4)  # (2 * 1 - 1 * 0) / sqrt(3 * 2 * 2 * 1)
    0.5774

    If targets or predictions contain only one class, or nothing has been seen yet, the
    coefficient is 0 / 0. The result is then 0.

    Masks are not used; pass them as `sample_weight`. Counts are kept as pairs of
    float32, even under half precision, and are exact up to 2**48 if no single batch
    counts more than 2**24.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = False,
        ignore_class: int | None = None,
        name: str | None = "matthews_correlation_coefficient",
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(
            num_classes,
            sparse_y_true=sparse_y_true,
            sparse_y_pred=sparse_y_pred,
            ignore_class=ignore_class,
            name=name,
            dtype=dtype,
        )

    def result(self) -> Tensor:
        """Return the coefficient of all samples since the last reset."""
        return ops.cast(matthews_correlation_coefficient(self.matrix()), self.dtype)


def matthews_correlation_coefficient(matrix: Tensor) -> Tensor:
    """Return the coefficient of a confusion matrix; 0 if it is 0 / 0.

    Args:
        matrix: Float tensor `(num_classes, num_classes)`; rows are true classes.

    Returns:
        A scalar; NaN if `matrix` has a NaN.
    """
    shares = ops.divide_no_nan(matrix, ops.sum(matrix))
    true, predicted = ops.sum(shares, axis=1), ops.sum(shares, axis=0)
    # Written as sums over pairs of different classes. If one class has nearly all
    # samples, a difference from 1 would be lost in rounding.
    different = 1 - ops.eye(matrix.shape[0], dtype=matrix.dtype)

    def pairs(first: Tensor, second: Tensor) -> Tensor:
        return ops.sum(different * ops.expand_dims(first, 1) * second)

    covariance = pairs(true, predicted) - ops.sum(different * shares)
    variances = pairs(true, true) * pairs(predicted, predicted)
    undefined = ops.equal(variances, 0)
    coefficient = covariance / ops.sqrt(ops.where(undefined, 1.0, variances))
    return ops.where(undefined, 0.0, coefficient)
