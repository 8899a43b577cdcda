"""Targets and predictions as floats of one shape, precise enough for a loss."""

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Return `x` in its own float dtype, but not below float32."""
    x = ops.convert_to_tensor(x)
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))


def alike(
    owner: str, y_true: Tensor, y_pred: Tensor, names: str, least_rank: int = 2
) -> tuple[Tensor, Tensor]:
    """Return both in `y_pred`'s dtype, but not below float32.

    Args:
        owner: Who asks, for the message.
        y_true: Targets; a last axis of size 1 may be missing.
        y_pred: Predictions.
        names: The expected shape by the names of its axes, for the message.
        least_rank: How many axes there must be.

    Raises:
        ValueError: If the shapes differ, or have too few axes.
    """
    y_pred = at_least_float32(y_pred)
    y_true = ops.cast(y_true, y_pred.dtype)
    if len(y_true.shape) == len(y_pred.shape) - 1 and y_pred.shape[-1] == 1:
        y_true = ops.expand_dims(y_true, axis=-1)
    true, predicted = tuple(y_true.shape), tuple(y_pred.shape)
    missing = least_rank - len(predicted)
    if missing > 0 or not _checks.shapes_agree(true, predicted):
        short = ""
        if missing > 0:
            number = "an axis" if missing == 1 else f"{missing} axes"
            short = f", which is {number} short"
        raise ValueError(
            f"{owner} expects y_true and y_pred of the same shape {names}. "
            f"Received: y_true.shape={true}, y_pred.shape={predicted}{short}"
        )
    return y_true, y_pred


def focus(share: Tensor, gamma: float) -> Tensor:
    """Return `share^gamma` with a finite slope where the share is 0."""
    if gamma == 0:
        return 1.0
    return ops.power(ops.maximum(share, keras.config.epsilon()), gamma)
