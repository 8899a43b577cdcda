"""What a schedule may be made of: other schedules, and constant rates."""

from typing import Any

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Tensor


def schedule_or_rate(name: str, value: Any) -> Any:
    """Return a schedule as it is and a number as a float, else raise `ValueError`."""
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
    """Return the rate at `step` of what `schedule_or_rate` has let through."""
    return (
        schedule if isinstance(schedule, float) else ops.cast(schedule(step), "float32")
    )
