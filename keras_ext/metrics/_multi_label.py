"""What the metrics of several labels share: who is right, and which labels count."""

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Tensor
from keras_ext.metrics import _running_sum
from keras_ext.metrics._numbers import are_numbers

_HINT = "Give samples or labels that nobody knows a `sample_weight` of 0."


def pair(owner: str, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    """Return targets and predictions as tensors of one shape.

    Raises:
        ValueError: If their shapes differ by more than a last axis of size 1.
    """
    true, pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    shapes = tuple(true.shape), tuple(pred.shape)
    if len(shapes[0]) == len(shapes[1]) - 1 and shapes[1][-1] == 1:
        true = ops.expand_dims(true, axis=-1)
    if not _checks.shapes_agree(true.shape, pred.shape):
        raise ValueError(
            f"{owner} expects `y_true` and `y_pred` of the same shape, one target for "
            f"each prediction. Received: y_true.shape={shapes[0]}, "
            f"y_pred.shape={shapes[1]}"
        )
    return true, pred


def check_labels_axis(
    owner: str, y_pred: Tensor, num_labels: int | None = None
) -> None:
    """Raise `ValueError` unless the last of several axes has the labels."""
    size = "labels" if num_labels is None else num_labels
    shape = tuple(y_pred.shape)
    agree = num_labels is None or _checks.shapes_agree(shape[-1:], (num_labels,))
    if len(shape) < 2 or not agree:
        raise ValueError(
            f"{owner} expects `y_true` and `y_pred` of shape (batch, ..., {size}). "
            f"Received: y_pred.shape={shape}"
        )


def is_positive(y_pred: Tensor, threshold: float) -> Tensor:
    """Return where a prediction, in float32 at least, is above the threshold."""
    dtype = keras.backend.standardize_dtype(y_pred.dtype)
    return ops.cast(y_pred, _running_sum.sum_dtype(dtype)) > threshold


def targets(
    owner: str, y_true: Tensor, absent: Tensor, y_pred: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return where a target is 1, and where it is valid, and not predicted as NaN.

    Args:
        owner: Who asks, for the message.
        y_true: The targets, 0 or 1.
        absent: Where a target may be anything, as it does not count.
        y_pred: The predictions. Default: `None`, they are looked at elsewhere.

    Raises:
        ValueError: In eager execution, if a target that counts is neither 0 nor 1.
    """
    in_float = ops.cast(y_true, "float32")
    ones = ops.equal(in_float, 1)
    known = ones | ops.equal(in_float, 0)
    target = _checks.first_offender(in_float, known | absent)
    if target is not None:
        raise ValueError(
            f"{owner} expects `y_true` to hold 0 or 1 for every label. "
            f"Received: y_true with a target {target:.10g}. {_HINT}"
        )
    if y_pred is not None:
        known = known & are_numbers(y_pred)
    return ones, known | absent


def are_spoiled(
    weights: Tensor, known: Tensor, axis: tuple[int, ...] | None = None
) -> Tensor:
    """Return whether sums over `axis` are NaN: of a weight, or of what is not known.

    Weights are asked, not what came of them: XLA takes NaN * 0 for 0, where the factor
    0 is a boolean.
    """
    return ops.isnan(ops.sum(weights, axis=axis)) | ops.any(~known, axis=axis)
