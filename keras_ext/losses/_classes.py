"""What losses over classes have in common: integer labels, or distributions."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_ext import _checks, _labels
from keras_ext._numerics import at_least_float32
from keras_ext._types import Tensor
from keras_ext.losses._function_loss import Masked
from keras_ext.losses._weighted import WeightedLoss


class ClassLoss(WeightedLoss):
    """A loss over classes whose mean leaves out the samples of `ignore_class`."""

    ignore_class: int | None

    def __init__(self, function: Callable[..., Tensor], **options: Any) -> None:
        super().__init__(function, **options)
        self._masked = Masked(dtype=self.dtype)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of every sample, masked where it is ignored."""
        values = super().call(y_true, y_pred)
        if self.ignore_class is None:
            return values
        labels = ops.reshape(y_true, ops.shape(values))
        return self._masked(values, mask=~_labels.is_ignored(labels, self.ignore_class))


class Classified(NamedTuple):
    """Matching predictions and targets, checked."""

    y_pred: Tensor
    """Predictions, at least float32; 0 for the samples to leave out."""
    targets: Tensor
    """One-hot labels, or the given distributions; shaped like `y_pred`."""
    ignored: Tensor
    """Where samples are left out; shaped like `y_pred`, without the class axis."""
    factor: Tensor
    """1, or NaN for a label that is not one of the classes."""
    axis: int
    """Class axis of `y_pred`, not negative."""

    @property
    def num_classes(self) -> int:
        """Size of the class axis."""
        return int(self.y_pred.shape[self.axis])

    def expected(self, values: Tensor) -> Tensor:
        """Return the mean of `values` weighted by each sample's targets.

        With labels, that is the entry of the sample's class. `values` have the shape of
        `y_pred`, or broadcast to it, and may be infinite where the target is 0.
        """
        own = ops.where(ops.equal(self.targets, 0), 0.0, values)
        return ops.sum(self.targets * own, axis=self.axis)

    def settled(self, values: Tensor) -> Tensor:
        """Return one value per sample: 0 if it is ignored, NaN if its label is wrong.

        NaN enters as a factor, since after a `where` the gradient of a wrong label
        would be 0.
        """
        return ops.where(self.ignored, 0.0, self.factor * values)


def read_labels(
    owner: str,
    y_true: Tensor,
    y_pred: Tensor,
    ignore_class: int | None = None,
    axis: int = -1,
    hint: str = "Two classes need two outputs.",
    absent: Tensor | None = None,
    remedy: str | None = None,
) -> Classified:
    """Return integer labels and predictions as `Classified`.

    Args:
        owner: Name of the caller, for the messages.
        y_true: Integer labels, of any dtype, with or without a class axis of size 1.
        y_pred: Probabilities or logits.
        ignore_class: Label of the samples to leave out, or `None`.
        axis: Class axis of `y_pred`.
        hint: What to do about a `y_pred` with fewer than two classes.
        absent: Where samples are left out regardless of their label, or `None`.
        remedy: What to do about a wrong label, in a loss without `ignore_class`.

    Raises:
        ValueError: If shapes do not match, if there are fewer than two classes or, in
            eager execution, if a label is not one of the classes.
    """
    y_pred = at_least_float32(y_pred)
    labels = _labels.without_class_axis(owner, y_true, y_pred.shape, axis)
    axis %= len(y_pred.shape)
    num_classes = _num_classes(owner, y_pred.shape[axis], hint)
    ignored = _labels.is_ignored(labels, ignore_class)
    if absent is not None:
        ignored |= absent
    valid = _labels.in_range(owner, labels, num_classes) | ignored
    remedy = remedy or _hint(ignore_class)
    _labels.check(owner, "y_true", labels, valid, num_classes, remedy)
    index = ops.cast(ops.where(valid & ~ignored, labels, 0), "int32")
    # For a KerasTensor, Keras accepts a new last axis only in this form.
    new_axis = -1 if axis == len(labels.shape) else axis
    return Classified(
        # Also here, since gradients flow through both branches of `settled`.
        y_pred=ops.where(ops.expand_dims(ignored, axis), 0.0, y_pred),
        targets=ops.one_hot(index, num_classes, axis=new_axis, dtype=y_pred.dtype),
        ignored=ignored,
        factor=ops.cast(ops.where(valid, 1.0, float("nan")), y_pred.dtype),
        axis=axis,
    )


def read_distributions(
    owner: str,
    y_true: Tensor,
    y_pred: Tensor,
    axis: int = -1,
    hint: str = "Two classes need two outputs.",
) -> Classified:
    """Return targets of `y_pred`'s shape, one-hot or probabilities, as `Classified`.

    Raises:
        ValueError: If the shapes differ or there are fewer than two classes.
    """
    y_pred = at_least_float32(y_pred)
    targets = ops.cast(y_true, y_pred.dtype)
    shape = tuple(y_pred.shape)
    if not -len(shape) <= axis < len(shape) or not _checks.shapes_agree(
        targets.shape, shape
    ):
        raise ValueError(
            f"{owner} with `sparse_y_true=False` expects one-hot targets or "
            f"probabilities of y_pred's shape, with the classes on axis {axis}. "
            f"Received: y_true.shape={tuple(targets.shape)}, y_pred.shape={shape}"
        )
    axis %= len(shape)
    _num_classes(owner, shape[axis], hint)
    kept = ops.zeros_like(ops.take(y_pred, 0, axis=axis))
    return Classified(y_pred, targets, ops.cast(kept, "bool"), kept + 1, axis)


def only_labels_are_ignored(ignore_class: int | None, sparse_y_true: bool) -> None:
    """Raise `ValueError` if a class is to be ignored but targets are not labels."""
    if ignore_class is not None and not sparse_y_true:
        raise ValueError(
            "`ignore_class` is an integer label, so it needs `sparse_y_true=True`. "
            f"Received: ignore_class={ignore_class!r}, sparse_y_true={sparse_y_true}. "
            "With other targets, leave out samples by a `sample_weight` of 0."
        )


def log_probabilities(y_pred: Tensor, from_logits: bool, axis: int = -1) -> Tensor:
    """Return log probabilities: exact for logits, clipped for probabilities.

    Probabilities are divided by their sum and clipped to `keras.config.epsilon()`, as
    in Keras. A row of zeros counts as probabilities of 0.
    """
    if from_logits:
        return ops.log_softmax(y_pred, axis=axis)
    total = ops.sum(y_pred, axis=axis, keepdims=True)
    epsilon = keras.config.epsilon()
    return ops.log(ops.clip(ops.divide_no_nan(y_pred, total), epsilon, 1 - epsilon))


def _num_classes(owner: str, size: int | None, hint: str) -> int:
    if size is None or size < 2:
        raise ValueError(
            f"{owner} expects the class axis of y_pred to have a known size of at "
            f"least 2. Received: size={size}. {hint}"
        )
    return size


def _hint(ignore_class: int | None) -> str:
    if ignore_class is None:
        return "If it marks samples to leave out, pass it as `ignore_class`."
    return f"Give samples to leave out the label `ignore_class={ignore_class}`."
