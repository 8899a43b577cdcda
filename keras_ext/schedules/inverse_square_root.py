"""Inverse square root: a linear rise, then a decay that never ends."""

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Config, Tensor
from keras_ext.schedules import _steps


@keras.saving.register_keras_serializable(package="keras_ext")
class InverseSquareRoot(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate that rises linearly, then decays with the root of the step.

    The schedule of the first Transformer. Its decay does not depend on the length of
    training, which can continue for as long as it pays off:

    `rate = initial + (maximum - initial) * step / warmup_steps` at first,

    `rate = maximum * sqrt(warmup_steps / step)` from step `warmup_steps` on.

    The paper expresses the maximum by the width of the model, a form known as "Noam":
    `max_learning_rate = (d_model * warmup_steps) ** -0.5`.

    Reference: A. Vaswani et al., "Attention Is All You Need", 2017, section 5.3,
    https://arxiv.org/abs/1706.03762.

    Args:
        max_learning_rate: Positive float. Rate at step `warmup_steps`.
        warmup_steps: Positive integer. Number of steps of the rise.
        initial_learning_rate: Float in [0, `max_learning_rate`]. Rate at step 0.
            Default: 0, as in the paper.
        name: Name of the schedule.

    Call arguments:
        step: Integer, or integer tensor of any shape.

    Output shape:
        Same as `step`, with dtype float32.

    Raises:
        ValueError: If an argument is out of range; on call, if `step` is not a number.

    Example:

    >>> import keras
    >>> from keras_ext.schedules import InverseSquareRoot
    >>> schedule = InverseSquareRoot(1.0, warmup_steps=100)
    >>> [float(schedule(step)) for step in (0, 50, 100, 400, 10000)]
    [0.0, 0.5, 1.0, 0.5, 0.1]
    >>> noam = InverseSquareRoot((512 * 4000) ** -0.5, warmup_steps=4000)
    >>> optimizer = keras.optimizers.Adam(noam, beta_2=0.98, epsilon=1e-9)

    Rates are computed in float32, also under mixed precision. Steps are counted in
    integers, so no step is too large; float steps are treated as float32.
    """

    def __init__(
        self,
        max_learning_rate: float,
        warmup_steps: int,
        *,
        initial_learning_rate: float = 0.0,
        name: str = "InverseSquareRoot",
    ) -> None:
        super().__init__()
        self.max_learning_rate = _checks.number(
            "max_learning_rate", max_learning_rate, low=0, open_low=True
        )
        self.warmup_steps = _checks.positive_int("warmup_steps", warmup_steps)
        self.initial_learning_rate = _checks.number(
            "initial_learning_rate",
            initial_learning_rate,
            low=0,
            high=self.max_learning_rate,
        )
        self.name = name

    def __call__(self, step: Tensor) -> Tensor:
        """Return the learning rate at `step`."""
        with keras.name_scope(self.name):
            step = _steps.as_number("InverseSquareRoot", step)
            share = _steps.share(step, self.warmup_steps)
            rise = _steps.between(
                self.initial_learning_rate, self.max_learning_rate, share
            )
            after = ops.cast(ops.maximum(step, self.warmup_steps), "float32")
            fall = self.max_learning_rate * ops.sqrt(self.warmup_steps / after)
            return ops.where(step < self.warmup_steps, rise, fall)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            "max_learning_rate": self.max_learning_rate,
            "warmup_steps": self.warmup_steps,
            "initial_learning_rate": self.initial_learning_rate,
            "name": self.name,
        }
