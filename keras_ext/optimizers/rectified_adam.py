"""Rectified Adam: no adaptive step before its variance can be trusted."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Tensor
from keras_ext.optimizers._gradients import dense
from keras_ext.optimizers._moments import MomentOptimizer
from keras_ext.optimizers._slots import Slots


@keras.saving.register_keras_serializable(package="keras_ext")
class RectifiedAdam(MomentOptimizer):
    """Adam with steps no longer than its gradient statistics justify.

    In its first steps, Adam divides by a second moment that is estimated from a few
    gradients, and may go far astray; learning rate warmup hides that. Here, the
    variance of the estimate is taken into account: the first steps (four, for
    `beta_2=0.999`) are those of gradient descent with momentum, and later ones are
    shortened until the estimate is reliable. With gradient `g` and `t = 1, 2, ...`:

    `m = beta_1 * m + (1 - beta_1) * g`,

    `v = beta_2 * v + (1 - beta_2) * g^2`,

    `rho_inf = 2 / (1 - beta_2) - 1`,

    `rho = rho_inf - 2 * t * beta_2^t / (1 - beta_2^t)`,

    `w = w - rate * m / (1 - beta_1^t)`, while `rho <= 4`, and then

    `w = w - rate * r * m / (1 - beta_1^t) * sqrt(1 - beta_2^t) / (sqrt(v) + epsilon)`,

    `r = sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho))`.

    Reference: L. Liu, H. Jiang, P. He, W. Chen, X. Liu, J. Gao, J. Han, "On the
    Variance of the Adaptive Learning Rate and Beyond", 2020,
    https://arxiv.org/abs/1908.03265.

    Args:
        learning_rate: Float, a `keras.optimizers.schedules.LearningRateSchedule`, or a
            function without arguments that returns the rate. Default: 0.001.
        beta_1: Float in [0, 1). Decay of the first moment. Default: 0.9.
        beta_2: Float in (0, 1). Decay of the second moment; up to 0.6, no step is
            adaptive. Default: 0.999.
        epsilon: Positive float, added to the root of the second moment before its
            correction, as in `keras.optimizers.Adam`. Default: 1e-7.
        name: Name of the optimizer.
        **kwargs: `weight_decay`, `clipnorm`, `clipvalue`, `global_clipnorm`, `use_ema`,
            `ema_momentum`, `ema_overwrite_frequency`, `loss_scale_factor` and
            `gradient_accumulation_steps` of `keras.optimizers.Optimizer`.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_ext.optimizers import RectifiedAdam
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(RectifiedAdam(0.2, weight_decay=0.001), loss="mse")
    >>> x = np.random.default_rng(0).normal(size=(64, 2))
    >>> history = model.fit(x, x @ [[2.0], [-1.0]], epochs=60, verbose=0)
    >>> history.history["loss"][-1] < 1e-2
    True

    `weight_decay` is decoupled, as in `keras.optimizers.AdamW`: before the step, the
    variable is multiplied by `1 - rate * weight_decay`. `rho` and all corrections are
    computed without cancellation and at least in float32, for the first step as well as
    for the hundred millionth, so half-precision variables are also corrected exactly.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        _checks.number("beta_2", beta_2, low=0, high=1, open_low=True, open_high=True)
        super().__init__(learning_rate, beta_1, beta_2, epsilon, name, **kwargs)

    def build(self, variables: Sequence[Any]) -> None:
        """Create both moments of every variable."""
        if self.built:
            return
        super().build(variables)
        moments = self.add_optimizer_variables(variables, ["momentum", "velocity"])
        self._moments = Slots(variables, *moments)

    def update_step(self, gradient: Tensor, variable: Any, learning_rate: Any) -> None:
        """Update one variable; Keras calls this for each."""
        gradient = dense(gradient, variable)
        m, v = self._moments.of(variable)
        self.assign_add(m, ops.multiply(ops.subtract(gradient, m), 1 - self.beta_1))
        gap = ops.subtract(ops.square(gradient), v)
        self.assign_add(v, ops.multiply(gap, 1 - self.beta_2))
        trusted, plain, adaptive = self._factors(learning_rate, variable.dtype)
        adaptive = ops.divide(adaptive, ops.add(ops.sqrt(v), self.epsilon))
        self.assign_sub(variable, ops.multiply(m, ops.where(trusted, adaptive, plain)))

    def _factors(self, learning_rate: Any, dtype: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return whether `v` can be trusted, and the factors for `m`.

        The first applies if it cannot; the second, divided by the root of `v`, if it
        can.
        """
        step = self._step_number(dtype)
        first, second = self._corrections(step)
        plain = ops.cast(learning_rate, step.dtype) / first
        rho, factor = rectification(step, self.beta_2)
        adaptive = plain * factor * ops.sqrt(second)
        return rho > 4, ops.cast(plain, dtype), ops.cast(adaptive, dtype)


def rectification(step: Tensor, beta_2: float) -> tuple[Tensor, Tensor]:
    """Return `rho`, and the factor `r` where `rho > 4` (elsewhere 0).

    In float32, `rho_inf - 2 t b^t / (1 - b^t)` would be a small difference of large,
    inexact numbers. With `b = exp(-2 a)` and `y = a t` it is `c + t (1 - L(y))` with a
    small constant `c` and Langevin's function `L(y) = coth(y) - 1 / y`, which has a
    known series for small `y`.

    Args:
        step: 1, 2, ..., as a float tensor.
        beta_2: Float in (0, 1).
    """
    rho_inf = 2 / (1 - beta_2) - 1
    if rho_inf <= 4:
        return ops.minimum(step, rho_inf), ops.zeros_like(step)
    a = -math.log(beta_2) / 2
    y = a * step
    # Each of the two where it is accurate; the other need only stay finite there.
    near, far = ops.minimum(y, 0.5), ops.maximum(y, 0.5)
    square = near * near
    langevin = 1 / 4725 - square * (1 / 46777.5)
    langevin = 1 / 3 - square * (1 / 45 - square * (2 / 945 - square * langevin))
    early = (rho_inf - 1 / a) + step * (1 - near * langevin)
    late = rho_inf - 2 / a * far / ops.expm1(2 * far)
    rho = ops.where(y < 0.5, early, late)
    known = ops.maximum(rho, 4)
    square = (known - 4) / (rho_inf - 4) * ((known - 2) / (rho_inf - 2))
    return rho, ops.sqrt(square * (rho_inf / known))
