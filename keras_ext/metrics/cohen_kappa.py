"""Cohen's kappa: agreement of two raters beyond chance."""

from typing import Literal, TypeAlias

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Config, Tensor
from keras_ext.metrics._confusion_metric import ConfusionMetric

Weights: TypeAlias = Literal["linear", "quadratic"] | None
"""The cost of a wrong class; `None` means that all wrong classes cost the same."""


@keras.saving.register_keras_serializable(package="keras_ext")
class CohenKappa(ConfusionMetric):
    """Agreement of predicted and true classes beyond chance.

    For classes of unequal frequency, where accuracy looks too good: a model that always
    predicts the most frequent class has kappa 0. Perfect agreement is 1; less agreement
    than chance is negative. With `weights`, for classes that have an order, such as
    grades, a prediction costs more the farther off it is. With `observed[i, j]` the
    share of samples of class `i` predicted as `j`, and `expected[i, j]` the share if
    the predictions were assigned at random:

    `kappa = 1 - sum(cost * observed) / sum(cost * expected)`

    where `cost[i, j]` is 1 off the diagonal, or `|i - j|`, or `(i - j)^2`.

    Reference: J. Cohen, "A Coefficient of Agreement for Nominal Scales", 1960,
    https://doi.org/10.1177/001316446002000104; with weights, J. Cohen, "Weighted
    Kappa", 1968, https://doi.org/10.1037/h0026256.

    Args:
        num_classes: Integer of at least 2. Number of classes.
        weights: `None`, `"linear"` or `"quadratic"`. Cost of a wrong class. Default:
            `None`, all wrong classes cost the same.
        sparse_y_true: Whether targets are class labels. Otherwise they are one-hot.
            Default: `True`.
        sparse_y_pred: Whether predictions are class labels. Otherwise they are scores
            of the classes, as a model returns them, and the class with the largest is
            predicted. Default: `False`.
        regression: Whether predictions are numbers, as a model returns them that was
            trained to predict the label itself; the class nearest to the number is
            predicted. `sparse_y_pred` must then be `False`. Default: `False`.
        ignore_class: Integer, the label in `y_true` of samples to leave out. Default:
            `None`.
        name: Name of the metric.
        dtype: Dtype of the result. Default: `None`, which means
            `keras.config.floatx()`.

    Call arguments:
        y_true: Class labels, or one-hot targets.
        y_pred: Probabilities or logits of the classes, or class labels, or with
            `regression=True` numbers. A single column for two classes holds
            probabilities, not logits.
        sample_weight: Weights of the samples, finite and at least 0. A sample of weight
            0 counts as absent; any other with a NaN prediction makes the result NaN.

    Input shape:
        `y_pred`: `(batch, ..., num_classes)`; for two classes also `(batch, ..., 1)`,
        the probability of class 1, which is predicted if that is above 0.5; with
        `sparse_y_pred=True` or `regression=True`, `(batch, ...)` or `(batch, ..., 1)`.
        `y_true`:
        `(batch, ...)` or `(batch, ..., 1)`; with `sparse_y_true=False`,
        `(batch, ..., num_classes)`. `sample_weight`: `(batch, ...)` or `(batch,)`.

    Output shape:
        A scalar.

    Raises:
        ValueError: If an argument is out of range; on update, if shapes do not match
            or, in eager execution, a label is not one of the classes. Compiled code
            cannot raise; there, such a label makes the result NaN.

    Example:

    >>> import numpy as np
    >>> from keras_ext.metrics import CohenKappa
    >>> metric = CohenKappa(num_classes=3)
    >>> scores = np.array([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1]])
    >>> float(metric(np.array([0, 1, 2]), scores))
    0.5
    >>> grades = CohenKappa(num_classes=3, weights="quadratic", sparse_y_pred=True)
    >>> float(grades(np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2])))
    0.8
    >>> grades = CohenKappa(num_classes=3, weights="quadratic", regression=True)
    >>> float(grades(np.array([0, 1, 2, 2]), np.array([-0.2, 1.4, 0.9, 2.7])))
    0.8

    If targets and predictions contain only the same one class, or nothing has been seen
    yet, kappa is 0 / 0. The result is then 0: no agreement beyond chance was shown.
    (scikit-learn returns NaN, which here is reserved for wrong labels.)

    Masks are not used; pass them as `sample_weight`. Counts are kept as pairs of
    float32, even under half precision, and are exact up to 2**48 if no single batch
    counts more than 2**24.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        weights: Weights = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = False,
        regression: bool = False,
        ignore_class: int | None = None,
        name: str | None = "cohen_kappa",
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
        self.weights = _checks.one_of("weights", weights, (None, "linear", "quadratic"))
        self.regression = _checks.one_of("regression", regression, (True, False))
        if regression and sparse_y_pred:
            raise ValueError(
                "`sparse_y_pred` must be False with `regression=True`, which makes "
                "labels of the predictions. Received: sparse_y_pred=True"
            )

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        """Add a batch to the confusion matrix."""
        if self.regression:
            y_pred = nearest_class(y_pred, self.num_classes)
        super().update_state(y_true, y_pred, sample_weight)

    def result(self) -> Tensor:
        """Return the kappa of all samples since the last reset."""
        return ops.cast(cohen_kappa(self.matrix(), self.weights), self.dtype)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "weights": self.weights,
            "regression": self.regression,
        }

    def _label_option(self) -> str | None:
        """Return the argument that makes `y_pred` hold labels; `None` for scores."""
        return "regression" if self.regression else super()._label_option()


def nearest_class(values: Tensor, num_classes: int) -> Tensor:
    """Return the nearest whole number from 0 to `num_classes - 1`, in float32.

    The even one of two that are equally near; NaN for NaN.
    """
    values = ops.cast(values, "float32")
    return ops.clip(ops.round(values), 0, num_classes - 1)


def cohen_kappa(matrix: Tensor, weights: Weights = None) -> Tensor:
    """Return the kappa of a confusion matrix; 0 if kappa is 0 / 0.

    Args:
        matrix: Float tensor `(num_classes, num_classes)`; rows are true classes.
        weights: `None`, `"linear"` or `"quadratic"`, the cost of a wrong class.

    Returns:
        A scalar; NaN if `matrix` has a NaN.
    """
    shares = ops.divide_no_nan(matrix, ops.sum(matrix))
    true = ops.sum(shares, axis=1, keepdims=True)
    predicted = ops.sum(shares, axis=0, keepdims=True)
    cost = _cost(matrix.shape[0], weights, matrix.dtype)
    by_chance = ops.sum(cost * true * predicted)
    undefined = ops.equal(by_chance, 0)
    kappa = 1 - ops.sum(cost * shares) / ops.where(undefined, 1.0, by_chance)
    return ops.where(undefined, 0.0, kappa)


def _cost(num_classes: int, weights: Weights, dtype: str) -> Tensor:
    """Return the cost of mistaking a class (row) for another (column)."""
    classes = ops.arange(num_classes, dtype=dtype)
    distance = ops.absolute(ops.expand_dims(classes, 1) - classes)
    if weights is None:
        return ops.minimum(distance, 1)
    return distance if weights == "linear" else ops.square(distance)
