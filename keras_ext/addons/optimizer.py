"""Optimizers of TensorFlow Addons as optimizers of Keras 3."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_ext._types import Config, Tensor
from keras_ext.addons._config import Adapted, check_kind
from keras_ext.addons._variables import outside, recording, sharing, sharing_by_name
from keras_ext.optimizers._slots import Slots


class _Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Shows a schedule of Keras 2, which its optimizer follows by itself."""

    def __init__(self, legacy: Any) -> None:
        self.legacy = legacy

    def __call__(self, step: Tensor) -> Tensor:
        return self.legacy(tf.cast(step, keras.config.floatx()))

    def get_config(self) -> Config:
        """Return nothing: the optimizer is saved with its schedule."""
        return {}


@keras.saving.register_keras_serializable(package="keras_ext")
class AddonsOptimizer(Adapted, keras.optimizers.Optimizer):
    """An optimizer of Keras 3 around one of Keras 2; `addons.optimizer` makes it.

    Args:
        legacy: Optimizer of TensorFlow Addons, or `tf_keras.optimizers.legacy`.
    """

    def __init__(self, legacy: Any) -> None:
        import tf_keras

        check_kind(legacy, "optimizer", tf_keras.optimizers.legacy.Optimizer)
        if type(legacy).__name__ == "MultiOptimizer":
            raise TypeError(
                "`addons.optimizer` cannot adapt MultiOptimizer, which finds variables "
                "by names that Keras 3 does not make unique. Use "
                "keras.optimizers.MultiOptimizer (Keras 3.15)."
            )
        if len(legacy.weights) > 1 or (legacy.weights and int(legacy.iterations)):
            raise ValueError(
                "`addons.optimizer` takes an optimizer that has not made a step. "
                f"Received: {legacy!r}, which has made {int(legacy.iterations)}. "
                "Create another with the same arguments."
            )
        with recording() as hyperparameters:
            rate = getattr(legacy, "learning_rate", 0.0)
        shared = {"iteration": legacy.iterations, "learning_rate": rate}
        schedule = tf_keras.optimizers.schedules.LearningRateSchedule
        if isinstance(rate, schedule):
            rate = _Schedule(rate)
        elif not callable(rate):
            rate = float(tf.convert_to_tensor(rate))
        with sharing_by_name(shared):
            super().__init__(learning_rate=rate, name=legacy.get_config()["name"])
        self.legacy = legacy
        for one in hyperparameters:
            if one is not shared["learning_rate"] and one is not shared["iteration"]:
                self._share(one)

    def build(self, variables: Sequence[Any]) -> None:
        """Create what the adapted optimizer keeps for every variable."""
        if self.built:
            return
        super().build(variables)
        self._trained = Slots(variables)
        outside(lambda: self._create_slots(variables), self.name)

    def apply(
        self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None
    ) -> None:
        """Make a step of the adapted optimizer."""
        if trainable_variables is not None and not self.built:
            self.build(list(trainable_variables))
        variables = self._known(trainable_variables)
        pairs = zip(grads, map(_inner, variables), strict=True)
        self.legacy.apply_gradients(
            [pair for pair in pairs if pair[0] is not None], name=self.name
        )
        for variable in variables:
            # Constraints of Keras 2 are applied with the step.
            if getattr(variable, "constraint", None) is not None:
                variable.assign(variable.constraint(variable))

    def assign_average_vars(self, variables: Sequence[Any]) -> None:
        """Set variables to their averages, as `MovingAverage` and `SWA` keep them.

        Args:
            variables: Variables of the model that is trained.
        """
        self.legacy.assign_average_vars([_inner(one) for one in variables])

    def _create_slots(self, variables: Sequence[Any]) -> None:
        inner = [_inner(one) for one in variables]
        strategy = tf.distribute.get_strategy()

        def step(*gradients: Tensor) -> None:
            # Replicas reduce only what each of them has computed.
            own = [tf.identity(one) for one in gradients]
            self.legacy.apply_gradients(zip(own, inner, strict=True))

        def steps(*gradients: Tensor) -> None:
            strategy.run(step, gradients)

        # A trace creates them and computes nothing.
        specs = [tf.TensorSpec(one.shape, one.dtype) for one in inner]
        tf.function(steps, autograph=False).get_concrete_function(*specs)
        for slot in self.legacy.weights:
            if slot is not self.legacy.iterations:
                self._share(slot)

    def _share(self, variable: Any) -> None:
        with sharing(variable) as described:
            self.add_variable(**described)

    def _known(self, variables: Sequence[Any] | None) -> list[Any]:
        """Return the variables to update, all of which must have their slots."""
        if not self.built:
            raise ValueError(
                "The optimizer needs to know the variables before its first step. Pass "
                "`apply(gradients, variables)`, or call `build(variables)` first."
            )
        if variables is None:
            return [one for (one,) in self._trained]
        for one in variables:
            try:
                self._trained.of(one)
            except KeyError:
                raise ValueError(
                    "The optimizer was built for other variables. Received: "
                    f"{one.name!r}. Call `build` with all variables first."
                ) from None
        return list(variables)


def optimizer(legacy: Any) -> AddonsOptimizer:
    """Make a Keras 3 optimizer of one of TensorFlow Addons.

    TensorFlow Addons computes the steps, with its clipping, decay and schedules. What
    it keeps for the variables is in `variables`, saved in `.keras` files and by
    `keras_ext.callbacks.Checkpoint`. `learning_rate` can be read, set and scheduled by
    callbacks, unless it is a schedule already. Patterns such as those of
    `exclude_from_weight_decay` see a variable's own name, `kernel`, which in Keras 3 is
    without that of its layer. After training with `MovingAverage` or `SWA`,
    `optimizer.assign_average_vars(model.trainable_variables)` sets the averages.

    Args:
        legacy: Optimizer of TensorFlow Addons, or of `tf_keras.optimizers.legacy`, that
            has not made a step. Wrappers such as `Lookahead` take one of
            `tf_keras.optimizers.legacy`.

    Returns:
        A `keras.optimizers.Optimizer`.

    Raises:
        TypeError: If it is not such an optimizer, or a `MultiOptimizer`.
        ValueError: If it has made a step.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_ext import addons
    >>> optimizer = addons.optimizer(addons.tfa.optimizers.LAMB(1e-3))
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(optimizer, loss="mse")
    >>> history = model.fit(np.ones((8, 2)), np.ones((8, 1)), verbose=0)
    >>> int(optimizer.iterations)
    1
    """
    return AddonsOptimizer(legacy)


def _inner(variable: Any) -> Any:
    """Return the `tf.Variable` in a variable of Keras 3."""
    return variable.value if isinstance(variable, keras.Variable) else variable
