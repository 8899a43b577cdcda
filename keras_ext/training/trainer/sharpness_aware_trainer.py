"""A Trainer that looks for weights in whose neighborhood the loss is also low."""

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_ext import _checks
from keras_ext._types import Config, Tensor
from keras_ext.training.trainer import hooks
from keras_ext.training.trainer.trainer import Trainer

_ETA = 0.01


@keras.saving.register_keras_serializable(package="keras_ext")
class SharpnessAwareTrainer(Trainer):
    """Trainer that minimizes the worst loss in a neighborhood of the weights.

    Sharpness-aware minimization, SAM: minima in wide valleys generalize better than
    sharp ones. Each step first moves slightly uphill, takes the gradient there, moves
    back, and lets the optimizer make its step with that gradient. With gradient `g` of
    all weights `w` together:

    `w' = w + rho * g / |g|`, and the optimizer gets the gradient at `w'`.

    With `adaptive=True`, the neighborhood has the scale of each weight, so that it is
    invariant to rescaling of the network: with `t = |w| + 0.01`,

    `w' = w + rho * t^2 * g / |t * g|`.

    A step takes twice as long as one of `Trainer`. All hooks except `train_step` may be
    overridden as in `Trainer`; `forward`, `compute_loss` and `compute_gradients` are
    called twice.

    Reference: P. Foret, A. Kleiner, H. Mobahi, B. Neyshabur, "Sharpness-Aware
    Minimization for Efficiently Improving Generalization", 2021,
    https://arxiv.org/abs/2010.01412; adaptive: J. Kwon, J. Kim, H. Park, I. K. Choi,
    "ASAM", 2021, https://arxiv.org/abs/2102.11600.

    Args:
        model: The `keras.Model` to train, as for `Trainer`.
        rho: Non-negative float, radius of the neighborhood. Typical values are 0.05, or
            0.5 if adaptive. Default: 0.05.
        adaptive: Whether each weight is moved in proportion to its scale. Default:
            `False`.
        seed: As for `Trainer`.
        name: Name of the Trainer.
        **kwargs: `dtype`, `trainable` of `keras.Model`.

    Call arguments:
        inputs: Inputs of `model`.
        training: Boolean or `None`.

    Raises:
        ValueError: If `rho` is negative, and as for `Trainer`.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_ext import SharpnessAwareTrainer
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> trainer = SharpnessAwareTrainer(model, rho=0.05, seed=0)
    >>> trainer.compile(keras.optimizers.SGD(0.1), loss="mse")
    >>> x = np.random.default_rng(0).normal(size=(64, 2))
    >>> y = x @ [[2.0], [-1.0]]
    >>> history = trainer.fit(x, y, epochs=20, batch_size=16, verbose=0)
    >>> history.history["loss"][-1] < 0.05
    True

    Loss and metrics are those of the first pass, at the weights themselves. So are all
    other variables: moving statistics are updated once, and random layers draw the same
    numbers in both passes. Several replicas move uphill together, by the gradient of
    the whole batch. A loss scale cancels out; if it overflows, the step is left out.
    """

    def __init__(
        self,
        model: keras.Model | None = None,
        rho: float = 0.05,
        *,
        adaptive: bool = False,
        seed: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, seed=seed, name=name, **kwargs)
        self.rho = _checks.number("rho", rho, low=0)
        self.adaptive = bool(adaptive)

    def get_config(self) -> Config:
        """Return the constructor arguments that were given."""
        return {**super().get_config(), "rho": self.rho, "adaptive": self.adaptive}

    def train_step(self, data: Any) -> dict[str, Tensor]:
        """Make one update with the gradient from slightly uphill; return the logs."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        before = _values(self._state())
        loss, y_pred, gradients = self._loss_and_gradients(x, y, sample_weight)
        if gradients:
            # Including the variables of layers built by this pass.
            after, weights = _values(self._state()), _values(self.trainable_variables)
            self._go_uphill(gradients)
            _assign(before)
            _, _, gradients = self._loss_and_gradients(x, y, sample_weight)
            # Not by subtraction, which would round, and keep values that are not
            # finite.
            _assign(weights)
            _assign(after)
            self.update(loss, gradients)
        else:
            warnings.warn("The model has no trainable variables.", stacklevel=2)
        self.track_loss(loss, x)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def _loss_and_gradients(
        self, x: Any, y: Any, sample_weight: Any
    ) -> tuple[Tensor, Any, list[Tensor | None]]:
        with tf.GradientTape() as tape:
            y_pred = self.forward(x, training=True)
            loss = self.compute_loss(x, y, y_pred, sample_weight, training=True)
        hooks.check_loss(self, loss)
        gradients = self.compute_gradients(tape, loss)
        hooks.check_gradients(self, gradients)
        return loss, y_pred, gradients

    def _go_uphill(self, gradients: Sequence[Tensor | None]) -> None:
        """Move the weights in the direction that raises the loss most."""
        moved = [
            (variable, tf.cast(tf.convert_to_tensor(gradient), tf.float32))
            for variable, gradient in zip(
                self.trainable_variables, gradients, strict=True
            )
            if gradient is not None
        ]
        variables = [variable for variable, _ in moved]
        slopes = _of_all_replicas([slope for _, slope in moved])
        scales = [self._scale(variable) for variable in variables]
        scaled = [scale * slope for scale, slope in zip(scales, slopes, strict=True)]
        largest = tf.reduce_max([tf.reduce_max(tf.abs(one)) for one in scaled])
        # Divided first, since their squares may overflow or vanish.
        scaled = [tf.math.divide_no_nan(one, largest) for one in scaled]
        length = tf.math.divide_no_nan(self.rho, tf.linalg.global_norm(scaled))
        for variable, scale, direction in zip(variables, scales, scaled, strict=True):
            offset = length * scale * direction
            variable.assign_add(tf.cast(offset, variable.dtype))

    def _scale(self, variable: Any) -> Any:
        if not self.adaptive:
            return 1.0
        return tf.abs(tf.cast(tf.convert_to_tensor(variable), tf.float32)) + _ETA

    def _state(self) -> list[Any]:
        """Return the variables that a forward pass may change."""
        return [*self.non_trainable_variables, *self.metrics_variables]


def _values(variables: Iterable[Any]) -> list[tuple[Any, Tensor]]:
    return [(variable, tf.convert_to_tensor(variable)) for variable in variables]


def _assign(values: Iterable[tuple[Any, Tensor]]) -> None:
    for variable, value in values:
        variable.assign(value)


def _of_all_replicas(gradients: list[Tensor]) -> list[Tensor]:
    """Return the gradients of the whole batch, of which each replica has a share."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return gradients
    return context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
