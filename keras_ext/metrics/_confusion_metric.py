"""What metrics of classes share: the confusion matrix that they are computed from."""

import keras
from keras import ops

from keras_ext import _checks, _labels
from keras_ext._types import Config, Tensor
from keras_ext.metrics import _running_sum
from keras_ext.metrics._inputs import are_classes, are_numbers


class ConfusionMetric(keras.metrics.Metric):
    """Base of metrics that are a function of the confusion matrix.

    A subclass documents the arguments and implements `result`, from `matrix()`. May be
    overridden: `_label_option`.

    Args:
        num_classes: Integer of at least 2. Number of classes.
        sparse_y_true: Whether targets are class labels, not one-hot.
        sparse_y_pred: Whether predictions are class labels, not scores.
        ignore_class: Integer, the label in `y_true` of samples to leave out, or
            `None`.
        name: Name of the metric.
        dtype: Dtype of the result.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        sparse_y_true: bool,
        sparse_y_pred: bool,
        ignore_class: int | None,
        name: str | None,
        dtype: str | keras.DTypePolicy | None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.num_classes = _checks.integer("num_classes", num_classes, low=2)
        self.sparse_y_true = sparse_y_true
        self.sparse_y_pred = sparse_y_pred
        self.ignore_class = _checks.optional_int("ignore_class", ignore_class)
        shape = (self.num_classes, self.num_classes)
        self.total, self.rest = _running_sum.add_variables(self, shape)

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        """Add a batch to the confusion matrix."""
        owner, option = type(self).__name__, self._label_option()
        predicted, scored = self._classes("y_pred", y_pred, sparse=option is not None)
        true, one_hot = ops.convert_to_tensor(y_true), None
        if not self.sparse_y_true:
            true, one_hot = self._classes("y_true", true, sparse=False)
        if option is not None:
            _check_no_scores(owner, option, true, predicted)
        size = self.num_classes if option is None else 1
        true = _labels.without_class_axis(owner, true, (*predicted.shape, size))
        weights = _labels.weights_like(
            owner, sample_weight, true, self.total.dtype, self.ignore_class
        )
        absent = ops.equal(weights, 0)
        valid = [
            are_classes(owner, labels, absent, self.num_classes, name)
            if known is None
            else known
            for name, labels, known in (
                ("y_true", true, one_hot),
                ("y_pred", predicted, scored),
            )
        ]
        batch = confusion_matrix(
            true, predicted, weights, valid[0] & valid[1], self.num_classes
        )
        _running_sum.accumulate(self.total, self.rest, batch)

    def matrix(self) -> Tensor:
        """Return the summed weights since the last reset: rows are true classes.

        All entries are NaN after a wrong label or a NaN, whose cell is not known.
        """
        matrix = self.total + self.rest
        return ops.where(ops.isnan(ops.sum(matrix)), float("nan"), matrix)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "sparse_y_true": self.sparse_y_true,
            "sparse_y_pred": self.sparse_y_pred,
            "ignore_class": self.ignore_class,
        }

    def _label_option(self) -> str | None:
        """Return the argument that makes `y_pred` hold labels; `None` for scores."""
        return "sparse_y_pred" if self.sparse_y_pred else None

    def _classes(
        self, name: str, values: Tensor, sparse: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return the class labels that `values` holds, or those with the highest score.

        Also return, for labels from scores, where no score was NaN.
        """
        values = ops.convert_to_tensor(values)
        rank, size = len(values.shape), values.shape[-1] if values.shape else None
        if sparse:
            is_column = rank > 1 and size == 1
            return ops.squeeze(values, axis=-1) if is_column else values, None
        if rank > 1 and size == 1 and self.num_classes == 2:
            values = ops.squeeze(values, axis=-1)
            return ops.cast(values > 0.5, "int32"), are_numbers(values)
        if rank > 1 and size == self.num_classes:
            return ops.argmax(values, axis=-1), are_numbers(values, axis=-1)
        expected = f"(batch, ..., {self.num_classes}), a score for each class"
        if self.num_classes == 2:
            expected += ", or (batch, ..., 1), the probability of class 1"
        hint = f"If these are class labels, pass `sparse_{name}=True`"
        if rank > 1 and size not in (1, None):
            hint += f"; if there are {size} classes, `num_classes={size}`"
        raise ValueError(
            f"{type(self).__name__} expects `{name}` of shape {expected}. "
            f"Received: {name}.shape={tuple(values.shape)}. {hint}."
        )


def _check_no_scores(owner: str, option: str, true: Tensor, predicted: Tensor) -> None:
    """Raise `ValueError` if predictions that should be labels have an extra axis."""
    if len(predicted.shape) > len(true.shape):
        raise ValueError(
            f"{owner} with `{option}=True` expects labels in `y_pred`, one for each of "
            f"`y_true`. Received: y_true.shape={tuple(true.shape)}, "
            f"y_pred.shape={tuple(predicted.shape)}. If these are scores, pass "
            f"`{option}=False`."
        )


def confusion_matrix(
    y_true: Tensor, y_pred: Tensor, weights: Tensor, valid: Tensor, num_classes: int
) -> Tensor:
    """Return the summed weights of every pair of classes: rows are true classes.

    Args:
        y_true: Class labels.
        y_pred: Class labels, of the same shape.
        weights: Weights of the labels, of the same shape.
        valid: Whether both labels are classes, of the same shape.
        num_classes: Number of classes.

    Returns:
        Tensor `(num_classes, num_classes)`, with a NaN if a pair of nonzero weight is
        not valid.
    """
    absent = ops.equal(weights, 0)
    cell = ops.cast(y_true, "int32") * num_classes + ops.cast(y_pred, "int32")
    sums = ops.segment_sum(
        ops.reshape(ops.where(valid | absent, weights, float("nan")), (-1,)),
        ops.reshape(ops.where(valid, cell, 0), (-1,)),
        num_segments=num_classes * num_classes,
    )
    return ops.reshape(sums, (num_classes, num_classes))
