"""Lookahead: slow weights that follow the fast ones part of the way."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Config, Tensor
from keras_ext.optimizers._slots import Slots


@keras.saving.register_keras_serializable(package="keras_ext")
class Lookahead(keras.optimizers.Optimizer):
    """Lets any optimizer explore, and follows it part of the way.

    Every `sync_period` steps of the inner optimizer, the weights are pulled back toward
    those at the beginning of the period, the slow weights:

    `slow = slow + slow_step_size * (weights - slow)`, `weights = slow`.

    This lowers the variance of the steps and tolerates larger learning rates, at the
    cost of one more copy of the weights. The inner optimizer keeps its moments.

    Reference: M. R. Zhang, J. Lucas, G. Hinton, J. Ba, "Lookahead Optimizer: k steps
    forward, 1 step back", 2019, https://arxiv.org/abs/1907.08610.

    Args:
        optimizer: `keras.optimizers.Optimizer` that makes the steps. Its options apply
            as usual: schedule, weight decay, clipping, gradient accumulation.
        sync_period: Positive integer, steps of the optimizer (updates, if it
            accumulates gradients) between two synchronizations. Default: 6.
        slow_step_size: Float in (0, 1]. Fraction of the way. Default: 0.5.
        name: Name of the optimizer.

    Raises:
        TypeError: If `optimizer` is not an optimizer, or one that must not be wrapped.
        ValueError: If `sync_period` or `slow_step_size` is out of range.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_ext.optimizers import Lookahead
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(Lookahead(keras.optimizers.SGD(0.1)), loss="mse")
    >>> x = np.random.default_rng(0).normal(size=(64, 2))
    >>> history = model.fit(x, x @ [[2.0], [-1.0]], epochs=40, verbose=0)
    >>> history.history["loss"][-1] < 1e-2
    True
    >>> int(model.optimizer.iterations)
    80

    `learning_rate` and `iterations` are those of the inner optimizer, so callbacks that
    read or set the rate work as usual. The weights are synchronized after every full
    period: end training at a multiple of `sync_period` to end with slow weights. For
    mixed precision, `compile` wraps a `LossScaleOptimizer` around it, where it belongs.
    An average kept by the inner optimizer (`use_ema`) is of the weights before they are
    pulled back; `keras_ext.callbacks.WeightAveraging` averages those after.
    """

    def __init__(
        self,
        optimizer: keras.optimizers.Optimizer,
        sync_period: int = 6,
        slow_step_size: float = 0.5,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate=0.0, name=name)
        self.optimizer = _optimizer(optimizer)
        self.sync_period = _checks.positive_int("sync_period", sync_period)
        self.slow_step_size = _checks.number(
            "slow_step_size", slow_step_size, low=0, high=1, open_low=True
        )

    @property
    def inner_optimizer(self) -> keras.optimizers.Optimizer:
        """The inner optimizer, under the name that Keras's callbacks look for."""
        return self.optimizer

    @property
    def variables(self) -> list[Any]:
        """The optimizer's own variables, then those of the inner optimizer."""
        return [*super().variables, *self.optimizer.variables]

    @property
    def iterations(self) -> Any:
        """The number of updates that the inner optimizer has made."""
        return self.optimizer.iterations

    @property
    def learning_rate(self) -> Any:
        """The rate of the inner optimizer; it can be set if the inner one can."""
        return self.optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        self.optimizer.learning_rate = learning_rate

    @property
    def loss_scale_factor(self) -> float | None:
        """The factor of the inner optimizer."""
        return self.optimizer.loss_scale_factor

    @loss_scale_factor.setter
    def loss_scale_factor(self, factor: float | None) -> None:
        # Keras's constructor sets it before there is an inner optimizer.
        if hasattr(self, "optimizer"):
            self.optimizer.loss_scale_factor = factor

    def build(self, variables: Sequence[Any]) -> None:
        """Create the slow weights, and the variables of the inner optimizer."""
        if self.built:
            return
        super().build(variables)
        slow = self.add_optimizer_variables(variables, "slow")
        # Keras creates none for variables that are overwritten with their gradient.
        pairs = [
            pair for pair in zip(variables, slow, strict=True) if pair[1] is not None
        ]
        self._slow = Slots(*zip(*pairs, strict=True))
        if not self.optimizer.built:
            self.optimizer.build(variables)

    def apply(
        self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None
    ) -> None:
        """Make a step of the inner optimizer, and synchronize if it is due."""
        if not self.built:
            self._build_for(trainable_variables)
        # The number of updates made here, without those from before it was wrapped.
        counter = super().iterations
        self._begin_period(ops.copy(counter) % self.sync_period == 0)
        before = ops.copy(self.iterations)
        self.optimizer.apply(grads, trainable_variables)
        # No update is made while gradients are accumulated.
        made = ops.copy(self.iterations) - before
        counter.assign_add(ops.cast(made, counter.dtype))
        updates = ops.copy(counter)
        self._end_period((made > 0) & (updates % self.sync_period == 0))

    def scale_loss(self, loss: Tensor) -> Tensor:
        """Return the loss, scaled as the inner optimizer requires."""
        return self.optimizer.scale_loss(loss)

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """Let the inner optimizer finish, with its average if it keeps one."""
        self.optimizer.finalize_variable_values(var_list)

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all variables, in the order of `variables`."""
        own = len(super().variables)
        super().set_weights(weights[:own])
        self.optimizer.set_weights(weights[own:])

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            "optimizer": keras.saving.serialize_keras_object(self.optimizer),
            "sync_period": self.sync_period,
            "slow_step_size": self.slow_step_size,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: Config, custom_objects: Any = None) -> "Lookahead":
        """Return the optimizer that `get_config` describes."""
        optimizer = keras.saving.deserialize_keras_object(
            config["optimizer"], custom_objects=custom_objects
        )
        return cls(**{**config, "optimizer": optimizer})

    def _build_for(self, variables: Sequence[Any] | None) -> None:
        if variables is None:
            raise ValueError(
                "Lookahead needs to know the variables before its first step. Pass "
                "`apply(gradients, variables)`, or call `build(variables)` first."
            )
        with keras.name_scope(self.name):
            self.build(list(variables))

    def _begin_period(self, begins: Tensor) -> None:
        """Use the weights as the slow ones; they may have been set from outside."""
        self._assign_if(
            begins,
            [slow for _, slow in self._slow],
            lambda: [ops.copy(weight) for weight, _ in self._slow],
        )

    def _end_period(self, ends: Tensor) -> None:
        """Pull the weights back toward the slow ones."""
        self._assign_if(
            ends,
            [weight for weight, _ in self._slow],
            lambda: [self._drawn_back(weight, slow) for weight, slow in self._slow],
        )

    def _drawn_back(self, weight: Any, slow: Any) -> Tensor:
        value = ops.copy(slow)
        value = value + self.slow_step_size * (ops.copy(weight) - value)
        constraint = getattr(weight, "constraint", None)
        return value if constraint is None else constraint(value)

    def _assign_if(
        self, condition: Tensor, variables: list[Any], values: Callable[[], list[Any]]
    ) -> None:
        # Select values, then assign: JAX cannot assign variables in a branch.
        chosen = ops.cond(
            condition,
            values,
            lambda: [ops.copy(variable) for variable in variables],
        )
        for variable, value in zip(variables, chosen, strict=True):
            self.assign(variable, value)


def _optimizer(optimizer: Any) -> keras.optimizers.Optimizer:
    """Return `optimizer` if `Lookahead` can wrap it, else raise."""
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise TypeError(
            "`optimizer` must be a keras.optimizers.Optimizer. "
            f"Received: {optimizer!r} of type {type(optimizer).__name__}"
        )
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        raise TypeError(
            "A LossScaleOptimizer skips steps, so it must wrap Lookahead: "
            "LossScaleOptimizer(Lookahead(optimizer)). Received: one as `optimizer`."
        )
    if isinstance(optimizer, Lookahead):
        raise TypeError(
            "`optimizer` must not itself be a Lookahead. Received: one with "
            f"sync_period={optimizer.sync_period}. Choose one period."
        )
    return optimizer
