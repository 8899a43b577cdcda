"""AdaBelief: long steps where gradients are as expected."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Config
from keras_ext.optimizers._gradients import dense
from keras_ext.optimizers._moments import MomentOptimizer
from keras_ext.optimizers._slots import Slots
from keras_ext.optimizers.rectified_adam import rectification


@keras.saving.register_keras_serializable(package="keras_ext")
class AdaBelief(MomentOptimizer):
    """Adam that divides by how far gradients are from what was expected.

    The first moment is what the optimizer expects of the next gradient. If gradients
    are near it, steps are long, even if gradients are large; if they are not, steps are
    short. With gradient `g` and `t = 1, 2, ...`:

    `m = beta_1 * m + (1 - beta_1) * g`,

    `s = beta_2 * s + (1 - beta_2) * (g - m)^2 + epsilon`,

    `w = w - rate * r * m / (1 - beta_1^t) / (sqrt(s / (1 - beta_2^t)) + epsilon)`.

    `r` is 1 without `rectify`. With it, `r` is that of
    `keras_ext.optimizers.RectifiedAdam`, and so are the first steps, which are those of
    gradient descent with momentum.

    Reference: J. Zhuang, T. Tang, Y. Ding, S. Tatikonda, N. Dvornek, X. Papademetris,
    J. Duncan, "AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed
    Gradients", 2020, https://arxiv.org/abs/2010.07468. The algorithm in the paper is
    that of `rectify=False`; the code of its authors rectifies.

    Args:
        learning_rate: Float, a `keras.optimizers.schedules.LearningRateSchedule`, or a
            function without arguments that returns the rate. Default: 0.001.
        beta_1: Float in [0, 1). Decay of the first moment. Default: 0.9.
        beta_2: Float in (0, 1). Decay of the second moment. Default: 0.999.
        epsilon: Positive float, added to the second moment at every step, and to its
            root. Much smaller than that of Adam, which is added to a root only.
            Default: 1e-14.
        amsgrad: Boolean. Whether to divide by the root of the largest second moment
            that a weight has had. Default: `False`.
        rectify: Boolean. Whether to take into account that the second moment is
            estimated from few gradients at first. Default: `True`.
        name: Name of the optimizer.
        **kwargs: `weight_decay`, `clipnorm`, `clipvalue`, `global_clipnorm`, `use_ema`,
            `ema_momentum`, `ema_overwrite_frequency`, `loss_scale_factor` and
            `gradient_accumulation_steps` of `keras.optimizers.Optimizer`.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_ext.optimizers import AdaBelief
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(AdaBelief(0.2), loss="mse")
    >>> x = np.random.default_rng(0).normal(size=(64, 2))
    >>> history = model.fit(x, x @ [[2.0], [-1.0]], epochs=60, verbose=0)
    >>> history.history["loss"][-1] < 1e-2
    True

    `weight_decay` is decoupled, as in `keras.optimizers.AdamW`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-14,
        amsgrad: bool = False,
        rectify: bool = True,
        *,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        _checks.number("beta_2", beta_2, low=0, high=1, open_low=True, open_high=True)
        super().__init__(learning_rate, beta_1, beta_2, epsilon, name, **kwargs)
        self.amsgrad = bool(amsgrad)
        self.rectify = bool(rectify)

    def build(self, variables: Sequence[Any]) -> None:
        """Create the moments of every variable."""
        if self.built:
            return
        super().build(variables)
        names = ["momentum", "velocity", *["velocity_hat"] * self.amsgrad]
        self._moments = Slots(
            variables, *self.add_optimizer_variables(variables, names)
        )

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable; Keras calls this for each."""
        step = self._step_number(variable.dtype)
        # In float16, epsilon would be 0.
        precise = step.dtype
        gradient = dense(gradient, variable, precise)
        momentum, velocity, *largest = self._moments.of(variable)
        m, s = ops.cast(momentum, precise), ops.cast(velocity, precise)
        # With a `beta_1` of 0, this is the gradient to the bit, and `s` is epsilon.
        m = m * self.beta_1 + gradient * (1 - self.beta_1)
        s = s + (ops.square(gradient - m) - s) * (1 - self.beta_2) + self.epsilon
        self.assign(momentum, ops.cast(m, variable.dtype))
        self.assign(velocity, ops.cast(s, variable.dtype))
        if self.amsgrad:
            s = ops.maximum(ops.cast(largest[0], precise), s)
            self.assign(largest[0], ops.cast(s, variable.dtype))
        first, second = self._corrections(step)
        divisor = ops.sqrt(s / second) + self.epsilon
        factor = 1 / divisor
        if self.rectify:
            rho, shortened = rectification(step, self.beta_2)
            factor = ops.where(rho > 4, shortened / divisor, 1.0)
        update = ops.cast(learning_rate, precise) / first * m * factor
        self.assign_sub(variable, ops.cast(update, variable.dtype))

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "amsgrad": self.amsgrad,
            "rectify": self.rectify,
        }
