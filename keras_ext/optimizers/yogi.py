"""Yogi: an Adam whose second moment changes by steps of bounded size."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Config
from keras_ext.optimizers._gradients import dense
from keras_ext.optimizers._moments import MomentOptimizer
from keras_ext.optimizers._slots import Slots


@keras.saving.register_keras_serializable(package="keras_ext")
class Yogi(MomentOptimizer):
    """Adam with a second moment that forgets large gradients no faster than it learns.

    In Adam, the second moment falls in proportion to its distance from the square of
    the gradient: after a rare large gradient, it soon is small again, and the steps
    grow quickly. Here, it rises and falls by a share of the square, regardless of the
    distance. With gradient `g` and `t = 1, 2, ...`:

    `m = beta_1 * m + (1 - beta_1) * g`,

    `v = v - (1 - beta_2) * sign(v - g^2) * g^2`,

    `w = w - rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon)`.

    Reference: M. Zaheer, S. Reddi, D. Sachan, S. Kale, S. Kumar, "Adaptive Methods for
    Nonconvex Optimization", 2018, https://papers.nips.cc/paper/8186, algorithm 2. The
    corrections of both moments are those of Adam, as in the implementation in
    TensorFlow Addons; the algorithm in the paper has none.

    Args:
        learning_rate: Float, a `keras.optimizers.schedules.LearningRateSchedule`, or a
            function without arguments that returns the rate. Default: 0.01.
        beta_1: Float in [0, 1). Decay of the first moment. Default: 0.9.
        beta_2: Float in [0, 1). The second moment changes by `1 - beta_2` times the
            square of the gradient. Default: 0.999.
        epsilon: Positive float, added to the root of the second moment. Large values
            adapt less. Default: 0.001.
        initial_accumulator_value: Non-negative float. The second moment before the
            first step. Default: 1e-6.
        name: Name of the optimizer.
        **kwargs: `weight_decay`, `clipnorm`, `clipvalue`, `global_clipnorm`, `use_ema`,
            `ema_momentum`, `ema_overwrite_frequency`, `loss_scale_factor` and
            `gradient_accumulation_steps` of `keras.optimizers.Optimizer`.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_ext.optimizers import Yogi
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(Yogi(0.2), loss="mse")
    >>> x = np.random.default_rng(0).normal(size=(64, 2))
    >>> history = model.fit(x, x @ [[2.0], [-1.0]], epochs=60, verbose=0)
    >>> history.history["loss"][-1] < 1e-2
    True

    `weight_decay` is decoupled, as in `keras.optimizers.AdamW`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-3,
        initial_accumulator_value: float = 1e-6,
        *,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, name, **kwargs)
        self.initial_accumulator_value = _checks.number(
            "initial_accumulator_value", initial_accumulator_value, low=0
        )

    def build(self, variables: Sequence[Any]) -> None:
        """Create both moments of every variable."""
        if self.built:
            return
        super().build(variables)
        initial = keras.initializers.Constant(self.initial_accumulator_value)
        moments = self.add_optimizer_variables(
            variables, ["momentum", "velocity"], ["zeros", initial]
        )
        self._moments = Slots(variables, *moments)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable; Keras calls this for each."""
        gradient = dense(gradient, variable)
        m, v = self._moments.of(variable)
        self.assign_add(m, (gradient - m) * (1 - self.beta_1))
        square = ops.square(gradient)
        self.assign_sub(v, ops.sign(v - square) * square * (1 - self.beta_2))
        step = self._step_number(variable.dtype)
        first, second = self._corrections(step)
        factor = ops.cast(learning_rate, step.dtype) * ops.sqrt(second) / first
        factor = ops.cast(factor, variable.dtype)
        self.assign_sub(variable, m * factor / (ops.sqrt(v) + self.epsilon))

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "initial_accumulator_value": self.initial_accumulator_value,
        }
