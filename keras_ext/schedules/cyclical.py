"""Cyclical learning rate: a triangle wave between two rates."""

import math
from collections.abc import Callable
from typing import Any, Literal

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Config, Tensor
from keras_ext.schedules import _steps


@keras.saving.register_keras_serializable(package="keras_ext")
class Cyclical(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate that rises and falls repeatedly, as a triangle wave.

    Varying the rate between two bounds avoids the search for a single best rate; the
    paper sets `step_size` to the steps of 2 to 10 epochs. A cycle takes `2 * step_size`
    steps. With `height` going linearly from 0 to 1 and back to 0 in every cycle:

    `rate = initial + (maximum - initial) * height * scale`

    where `scale` is 1 for `mode="triangular"`, `0.5^(cycles done)` for
    `"triangular2"` and `gamma^step` for `"exp_range"`, or what `scale_fn` returns.

    Reference: L. N. Smith, "Cyclical Learning Rates for Training Neural Networks",
    2017, https://arxiv.org/abs/1506.01186.

    Args:
        initial_learning_rate: Float in [0, `max_learning_rate`]. The lower bound, where
            every cycle begins.
        max_learning_rate: Positive float. The upper bound.
        step_size: Positive integer. Number of steps in half a cycle.
        mode: `"triangular"`, `"triangular2"` or `"exp_range"`. How the height of the
            cycles decreases. Default: `"triangular"`, not at all.
        gamma: Float in (0, 1]. Decay per step of `"exp_range"`; must be left at 1 in
            the other modes. Default: 1.
        scale_fn: Function of a float32 tensor that returns the scale, of the same
            shape, computed by `keras.ops`; only with `mode="triangular"`. To be saved,
            it must be registered (`keras.saving.register_keras_serializable`). Default:
            `None`.
        scale_mode: `"cycle"` or `"iterations"`. Whether `scale_fn` is given the number
            of the cycle, 1, 2, ..., or the step. Default: `"cycle"`.
        name: Name of the schedule.

    Call arguments:
        step: Integer, or integer tensor of any shape.

    Output shape:
        Same as `step`, with dtype float32.

    Raises:
        ValueError: If an argument is out of range, or `gamma` or `scale_fn` is given
            with a mode that does not use it; on call, if `step` is not a number.

    Example:

    >>> import keras
    >>> from keras_ext.schedules import Cyclical
    >>> schedule = Cyclical(0.0, 1.0, step_size=10, mode="triangular2")
    >>> [float(schedule(step)) for step in (0, 5, 10, 15, 20, 30)]
    [0.0, 0.5, 1.0, 0.5, 0.0, 0.5]
    >>> optimizer = keras.optimizers.SGD(Cyclical(0.001, 0.006, step_size=2000))
    >>> third = Cyclical(0.0, 1.0, step_size=10, scale_fn=lambda cycle: 1 / cycle)
    >>> [float(third(step)) for step in (10, 30, 50)]
    [1.0, 0.5, 0.333]

    Rates are computed in float32, also under mixed precision. Steps are counted in
    integers, so no step is too large; float steps are treated as float32.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        max_learning_rate: float,
        step_size: int,
        *,
        mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[Tensor], Tensor] | None = None,
        scale_mode: Literal["cycle", "iterations"] = "cycle",
        name: str = "Cyclical",
    ) -> None:
        super().__init__()
        self.max_learning_rate = _checks.number(
            "max_learning_rate", max_learning_rate, low=0, open_low=True
        )
        self.initial_learning_rate = _checks.number(
            "initial_learning_rate",
            initial_learning_rate,
            low=0,
            high=max_learning_rate,
        )
        self.step_size = _checks.positive_int("step_size", step_size)
        self.mode = _checks.one_of(
            "mode", mode, ("triangular", "triangular2", "exp_range")
        )
        self.gamma = _checks.number("gamma", gamma, low=0, high=1, open_low=True)
        if self.gamma != 1 and mode != "exp_range":
            raise ValueError(
                f"`gamma` is used only by mode='exp_range'. Received: mode={mode!r}, "
                f"gamma={gamma!r}. Leave `gamma` out or change the mode."
            )
        if scale_fn is not None and (mode != "triangular" or not callable(scale_fn)):
            raise ValueError(
                "`scale_fn` must be a function, with mode='triangular'. Received: "
                f"scale_fn={scale_fn!r}, mode={mode!r}. Leave one of the two out."
            )
        self.scale_fn = scale_fn
        self.scale_mode = _checks.one_of(
            "scale_mode", scale_mode, ("cycle", "iterations")
        )
        self.name = name

    def __call__(self, step: Tensor) -> Tensor:
        """Return the learning rate at `step`."""
        with keras.name_scope(self.name):
            step = _steps.as_number("Cyclical", step)
            cycle = ops.floor_divide(step, 2 * self.step_size)
            into_cycle = step - cycle * (2 * self.step_size)
            from_end = self.step_size - ops.absolute(into_cycle - self.step_size)
            height = _steps.share(from_end, self.step_size) * self._scale(step, cycle)
            return _steps.between(
                self.initial_learning_rate, self.max_learning_rate, height
            )

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "max_learning_rate": self.max_learning_rate,
            "step_size": self.step_size,
            "mode": self.mode,
            "gamma": self.gamma,
            "scale_fn": keras.saving.serialize_keras_object(self.scale_fn),
            "scale_mode": self.scale_mode,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: Config) -> "Cyclical":
        """Return the schedule that `get_config` describes."""
        # A schedule that was saved before there was a `scale_fn` has none.
        scale_fn: Any = keras.saving.deserialize_keras_object(config.get("scale_fn"))
        return cls(**{**config, "scale_fn": scale_fn})

    def _scale(self, step: Tensor, cycle: Tensor) -> Tensor | float:
        """Return the height relative to `max_learning_rate`."""
        if self.scale_fn is not None:
            at = cycle + 1 if self.scale_mode == "cycle" else step
            return ops.cast(self.scale_fn(ops.cast(at, "float32")), "float32")
        if self.mode == "triangular2":
            return ops.power(0.5, ops.cast(cycle, "float32"))
        if self.mode == "exp_range":
            # float32 represents log(gamma) well, but not a gamma just below 1.
            return ops.exp(math.log(self.gamma) * ops.cast(step, "float32"))
        return 1.0
