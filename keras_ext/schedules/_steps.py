"""Steps as integers, so that no step is too large to be told from the next."""

from typing import Any

import keras
from keras import ops

from keras_ext._types import Tensor


def as_integer(name: str, step: Any) -> Tensor:
    """Return `step` as a tensor of the backend's widest usual integers.

    Raises:
        ValueError: If `step` is not an integer.
    """
    if isinstance(step, int):
        return ops.convert_to_tensor(step, "int")
    step = ops.convert_to_tensor(step)
    if not keras.backend.is_int_dtype(step.dtype):
        raise ValueError(
            f"{name} expects `step` to be an integer or a tensor of integers, such as "
            f"`optimizer.iterations`. Received: step of dtype "
            f"{keras.backend.standardize_dtype(step.dtype)}"
        )
    return ops.cast(step, "int")


def ratio(part: Tensor, whole: float) -> Tensor:
    """Return `part / whole` in float32; the difference of steps is exact so far."""
    return ops.cast(part, "float32") / whole


def between(low: float, high: float, share: Tensor) -> Tensor:
    """Return what lies `share` of the way from `low` to `high`, exact at both ends."""
    return low * (1 - share) + high * share
