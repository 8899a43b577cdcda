"""NovoGrad: momentum of gradients that are normalized layer by layer."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ext._types import Config
from keras_ext.optimizers._gradients import dense
from keras_ext.optimizers._moments import DecayInStep, at_least_float32
from keras_ext.optimizers._slots import Slots


@keras.saving.register_keras_serializable(package="keras_ext")
class NovoGrad(DecayInStep):
    """Gradient descent with momentum and gradients of about the same norm.

    The gradient of every variable is divided by its usual norm, a single number per
    variable: this takes half the memory of Adam's moments, and makes the steps
    independent of the scale of the gradients. With gradient `g` and the sum `|g|^2` of
    its squares:

    `v = beta_2 * v + (1 - beta_2) * |g|^2`; in the first step, `v = |g|^2`,

    `m = beta_1 * m + g / (sqrt(v) + epsilon) + weight_decay * w`,

    `w = w - rate * m`.

    Reference: B. Ginsburg, P. Castonguay, O. Hrinchuk, O. Kuchaiev, V. Lavrukhin,
    R. Leary, J. Li, H. Nguyen, Y. Zhang, J. M. Cohen, "Stochastic Gradient Methods with
    Layer-wise Adaptive Moments for Training of Deep Networks", 2019,
    https://arxiv.org/abs/1905.11286.

    Args:
        learning_rate: Float, a `keras.optimizers.schedules.LearningRateSchedule`, or a
            function without arguments that returns the rate. Default: 0.001.
        beta_1: Float in [0, 1). Decay of the momentum. Default: 0.9; the paper trains
            with 0.95.
        beta_2: Float in [0, 1). Decay of the squared norm. Default: 0.999; the paper
            trains with 0.98.
        epsilon: Positive float, added to the norm. Default: 1e-7.
        grad_averaging: Boolean. Whether `m` is an average: after the first step, what
            is added to it is multiplied by `1 - beta_1`. Default: `False`.
        amsgrad: Boolean. Whether to divide by the root of the largest `v` so far.
            Default: `False`.
        name: Name of the optimizer.
        **kwargs: `weight_decay`, `clipnorm`, `clipvalue`, `global_clipnorm`, `use_ema`,
            `ema_momentum`, `ema_overwrite_frequency`, `loss_scale_factor` and
            `gradient_accumulation_steps` of `keras.optimizers.Optimizer`.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_ext.optimizers import NovoGrad
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> decay = keras.optimizers.schedules.CosineDecay(0.1, 120)
    >>> model.compile(NovoGrad(decay), loss="mse")
    >>> x = np.random.default_rng(0).normal(size=(64, 2))
    >>> history = model.fit(x, x @ [[2.0], [-1.0]], epochs=60, verbose=0)
    >>> history.history["loss"][-1] < 1e-2
    True

    `weight_decay` is that of the formula: it is part of the momentum, and its effect
    grows with `1 / (1 - beta_1)`. The first step of a variable is the first in which it
    has a gradient other than 0.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        grad_averaging: bool = False,
        amsgrad: bool = False,
        *,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, name, **kwargs)
        self.grad_averaging = bool(grad_averaging)
        self.amsgrad = bool(amsgrad)

    def build(self, variables: Sequence[Any]) -> None:
        """Create the momentum and the average squared norm of every variable."""
        if self.built:
            return
        decays = self._decayed(variables)
        super().build(variables)
        momenta = self.add_optimizer_variables(variables, "momentum")
        names = ["velocity", *["velocity_hat"] * self.amsgrad]
        norms = [[self._norm(one, name) for one in variables] for name in names]
        self._state = Slots(variables, decays, momenta, *norms)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable; Keras calls this for each."""
        precise = at_least_float32(variable.dtype)
        gradient = dense(gradient, variable, precise)
        decays, momentum, velocity, *largest = self._state.of(variable)
        square = ops.sum(ops.square(gradient))
        first = ops.equal(velocity, 0)
        v = velocity + (square - velocity) * (1 - self.beta_2)
        v = ops.where(first, square, v)
        self.assign(velocity, v)
        if self.amsgrad:
            v = ops.maximum(largest[0], v)
            self.assign(largest[0], v)
        push = gradient / (ops.sqrt(v) + self.epsilon)
        if decays and self.weight_decay:
            push = push + ops.cast(variable, precise) * self.weight_decay
        if self.grad_averaging:
            push = ops.where(first, push, push * (1 - self.beta_1))
        m = ops.cast(momentum, precise) * self.beta_1 + push
        self.assign(momentum, ops.cast(m, variable.dtype))
        step = ops.cast(learning_rate, precise) * m
        self.assign_sub(variable, ops.cast(step, variable.dtype))

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "grad_averaging": self.grad_averaging,
            "amsgrad": self.amsgrad,
        }

    def _norm(self, variable: Any, name: str) -> Any:
        """Return a number for a variable; its square norm may be large for float16."""
        return self.add_variable(
            shape=(),
            dtype=at_least_float32(variable.dtype),
            name=f"{variable.name.replace('/', '_').replace(':', '_')}_{name}",
        )
