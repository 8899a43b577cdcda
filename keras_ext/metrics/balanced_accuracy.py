"""Balanced accuracy: the accuracy if all classes were equally frequent."""

import keras
from keras import ops

from keras_ext._types import Config, Tensor
from keras_ext.metrics._confusion_metric import ConfusionMetric


@keras.saving.register_keras_serializable(package="keras_ext")
class BalancedAccuracy(ConfusionMetric):
    """Mean of the accuracies on each class, for classes of unequal frequency.

    A rare class counts as much as a frequent one. A model that always predicts one
    class, or that guesses, has `1 / K` for `K` classes, which `adjusted` maps to 0.
    With `C[i, j]` the samples of class `i` predicted as `j`:

    `accuracy = mean over classes i of C[i, i] / sum_j C[i, j]`

    `adjusted = (accuracy - 1 / K) / (1 - 1 / K)`

    where the classes, and their number `K`, are those in the targets.

    Reference: K. H. Brodersen, C. S. Ong, K. E. Stephan, J. M. Buhmann, "The Balanced
    Accuracy and Its Posterior Distribution", 2010,
    https://doi.org/10.1109/ICPR.2010.764.

    Args:
        num_classes: Integer of at least 2. Number of classes.
        adjusted: Whether chance has value 0 instead of `1 / K`. Default: `False`.
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
        A scalar, from 0 to 1; with `adjusted`, from `-1 / (K - 1)` to 1.

    Raises:
        ValueError: If an argument is out of range; on update, if shapes do not match
            or, in eager execution, a label is not one of the classes. Compiled code
            cannot raise; there, such a label makes the result NaN.

    Example:

    >>> import numpy as np
    >>> from keras_ext.metrics import BalancedAccuracy
    >>> y_true, y_pred = np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0])
    >>> metric = BalancedAccuracy(num_classes=2, sparse_y_pred=True)
    >>> float(metric(y_true, y_pred))  # (3 / 3 + 0 / 1) / 2
    0.5
    >>> metric = BalancedAccuracy(2, adjusted=True, sparse_y_pred=True)
    >>> float(metric(y_true, y_pred))
    0.0

    With no samples, the result is 0; with `adjusted`, also if the targets hold only one
    class, which chance always gets right.

    Masks are not used; pass them as `sample_weight`. Counts are kept as pairs of
    float32, even under half precision, and are exact up to 2**48 if no single batch
    counts more than 2**24.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        adjusted: bool = False,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = False,
        ignore_class: int | None = None,
        name: str | None = "balanced_accuracy",
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
        self.adjusted = adjusted

    def result(self) -> Tensor:
        """Return the accuracy of all samples since the last reset."""
        return ops.cast(balanced_accuracy(self.matrix(), self.adjusted), self.dtype)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {**super().get_config(), "adjusted": self.adjusted}


def balanced_accuracy(matrix: Tensor, adjusted: bool = False) -> Tensor:
    """Return the mean accuracy on the classes that a confusion matrix has samples of.

    Args:
        matrix: Float tensor `(num_classes, num_classes)`; rows are true classes.
        adjusted: Whether chance has value 0.

    Returns:
        A scalar, 0 if it is 0 / 0; NaN if `matrix` has a NaN.
    """
    samples = ops.sum(matrix, axis=1)
    recalls = ops.sum(ops.divide_no_nan(ops.diagonal(matrix), samples))
    classes = ops.sum(ops.cast(ops.not_equal(samples, 0), matrix.dtype))
    if adjusted:
        return ops.divide_no_nan(recalls - 1, ops.maximum(classes - 1, 0))
    return ops.divide_no_nan(recalls, classes)
