"""Chain: one schedule after another."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ext._types import Config, Tensor
from keras_ext.schedules import _steps


@keras.saving.register_keras_serializable(package="keras_ext")
class Chain(keras.optimizers.schedules.LearningRateSchedule):
    """Several schedules, or constant rates, one after another.

    For training in phases: a constant rate and then a decay, or several cycles in a
    row, each with its own parameters. With `boundaries[-1]` taken as 0:

    `rate = schedules[i](step - boundaries[i - 1])`

    where `i` is the number of boundaries at or before `step`. Each schedule sees only
    its own steps, and starts at its step 0; the rate may jump at a boundary.

    Args:
        schedules: List of `keras.optimizers.schedules.LearningRateSchedule` objects, or
            floats of at least 0 for constant rates.
        boundaries: List of strictly increasing positive integers, one fewer than the
            schedules: the steps at which the second schedule, the third and so on
            begin.
        name: Name of the schedule.

    Call arguments:
        step: Integer, or integer tensor; of any shape that the schedules accept.

    Output shape:
        Same as `step`, with dtype float32.

    Raises:
        ValueError: If an argument is out of range or their lengths do not match; on
            call, if `step` is not a number.

    Example:

    >>> import keras
    >>> from keras_ext.schedules import Chain
    >>> decay = keras.optimizers.schedules.CosineDecay(1.0, decay_steps=10)
    >>> schedule = Chain([0.5, decay, 0.01], boundaries=[100, 110])
    >>> [round(float(schedule(step)), 6) for step in (0, 99, 100, 105, 110, 1000)]
    [0.5, 0.5, 1.0, 0.5, 0.01, 0.01]
    >>> optimizer = keras.optimizers.SGD(schedule)

    Steps are counted in integers, so no step is too large; float steps are treated as
    float32. Outside its turn, a schedule is called with step 0.
    """

    def __init__(
        self,
        schedules: Sequence[keras.optimizers.schedules.LearningRateSchedule | float],
        boundaries: Sequence[int],
        *,
        name: str = "Chain",
    ) -> None:
        super().__init__()
        self.schedules = _schedules_or_rates(schedules)
        self.boundaries = _steps.increasing("boundaries", boundaries)
        if len(self.boundaries) != len(self.schedules) - 1:
            raise ValueError(
                "`boundaries` must hold one step for each of the `schedules` except "
                f"the first. Received: boundaries={self.boundaries} and "
                f"{len(self.schedules)} schedules"
            )
        self.name = name

    def __call__(self, step: Tensor) -> Tensor:
        """Return the learning rate at `step`."""
        with keras.name_scope(self.name):
            step = _steps.as_number("Chain", step)
            turn = _steps.passed(step, self.boundaries)
            rate = ops.zeros_like(step, dtype="float32")
            starts = [0, *self.boundaries]
            for i, (schedule, start) in enumerate(
                zip(self.schedules, starts, strict=True)
            ):
                own = ops.equal(turn, i)
                own_step = ops.where(own, step - start, 0)
                rate = ops.where(own, _steps.rate_at(schedule, own_step), rate)
            return rate

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            "schedules": keras.saving.serialize_keras_object(self.schedules),
            "boundaries": self.boundaries,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: Config) -> "Chain":
        """Return the schedule that `get_config` describes."""
        schedules = keras.saving.deserialize_keras_object(config["schedules"])
        return cls(**{**config, "schedules": schedules})


def _schedules_or_rates(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)) and value:
        return [
            _steps.schedule_or_rate(f"schedules[{i}]", one)
            for i, one in enumerate(value)
        ]
    raise ValueError(
        "`schedules` must be a list of schedules and constant learning rates. "
        f"Received: schedules={value!r}"
    )
