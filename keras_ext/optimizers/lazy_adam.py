"""Adam that leaves rows without a gradient alone."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ext._types import Config, Tensor
from keras_ext.optimizers._gradients import Rows, is_sparse
from keras_ext.optimizers._moments import DecayInStep, at_least_float32
from keras_ext.optimizers._slots import Slots


@keras.saving.register_keras_serializable(package="keras_ext")
class LazyAdam(DecayInStep):
    """Adam that moves only the rows of an embedding that were looked up.

    At every step, `keras.optimizers.Adam` reads and writes the whole table of an
    embedding and both of its moments, and moves every row that has ever been looked up.
    With the TensorFlow backend, the gradient of an embedding is a `tf.IndexedSlices` of
    the rows that were looked up. Here, only these rows, and only their moments, change.
    With the gradient `g` of a row, summed over all times that it was looked up, and the
    number `t = 1, 2, ...` of the step:

    `m = m + (1 - beta_1) * (g - m)`,

    `v = v + (1 - beta_2) * (g^2 - v)`,

    `w = w - rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon)`.

    Variables with a dense gradient are updated as by `keras.optimizers.Adam`; with
    other backends, all gradients are dense.

    Reference: D. P. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", 2015,
    https://arxiv.org/abs/1412.6980, and `LazyAdam` of TensorFlow Addons.

    Args:
        learning_rate: Float, a `keras.optimizers.schedules.LearningRateSchedule`, or a
            function without arguments that returns the rate. Default: 0.001.
        beta_1: Float in [0, 1). Decay of the first moment. Default: 0.9.
        beta_2: Float in [0, 1). Decay of the second moment. Default: 0.999.
        epsilon: Positive float, added to the root of the second moment before its
            correction, as in `keras.optimizers.Adam`. Default: 1e-7.
        amsgrad: Boolean. Whether to divide by the root of the largest second moment
            that a row has had. Default: `False`.
        name: Name of the optimizer.
        **kwargs: `weight_decay`, `clipnorm`, `clipvalue`, `global_clipnorm`, `use_ema`,
            `ema_momentum`, `ema_overwrite_frequency`, `loss_scale_factor` and
            `gradient_accumulation_steps` of `keras.optimizers.Optimizer`.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_ext.optimizers import LazyAdam
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Embedding(9, 2)])
    >>> model.compile(LazyAdam(0.1), loss="mse")
    >>> history = model.fit(np.array([[3], [5]]), np.ones((2, 1, 2)), verbose=0)
    >>> before = model.get_weights()[0]
    >>> history = model.fit(np.array([[5], [7]]), np.ones((2, 1, 2)), verbose=0)
    >>> moved = np.any(model.get_weights()[0] != before, axis=1)
    >>> np.flatnonzero(moved).tolist()
    [5, 7]

    `weight_decay` is decoupled, as in `keras.optimizers.AdamW`, and as lazy as the
    rest: a row decays in the steps in which it has a gradient. For `global_clipnorm`
    and `gradient_accumulation_steps`, Keras turns all gradients into dense ones, and
    this is Adam. So it is for an embedding with a regularizer, whose gradient is dense.
    Keras cannot divide a `tf.IndexedSlices` by a `loss_scale_factor`;
    `keras.optimizers.LossScaleOptimizer` can.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        *,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, name, **kwargs)
        self.amsgrad = bool(amsgrad)

    def build(self, variables: Sequence[Any]) -> None:
        """Create the moments of every variable."""
        if self.built:
            return
        decays = self._decayed(variables)
        super().build(variables)
        names = ["momentum", "velocity", *["velocity_hat"] * self.amsgrad]
        moments = self.add_optimizer_variables(variables, names)
        self._state = Slots(variables, decays, *moments)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable, or some of its rows; Keras calls this for each."""
        dtype = variable.dtype
        gradient = ops.cast(gradient, dtype)
        rows = Rows(gradient) if is_sparse(gradient) else None

        def read(whole: Any) -> Any:
            return rows.of(whole) if rows else whole

        def write(whole: Any, value: Tensor) -> Tensor:
            self.assign(whole, rows.slices(value) if rows else value)
            return value

        if rows:
            gradient = rows.gradient
        decays, momentum, velocity, *largest = self._state.of(variable)
        m, v, weights = read(momentum), read(velocity), read(variable)
        m = write(momentum, m + (gradient - m) * (1 - self.beta_1))
        v = write(velocity, v + (ops.square(gradient) - v) * (1 - self.beta_2))
        if self.amsgrad:
            v = write(largest[0], ops.maximum(read(largest[0]), v))
        if decays and self.weight_decay:
            rate = ops.cast(learning_rate, dtype)
            weights = weights - weights * ops.cast(self.weight_decay, dtype) * rate
        step = m * self._alpha(learning_rate, dtype) / (ops.sqrt(v) + self.epsilon)
        write(variable, weights - step)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {**super().get_config(), "amsgrad": self.amsgrad}

    def _alpha(self, learning_rate: Any, dtype: Any) -> Tensor:
        """Return the rate with both corrections, to the bit as in Keras's Adam."""
        precise = at_least_float32(dtype)
        step = self._step_number(precise)
        power_1 = ops.power(ops.cast(self.beta_1, precise), step)
        power_2 = ops.power(ops.cast(self.beta_2, precise), step)
        rate = ops.cast(learning_rate, precise)
        return ops.cast(rate * ops.sqrt(1 - power_2) / (1 - power_1), dtype)
