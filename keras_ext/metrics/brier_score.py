"""The Brier score: the squared error of predicted probabilities."""

import keras
from keras import ops

from keras_ext import _checks, _labels
from keras_ext._types import Config, Tensor
from keras_ext.metrics._inputs import are_classes, are_probabilities
from keras_ext.metrics._running_sum import WeightedMean

_NAME = "BrierScore"


@keras.saving.register_keras_serializable(package="keras_ext")
class BrierScore(WeightedMean):
    """Mean squared error of predicted probabilities.

    For classifiers whose probabilities are used, not only their decisions. The score is
    proper: no prediction has a better expected score than the true probabilities. A
    sample whose class is `y` and whose predicted probabilities are `p` has

    `score = sum over classes c of (p[c] - 1[y = c])^2`

    from 0 to 2. For two classes predicted by a single output, the probability `p` of
    class 1, it is half of that, `(p - y)^2`, as is usual for two classes.

    Reference: G. W. Brier, "Verification of Forecasts Expressed in Terms of
    Probability", 1950,
    https://doi.org/10.1175/1520-0493(1950)078%3C0001:VOFEIT%3E2.0.CO;2.

    Args:
        from_logits: Whether predictions are logits. Otherwise they are probabilities.
            Default: `False`.
        sparse_y_true: Whether targets are class labels. Otherwise they are one-hot, or
            probabilities. Default: `True`.
        ignore_class: Integer, the label of samples to leave out; only for class labels.
            Default: `None`.
        name: Name of the metric.
        dtype: Dtype of the result. Default: `None`, which means
            `keras.config.floatx()`.

    Call arguments:
        y_true: Class labels, or probabilities with `sparse_y_true=False`.
        y_pred: Probabilities, or logits with `from_logits=True`.
        sample_weight: Weights of the samples, finite and at least 0. A sample of weight
            0 counts as absent; any other with a NaN prediction makes the result NaN.

    Input shape:
        `y_pred`: `(batch, ..., classes)`; for two classes also `(batch, ..., 1)` or
        `(batch,)`, for class 1. `y_true`: `(batch, ...)` or `(batch, ..., 1)`; with
        `sparse_y_true=False`, as `y_pred`. `sample_weight`: `(batch, ...)` or
        `(batch,)`.

    Output shape:
        A scalar, from 0 to 2; from 0 to 1 for a single output.

    Raises:
        ValueError: If `ignore_class` is given for targets that are not labels; on
            update, if shapes do not match or, in eager execution, a label is not one
            of the classes, or probabilities do not sum to 1 or are negative, by more
            than 0.01 in total. Compiled code cannot raise; there, the result is NaN.

    Example:

    >>> import numpy as np
    >>> from keras_ext.metrics import BrierScore
    >>> metric = BrierScore()
    >>> y_pred = np.array([[0.8, 0.2, 0.0], [0.5, 0.4, 0.1]])
    >>> float(metric(np.array([0, 1]), y_pred))  # mean of 0.08 and 0.62
    0.35
    >>> metric.reset_state()
    >>> float(metric(np.array([1, 0]), np.array([0.8, 0.4])))  # (0.04 + 0.16) / 2
    0.1

    With no samples, the result is 0. Masks are not used; pass them as `sample_weight`.
    Scores are computed at least in float32, and summed as pairs of float32.
    """

    def __init__(
        self,
        *,
        from_logits: bool = False,
        sparse_y_true: bool = True,
        ignore_class: int | None = None,
        name: str | None = "brier_score",
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.from_logits = from_logits
        self.sparse_y_true = sparse_y_true
        self.ignore_class = _checks.optional_int("ignore_class", ignore_class)
        if ignore_class is not None and not sparse_y_true:
            raise ValueError(
                "`ignore_class` is a class label, and there are none with "
                f"`sparse_y_true=False`. Received: ignore_class={ignore_class}. Give "
                "samples to leave out a `sample_weight` of 0."
            )

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        """Add the scores of a batch."""
        y_pred = ops.cast(y_pred, self.total.dtype)
        if len(y_pred.shape) == 1:
            y_pred = ops.expand_dims(y_pred, axis=-1)
        target = self._targets(y_true, y_pred)
        labels = target if self.sparse_y_true else target[..., 0]
        weights = _labels.weights_like(
            _NAME, sample_weight, labels, y_pred.dtype, self.ignore_class
        )
        absent = ops.equal(weights, 0)
        target, valid = self._distributions(target, y_pred.shape[-1], absent)
        y_pred, fits = self._probabilities(y_pred, absent)
        scores = ops.where(absent, 0.0, brier_scores(target, y_pred))
        self.add(scores, weights, valid & fits | absent)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "from_logits": self.from_logits,
            "sparse_y_true": self.sparse_y_true,
            "ignore_class": self.ignore_class,
        }

    def _targets(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return labels `(batch, ...)`, or probabilities `(batch, ..., classes)`."""
        if self.sparse_y_true:
            return _labels.without_class_axis(_NAME, y_true, y_pred.shape)
        y_true = ops.cast(y_true, y_pred.dtype)
        received = tuple(y_true.shape)
        if y_pred.shape[-1] == 1 and len(received) == len(y_pred.shape) - 1:
            y_true = ops.expand_dims(y_true, axis=-1)
        if not _checks.shapes_agree(y_true.shape, y_pred.shape):
            raise ValueError(
                f"{_NAME} expects `y_true` of the same shape as `y_pred`, "
                f"{tuple(y_pred.shape)}, a probability for each class. Received: "
                f"y_true.shape={received}. If these are class labels, pass "
                "`sparse_y_true=True`."
            )
        return y_true

    def _distributions(
        self, target: Tensor, size: int, absent: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return targets as probabilities, and which of them are valid."""
        if not self.sparse_y_true:
            rows = _two_classes(target)
            return target, are_probabilities(_NAME, rows, absent, "y_true")
        classes = max(size, 2)
        valid = are_classes(_NAME, target, absent, classes)
        index = ops.cast(ops.where(valid, target, 0), "int32")
        one_hot = ops.one_hot(index, classes, dtype=self.total.dtype)
        return one_hot if size == classes else one_hot[..., -size:], valid

    def _probabilities(self, y_pred: Tensor, absent: Tensor) -> tuple[Tensor, Tensor]:
        """Return predictions as probabilities, and which of them are valid."""
        if not self.from_logits:
            return y_pred, are_probabilities(_NAME, _two_classes(y_pred), absent)
        single = y_pred.shape[-1] == 1
        y_pred = ops.sigmoid(y_pred) if single else ops.softmax(y_pred, axis=-1)
        return y_pred, ops.ones_like(absent)


def brier_scores(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return the score of every sample.

    Args:
        y_true: Probabilities of the classes, `(..., classes)`. A single column holds
            those of class 1.
        y_pred: Predicted probabilities, of the same shape.

    Returns:
        Tensor `(...)`.
    """
    return ops.sum(ops.square(y_pred - y_true), axis=-1)


def _two_classes(probabilities: Tensor) -> Tensor:
    """Return probabilities of both classes, given those of class 1."""
    if probabilities.shape[-1] != 1:
        return probabilities
    return ops.concatenate([1 - probabilities, probabilities], axis=-1)
