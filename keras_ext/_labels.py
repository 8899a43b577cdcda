"""Class labels as integers: their shapes, and which of them are not valid."""

import keras
import numpy as np
from keras import ops

from keras_ext import _checks
from keras_ext._types import Shape, Tensor

_ONE_HOT = " Convert one-hot targets with `keras.ops.argmax(y_true, axis=-1)`."
_LARGEST_EXACT = {"float16": 2048, "bfloat16": 256}


def without_class_axis(
    owner: str, y_true: Tensor, y_pred_shape: Shape, axis: int = -1
) -> Tensor:
    """Return the labels with `y_pred`'s shape without its class axis.

    Args:
        owner: Name of the caller, for the message.
        y_true: Labels, with or without a class axis of size 1.
        y_pred_shape: Shape of the predictions, with a class axis.
        axis: Position of the class axis.

    Raises:
        ValueError: If there is not exactly one label per prediction.
    """
    y_true = ops.convert_to_tensor(y_true)
    shape = tuple(y_pred_shape)
    if not -len(shape) <= axis < len(shape):
        raise ValueError(
            f"{owner} expects classes on axis {axis} of y_pred. "
            f"Received: y_pred.shape={shape}, which has no such axis."
        )
    expected = shape[: axis % len(shape)] + shape[axis % len(shape) + 1 :]
    if len(y_true.shape) == len(shape) and y_true.shape[axis] == 1:
        y_true = ops.squeeze(y_true, axis=axis)
    if not _checks.shapes_agree(y_true.shape, expected):
        raise ValueError(
            f"{owner} expects one integer label for each prediction: y_pred of shape "
            f"{shape} goes with y_true of shape {expected}. "
            f"Received: y_true.shape={tuple(y_true.shape)}."
            + (_ONE_HOT if len(y_true.shape) == len(shape) else "")
        )
    return y_true


def in_range(owner: str, labels: Tensor, num_classes: int) -> Tensor:
    """Return where `labels` holds a whole number from 0 to `num_classes - 1`.

    Raises:
        ValueError: If the dtype of `labels` cannot represent all classes.
    """
    dtype = keras.backend.standardize_dtype(labels.dtype)
    if num_classes - 1 > _LARGEST_EXACT.get(dtype, num_classes):
        raise ValueError(
            f"{owner} expects labels of a dtype that can represent {num_classes} "
            f"classes. Received: labels of dtype {dtype}, which holds whole numbers "
            f"exactly only up to {_LARGEST_EXACT[dtype]}. Pass integers; a loss that "
            'casts its inputs needs `dtype="float32"`.'
        )
    # float32 does not wrap around as narrow integers do, and holds every class exactly.
    labels = ops.cast(labels, "float32")
    among = (labels >= 0) & (labels < num_classes)
    if keras.backend.is_int_dtype(dtype):
        return among
    return among & ops.equal(ops.floor(labels), labels)


def is_ignored(labels: Tensor, ignore_class: int | None) -> Tensor:
    """Return where `labels` equals the label of samples to leave out."""
    if ignore_class is None:
        return ops.zeros_like(labels, dtype="bool")
    dtype = keras.backend.standardize_dtype(labels.dtype)
    if not keras.backend.is_int_dtype(dtype):
        return ops.equal(ops.cast(labels, "float32"), float(ignore_class))
    # Not in float32, which cannot distinguish large integers.
    if not np.iinfo(dtype).min <= ignore_class <= np.iinfo(dtype).max:
        return ops.zeros_like(labels, dtype="bool")
    return ops.equal(labels, ops.convert_to_tensor(ignore_class, dtype))


def check(
    owner: str, name: str, labels: Tensor, valid: Tensor, num_classes: int, hint: str
) -> None:
    """Raise `ValueError` if a label is known to be invalid.

    Values are known only in eager execution. Compiled code cannot raise; there, the
    caller turns such a label into NaN.
    """
    label = _checks.first_offender(labels, valid)
    if label is not None:
        raise ValueError(
            f"{owner} expects `{name}` to hold class labels, whole numbers from 0 to "
            f"{num_classes - 1}. Received: {name} with a label {label:.10g}. {hint}"
        )


def weights_like(
    owner: str,
    sample_weight: Tensor | None,
    labels: Tensor,
    dtype: str,
    ignore_class: int | None = None,
    what: str = "label",
) -> Tensor:
    """Return one weight per label, 0 for labels equal to `ignore_class`.

    A weight may stand for a whole sample: `(batch,)` with labels
    `(batch, height, width)` gives all labels of a sample its weight. In compiled code,
    which cannot raise, an invalid weight becomes NaN.

    Raises:
        ValueError: If the shapes do not match; in eager execution, if a weight is
            negative, infinite or NaN.
    """
    counted = ~is_ignored(labels, ignore_class)
    if sample_weight is None:
        return ops.cast(counted, dtype)
    weights = ops.cast(sample_weight, dtype)
    received, rank = tuple(weights.shape), len(labels.shape)
    if len(received) == rank + 1 and received[-1] == 1:
        weights = ops.squeeze(weights, axis=-1)
    if 0 < len(received) < rank:
        weights = ops.expand_dims(weights, tuple(range(len(received), rank)))
    shape = [None if size == 1 else size for size in weights.shape]
    if shape and not _checks.shapes_agree(shape, labels.shape):
        raise ValueError(
            f"{owner} expects `sample_weight` to hold one weight for each {what} or "
            f"for each sample, with {what}s of shape {tuple(labels.shape)}. Received: "
            f"sample_weight.shape={received}"
        )
    if ignore_class is None:
        return _valid_weights(owner, weights) * ops.cast(counted, dtype)
    # Checked only now: an ignored label may have any weight.
    return _valid_weights(owner, ops.where(counted, weights, 0.0))


def _valid_weights(owner: str, weights: Tensor) -> Tensor:
    """Return `weights`, with NaN for those that are negative or infinite."""
    valid = (weights >= 0) & (weights < float("inf"))
    weight = _checks.first_offender(weights, valid)
    if weight is not None:
        raise ValueError(
            f"{owner} expects `sample_weight` to hold finite numbers of at least 0. "
            f"Received: sample_weight with a weight {weight:.10g}. Give samples to "
            "leave out the weight 0."
        )
    return ops.where(valid, weights, float("nan"))
