"""Warmup: a linear rise to the start of another schedule."""

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Config, Tensor
from keras_ext.schedules import _steps


@keras.saving.register_keras_serializable(package="keras_ext")
class Warmup(keras.optimizers.schedules.LearningRateSchedule):
    """Linear rise of the learning rate, followed by any schedule.

    A large learning rate harms a network whose weights are still random, especially
    with large batches. Wrap `Warmup` around the schedule, or the constant rate, to use
    after it:

    `rate = initial + (schedule(0) - initial) * step / warmup_steps` at first,

    `rate = schedule(step - warmup_steps)` from step `warmup_steps` on.

    Reference: P. Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1
    Hour", 2017, https://arxiv.org/abs/1706.02677.

    Args:
        schedule: `keras.optimizers.schedules.LearningRateSchedule`, or a float of at
            least 0 for a constant rate. It starts at its step 0 when the warmup is
            over.
        warmup_steps: Positive integer. Number of steps of the rise.
        initial_learning_rate: Float of at least 0. Rate at step 0. Default: 0.
        name: Name of the schedule.

    Call arguments:
        step: Integer, or integer tensor; of any shape that `schedule` accepts.

    Output shape:
        Same as `step`, with dtype float32.

    Raises:
        ValueError: If an argument is out of range; on call, if `step` is not a number.

    Example:

    >>> import keras
    >>> from keras_ext.schedules import Warmup
    >>> decay = keras.optimizers.schedules.CosineDecay(1.0, decay_steps=100)
    >>> schedule = Warmup(decay, warmup_steps=10)
    >>> [round(float(schedule(step)), 6) for step in (0, 5, 10, 60, 110)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    >>> optimizer = keras.optimizers.SGD(Warmup(0.1, warmup_steps=500))

    The rise is computed in float32, also under mixed precision. Steps are counted in
    integers, so no step is too large; float steps are treated as float32.
    """

    def __init__(
        self,
        schedule: keras.optimizers.schedules.LearningRateSchedule | float,
        warmup_steps: int,
        *,
        initial_learning_rate: float = 0.0,
        name: str = "Warmup",
    ) -> None:
        super().__init__()
        self.schedule = _steps.schedule_or_rate("schedule", schedule)
        self.warmup_steps = _checks.positive_int("warmup_steps", warmup_steps)
        self.initial_learning_rate = _checks.number(
            "initial_learning_rate", initial_learning_rate, low=0
        )
        self.name = name

    def __call__(self, step: Tensor) -> Tensor:
        """Return the learning rate at `step`."""
        with keras.name_scope(self.name):
            step = _steps.as_number("Warmup", step)
            share = _steps.share(
                ops.minimum(step, self.warmup_steps), self.warmup_steps
            )
            start = _steps.rate_at(self.schedule, 0)
            rise = _steps.between(self.initial_learning_rate, start, share)
            after = ops.maximum(step - self.warmup_steps, 0)
            after = _steps.rate_at(self.schedule, after)
            return ops.where(step < self.warmup_steps, rise, after)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "warmup_steps": self.warmup_steps,
            "initial_learning_rate": self.initial_learning_rate,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: Config) -> "Warmup":
        """Return the schedule that `get_config` describes."""
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(**{**config, "schedule": schedule})
