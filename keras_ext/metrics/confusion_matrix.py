"""Confusion matrix: how often each class was predicted as which."""

from typing import Literal, TypeAlias

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Config, Tensor
from keras_ext.metrics._confusion_metric import ConfusionMetric

Normalize: TypeAlias = Literal["true", "pred", "all"] | None
"""What sums to 1: every row, every column, or the whole matrix; `None`: nothing."""


@keras.saving.register_keras_serializable(package="keras_ext")
class ConfusionMatrix(ConfusionMetric):
    """How often each class was predicted as which.

    For a closer look at the errors of a classifier. With `C[i, j]` the summed weights
    of the samples of class `i` that were predicted as `j`, the result is `C`, or with
    `normalize`

    `C[i, j] / sum_j C[i, j]` (`"true"`), the share of class `i` predicted as `j`;
    `C[i, j] / sum_i C[i, j]` (`"pred"`), the share of predictions `j` that are `i`;
    `C[i, j] / sum_ij C[i, j]` (`"all"`), the share of all samples.

    Reference: S. V. Stehman, "Selecting and Interpreting Measures of Thematic
    Classification Accuracy", 1997, https://doi.org/10.1016/S0034-4257(97)00083-7.

    Args:
        num_classes: Integer of at least 2. Number of classes.
        normalize: `None`, `"true"`, `"pred"` or `"all"`. What sums to 1. Default:
            `None`, the result holds summed weights.
        sparse_y_true: Whether targets are class labels. Otherwise they are one-hot.
            Default: `True`.
        sparse_y_pred: Whether predictions are class labels. Otherwise they are scores
            of the classes, as a model returns them, and the class with the largest is
            predicted. Default: `False`.
        ignore_class: Integer, the label in `y_true` of samples to leave out. Default:
            `None`.
        name: Name of the metric.
        dtype: Dtype of the result; without `normalize`, at least float32, since half
            precision cannot count. Default: `None`, which means
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
        `(num_classes, num_classes)`. Rows are true classes, columns predicted ones.

    Raises:
        ValueError: If an argument is out of range; on update, if shapes do not match
            or, in eager execution, a label is not one of the classes. Compiled code
            cannot raise; there, such a label makes the whole result NaN.

    Example:

    >>> import numpy as np
    >>> from keras_ext.metrics import ConfusionMatrix
    >>> metric = ConfusionMatrix(num_classes=2, sparse_y_pred=True)
    >>> y_true, y_pred = np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1])
    >>> print(np.array(metric(y_true, y_pred)))
    [[1. 0.]
     [1. 2.]]
    >>> shares = ConfusionMatrix(2, normalize="pred", sparse_y_pred=True)
    >>> print(np.array(shares(y_true, y_pred)))
    [[0.5 0. ]
     [0.5 1. ]]

    A row, column or matrix without samples is normalized to zeros.

    The result is not a scalar. `fit` and `evaluate` of Keras and of `keras_ext.Trainer`
    return it as a NumPy array, and the `CSVLogger`s write it. The progress bar of
    `keras_ext` leaves it out; that of Keras shows its mean, which is meaningless, or in
    Keras 3.12 raises an error (`verbose=0` avoids it), as `keras.callbacks.TensorBoard`
    does in all versions. In these cases, evaluate it in a callback:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    >>> model.compile("sgd", "mse")
    >>> x, labels = np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 0])
    >>> metric = ConfusionMatrix(num_classes=2)
    >>> def show(epoch, logs):
    ...     metric.reset_state()
    ...     metric.update_state(labels, model.predict(x, verbose=0))
    ...     print(np.array(metric.result()).sum())
    >>> history = model.fit(
    ...     x, np.eye(2)[labels], verbose=0,
    ...     callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=show)],
    ... )
    2.0

    Masks are not used; pass them as `sample_weight`. Counts are kept as pairs of
    float32, even under half precision, and are exact up to 2**48 if no single batch
    counts more than 2**24; the result is exact up to 2**24.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        normalize: Normalize = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = False,
        ignore_class: int | None = None,
        name: str | None = "confusion_matrix",
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
        self.normalize = _checks.one_of(
            "normalize", normalize, (None, "true", "pred", "all")
        )

    def result(self) -> Tensor:
        """Return the matrix of all samples since the last reset."""
        matrix = normalized(self.matrix(), self.normalize)
        return matrix if self.normalize is None else ops.cast(matrix, self.dtype)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {**super().get_config(), "normalize": self.normalize}


def normalized(matrix: Tensor, normalize: Normalize = None) -> Tensor:
    """Return the shares in a confusion matrix; 0 where a share is 0 / 0.

    Args:
        matrix: Float tensor `(num_classes, num_classes)`; rows are true classes.
        normalize: What sums to 1: `"true"`, every row; `"pred"`, every column;
            `"all"`, the matrix; `None`, nothing.

    Returns:
        Tensor `(num_classes, num_classes)`.
    """
    if normalize is None:
        return matrix
    axis = {"true": 1, "pred": 0, "all": (0, 1)}[normalize]
    return ops.divide_no_nan(matrix, ops.sum(matrix, axis=axis, keepdims=True))
