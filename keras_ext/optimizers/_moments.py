"""What optimizers with two moments have in common."""

import re
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._numerics import one_minus_power
from keras_ext._types import Config, Tensor
from keras_ext.optimizers._slots import forms


class MomentOptimizer(keras.optimizers.Optimizer):
    """Holds the arguments of Adam and its relatives.

    Args:
        learning_rate: Float, schedule or function without arguments.
        beta_1: Float in [0, 1).
        beta_2: Float in [0, 1).
        epsilon: Positive float.
        name: Name of the optimizer.
        **kwargs: Arguments of `keras.optimizers.Optimizer`.
    """

    def __init__(
        self,
        learning_rate: Any,
        beta_1: float,
        beta_2: float,
        epsilon: float,
        name: str | None,
        **kwargs: Any,
    ) -> None:
        if isinstance(learning_rate, (int, float)):
            learning_rate = _checks.number("learning_rate", learning_rate, low=0)
        _checks.optional(
            _checks.number, "weight_decay", kwargs.get("weight_decay"), low=0
        )
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.beta_1 = _checks.number("beta_1", beta_1, low=0, high=1, open_high=True)
        self.beta_2 = _checks.number("beta_2", beta_2, low=0, high=1, open_high=True)
        self.epsilon = _checks.number("epsilon", epsilon, low=0, open_low=True)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
        }

    def _step_number(self, dtype: Any) -> Tensor:
        """Return 1, 2, ..., in `dtype`, or in float32 if that is less precise."""
        return ops.cast(self.iterations, at_least_float32(dtype)) + 1

    def _corrections(self, step: Tensor) -> tuple[Tensor, Tensor]:
        """Return `1 - beta_1^step` and `1 - beta_2^step`."""
        return one_minus_power(self.beta_1, step), one_minus_power(self.beta_2, step)


def at_least_float32(dtype: Any) -> str:
    """Return the name of a float dtype, or float32 if that is more precise."""
    found: str = keras.backend.result_type(
        keras.backend.standardize_dtype(dtype), "float32"
    )
    return found


class DecayInStep(MomentOptimizer):
    """Leaves `weight_decay` to `update_step`.

    Keras's optimizers decay whole variables before `update_step`. This one makes Keras
    exclude all of them, and remembers which the user has excluded.
    """

    def exclude_from_weight_decay(
        self,
        var_list: Sequence[Any] | None = None,
        var_names: Sequence[str] | None = None,
    ) -> None:
        """Exclude variables from weight decay, as Keras's method does.

        Args:
            var_list: Variables.
            var_names: Strings; variables with one of them in their name are excluded.

        Raises:
            ValueError: If the optimizer is built.
        """
        if self.built:
            raise ValueError(
                f"{self.name}: call `exclude_from_weight_decay` before the optimizer "
                "is built, which the first step does. Received: a call after it."
            )
        self._exclusions = Exclusions(var_list or (), var_names or ())

    def _decayed(self, variables: Sequence[Any]) -> list[bool]:
        """Return which variables decay, and keep Keras from decaying them."""
        super().exclude_from_weight_decay(var_list=variables)
        exclusions = getattr(self, "_exclusions", Exclusions((), ()))
        return [not exclusions.hold(variable) for variable in variables]


class Exclusions:
    """Variables that do not decay; not a list, in which Keras would track them."""

    def __init__(self, variables: Sequence[Any], names: Sequence[str]) -> None:
        self._variables = [form for variable in variables for form in forms(variable)]
        self._names = list(names)

    def hold(self, variable: Any) -> bool:
        """Return whether a variable is excluded, itself or by its name."""
        for form in forms(variable):
            if any(form is excluded for excluded in self._variables):
                return True
            name = getattr(form, "name", "")
            if any(re.search(pattern, name) for pattern in self._names):
                return True
        return False
