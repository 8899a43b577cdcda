"""Step decay: the learning rate falls by the same factor at certain steps."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Config, Tensor
from keras_ext.schedules import _steps


@keras.saving.register_keras_serializable(package="keras_ext")
class StepDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate that is multiplied by the same factor at certain steps.

    For recipes such as "divide by 10 after 30, 60 and 90 epochs" (a list of steps), or
    "every 30 epochs" (one number); steps are epochs times batches per epoch:

    `rate = initial * gamma^(number of decays at or before step)`

    Reference: K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image
    Recognition", 2015, https://arxiv.org/abs/1512.03385, divides by 10 in this way.

    Args:
        initial_learning_rate: Positive float. Rate at step 0.
        step_size: Positive integer, the number of steps from one decay to the next; or
            a list of strictly increasing positive integers, the steps of the decays.
        gamma: Float in (0, 1]. Factor of each decay. Default: 0.1.
        name: Name of the schedule.

    Call arguments:
        step: Integer, or integer tensor of any shape.

    Output shape:
        Same as `step`, with dtype float32.

    Raises:
        ValueError: If an argument is out of range; on call, if `step` is not a number.

    Example:

    >>> import keras
    >>> from keras_ext.schedules import StepDecay
    >>> schedule = StepDecay(1.0, 10, gamma=0.5)
    >>> [round(float(schedule(step)), 6) for step in (0, 9, 10, 19, 20, 30)]
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.125]
    >>> schedule = StepDecay(0.1, [100, 150])
    >>> [round(float(schedule(step)), 6) for step in (99, 100, 149, 150, 1000)]
    [0.1, 0.01, 0.01, 0.001, 0.001]
    >>> optimizer = keras.optimizers.SGD(schedule)

    Decays are counted in integers, so each falls on its step, and no step is too large;
    float steps are treated as float32. `keras.optimizers.schedules.ExponentialDecay`
    with `staircase=True` counts in float32, which cannot distinguish consecutive steps
    after step 16,777,216.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        step_size: int | Sequence[int],
        gamma: float = 0.1,
        *,
        name: str = "StepDecay",
    ) -> None:
        super().__init__()
        self.initial_learning_rate = _checks.number(
            "initial_learning_rate", initial_learning_rate, low=0, open_low=True
        )
        self.step_size = _step_size(step_size)
        self.gamma = _checks.number("gamma", gamma, low=0, high=1, open_low=True)
        self.name = name

    def __call__(self, step: Tensor) -> Tensor:
        """Return the learning rate at `step`."""
        with keras.name_scope(self.name):
            step = _steps.as_number("StepDecay", step)
            if isinstance(self.step_size, list):
                decays = _steps.passed(step, self.step_size)
            else:
                decays = ops.floor_divide(step, self.step_size)
            # float32 represents log(gamma) well, but not a gamma just below 1.
            left = ops.exp(math.log(self.gamma) * ops.cast(decays, "float32"))
            return self.initial_learning_rate * left

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "step_size": self.step_size,
            "gamma": self.gamma,
            "name": self.name,
        }


def _step_size(value: Any) -> int | list[int]:
    if _checks.is_list(value):
        return _steps.increasing("step_size", value)
    try:
        return _checks.positive_int("step_size", value)
    except ValueError as error:
        raise ValueError(
            "`step_size` must be a positive integer, or a list of strictly increasing "
            f"positive integers. Received: step_size={value!r}"
        ) from error
