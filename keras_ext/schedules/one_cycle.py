"""One cycle: the learning rate rises once to a large value, then falls to almost 0."""

import math
from typing import Literal

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Config, Tensor
from keras_ext.schedules import _steps


@keras.saving.register_keras_serializable(package="keras_ext")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate that rises once to its maximum and then falls far below its start.

    The single cycle spans the whole training, so `total_steps` is the number of epochs
    times the number of batches per epoch. The large rate in the middle regularizes; the
    long decay lets the weights settle ("super-convergence"). With
    `peak = warmup_fraction * total_steps`:

    `rate = initial + (maximum - initial) * ease(step / peak)` up to the peak,

    `rate = final + (maximum - final) * ease(left / (total_steps - peak))` after it,

    where `left = total_steps - step`, but not below 0; `ease(h) = h` for
    `anneal="linear"`, and `ease(h) = sin(pi * h / 2)^2`, half a cosine wave, for
    `anneal="cosine"`.

    Reference: L. N. Smith, N. Topin, "Super-Convergence: Very Fast Training of Neural
    Networks Using Large Learning Rates", 2018, https://arxiv.org/abs/1708.07120.

    Args:
        max_learning_rate: Positive float. Rate at the peak.
        total_steps: Positive integer. Number of training steps.
        warmup_fraction: Float in [0, 1). Fraction of the steps during which the rate
            rises; the peak may lie between two steps. Default: 0.3.
        initial_learning_rate: Float in [0, `max_learning_rate`]. Rate at step 0.
            Default: `None`, which means `max_learning_rate / 25`.
        final_learning_rate: Float in [0, `max_learning_rate`]. Rate from `total_steps`
            on. Default: `None`, which means 1/10,000 of the initial rate.
        anneal: `"cosine"` or `"linear"`. Shape of rise and fall. Default: `"cosine"`;
            the paper uses `"linear"`.
        name: Name of the schedule.

    Call arguments:
        step: Integer, or integer tensor of any shape.

    Output shape:
        Same as `step`, with dtype float32.

    Raises:
        ValueError: If an argument is out of range; on call, if `step` is not a number.

    Example:

    >>> import keras
    >>> from keras_ext.schedules import OneCycle
    >>> schedule = OneCycle(1.0, total_steps=100)
    >>> [round(float(schedule(step)), 6) for step in (0, 15, 30, 65, 100)]
    [0.04, 0.52, 1.0, 0.500002, 4e-06]
    >>> optimizer = keras.optimizers.SGD(OneCycle(0.1, total_steps=5000))

    Rates are computed in float32, also under mixed precision. Steps are counted in
    integers, so no step is too large; float steps are treated as float32.
    """

    def __init__(
        self,
        max_learning_rate: float,
        total_steps: int,
        *,
        warmup_fraction: float = 0.3,
        initial_learning_rate: float | None = None,
        final_learning_rate: float | None = None,
        anneal: Literal["cosine", "linear"] = "cosine",
        name: str = "OneCycle",
    ) -> None:
        super().__init__()
        self.max_learning_rate = _checks.number(
            "max_learning_rate", max_learning_rate, low=0, open_low=True
        )
        self.total_steps = _checks.positive_int("total_steps", total_steps)
        self.warmup_fraction = _checks.number(
            "warmup_fraction", warmup_fraction, low=0, high=1, open_high=True
        )
        ends = {"low": 0, "high": self.max_learning_rate}
        self.initial_learning_rate = _checks.optional(
            _checks.number, "initial_learning_rate", initial_learning_rate, **ends
        )
        self.final_learning_rate = _checks.optional(
            _checks.number, "final_learning_rate", final_learning_rate, **ends
        )
        self.anneal = _checks.one_of("anneal", anneal, ("cosine", "linear"))
        self.name = name

    def __call__(self, step: Tensor) -> Tensor:
        """Return the learning rate at `step`."""
        with keras.name_scope(self.name):
            step = _steps.as_number("OneCycle", step)
            peak = self.warmup_fraction * self.total_steps
            left = ops.maximum(self.total_steps - step, 0)
            # Each ratio is below 1 on its own side of the peak, and above 1 beyond it.
            fall = _steps.share(left, self.total_steps - peak)
            rise = _steps.share(step, peak) if peak else fall
            initial, final = self._ends()
            low = ops.where(rise < fall, ops.cast(initial, "float32"), final)
            height = self._ease(ops.minimum(rise, fall))
            return _steps.between(low, self.max_learning_rate, height)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            "max_learning_rate": self.max_learning_rate,
            "total_steps": self.total_steps,
            "warmup_fraction": self.warmup_fraction,
            "initial_learning_rate": self.initial_learning_rate,
            "final_learning_rate": self.final_learning_rate,
            "anneal": self.anneal,
            "name": self.name,
        }

    def _ends(self) -> tuple[float, float]:
        """Return the rate at the first step, and from the last step on."""
        initial, final = self.initial_learning_rate, self.final_learning_rate
        initial = self.max_learning_rate / 25 if initial is None else initial
        return initial, initial / 1e4 if final is None else final

    def _ease(self, height: Tensor) -> Tensor:
        if self.anneal == "linear":
            return height
        # Accurate near 0, where (1 - cos(pi * height)) / 2 is all rounding error.
        return ops.square(ops.sin(math.pi / 2 * height))
