"""Steps as schedules count them, and the rates of other schedules at them."""

import itertools
from typing import Any

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Tensor


def as_number(name: str, step: Any) -> Tensor:
    """Return integers in the backend's widest usual dtype, and floats as float32.

    No step is then too large to be distinguished from the next.

    Raises:
        ValueError: If `step` is neither.
    """
    if isinstance(step, int) and not isinstance(step, bool):
        return ops.convert_to_tensor(step, "int")
    step = ops.convert_to_tensor(step)
    dtype = keras.backend.standardize_dtype(step.dtype)
    if dtype == "bool":
        raise ValueError(
            f"{name} expects `step` to be a number or a tensor of numbers, such as "
            f"`optimizer.iterations`. Received: step of dtype {dtype}"
        )
    return ops.cast(step, "int" if keras.backend.is_int_dtype(dtype) else "float32")


def share(part: Tensor, whole: float) -> Tensor:
    """Return `part / whole` in float32; differences of steps are exact until here."""
    return ops.cast(part, "float32") / whole


def between(low: float, high: float, share: Tensor) -> Tensor:
    """Return the value `share` of the way from `low` to `high`, exact at both ends."""
    return low * (1 - share) + high * share


def increasing(name: str, value: Any) -> list[int]:
    """Return a list of strictly increasing positive integers, else raise."""
    if _checks.is_list(value):
        steps = [
            _checks.positive_int(f"{name}[{i}]", one) for i, one in enumerate(value)
        ]
        if all(one < other for one, other in itertools.pairwise(steps)):
            return steps
    raise ValueError(
        f"`{name}` must be a list of strictly increasing positive integers. "
        f"Received: {name}={value!r}"
    )


def passed(step: Tensor, boundaries: list[int]) -> Tensor:
    """Return how many of the `boundaries` are at or before `step`, in int32."""
    begun = ops.expand_dims(step, -1) >= ops.convert_to_tensor(boundaries, step.dtype)
    return ops.sum(ops.cast(begun, "int32"), axis=-1)


def schedule_or_rate(name: str, value: Any) -> Any:
    """Return a schedule unchanged and a number as a float, else raise `ValueError`."""
    if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
        return value
    try:
        return _checks.number(name, value, low=0)
    except ValueError as error:
        raise ValueError(
            f"`{name}` must be a `keras.optimizers.schedules.LearningRateSchedule`, "
            "or a finite number of at least 0 for a constant learning rate. "
            f"Received: {name}={value!r}"
        ) from error


def rate_at(schedule: Any, step: Any) -> Tensor:
    """Return the rate at `step` of a value returned by `schedule_or_rate`."""
    return (
        schedule if isinstance(schedule, float) else ops.cast(schedule(step), "float32")
    )
