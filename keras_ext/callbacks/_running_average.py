"""An average of weights that grows by one term at a time."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._numerics import one_minus_power
from keras_ext._types import Tensor


class RunningAverage:
    """The average of the values that variables had at certain times.

    At least in float32, without a bias toward the first value: every term has its full
    weight, regardless of their number.

    Args:
        variables: The variables.
        decay: Float in [0, 1), the factor by which the weights of all terms shrink
            whenever one is added. `None`: all have the same weight.
        every: Positive integer, the number of offered terms of which one is added.
        paused: Whether no term is added until `active` is set to `True`.
    """

    def __init__(
        self,
        variables: Sequence[Any],
        decay: float | None,
        every: int = 1,
        *,
        paused: bool = False,
    ) -> None:
        self.variables = list(variables)
        self.active = _variable("active", dtype="bool")
        self._decay = decay
        self._every = every
        self._always = every == 1 and not paused
        self._values = [
            _variable("average", variable.shape, _precise(variable.dtype))
            for variable in variables
        ]
        self._count = _variable("count")
        self._offered = _variable("offered")

    def is_of(self, variables: Sequence[Any]) -> bool:
        """Whether it is the average of these variables."""
        return [id(one) for one in self.variables] == [id(one) for one in variables]

    @property
    def count(self) -> int:
        """The number of terms."""
        return int(ops.convert_to_numpy(self._count))

    def reset(self) -> None:
        """Discard all terms."""
        # The values too: a NaN in them would stay forever.
        for variable in (*self._values, *self._counters()):
            variable.assign(ops.zeros(variable.shape, variable.dtype))

    def offer(self) -> None:
        """Add the current values if it is their turn; also in compiled code."""
        if self._always:
            self.add_values(self.variables)
            return
        active = ops.copy(self.active)
        self._offered.assign_add(ops.cast(active, self._offered.dtype))
        due = active & (ops.copy(self._offered) % self._every == 0)
        values = ops.cond(
            due,
            lambda: self._with(self.variables),
            lambda: [ops.copy(value) for value in self._values],
        )
        self._assign(values, ops.cast(due, self._count.dtype))

    def add_values(self, values: Sequence[Any]) -> None:
        """Add these values, one for every variable; any further ones are ignored."""
        self._assign(self._with(values[: len(self.variables)]), 1)

    def values(self, and_also: Sequence[Any] | None = None) -> list[Tensor]:
        """Return the average, for the variables.

        Args:
            and_also: One more term to include. Default: `None`.
        """
        values = self._values if and_also is None else self._with(and_also)
        return [
            ops.cast(ops.copy(value), variable.dtype)
            for value, variable in zip(values, self.variables, strict=True)
        ]

    def get_state(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {
            "values": [ops.copy(value) for value in self._values],
            "counters": [int(ops.convert_to_numpy(one)) for one in self._counters()],
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from a state that `get_state` returned.

        Raises:
            ValueError: If the state is not valid. Nothing is set then.
        """
        check_values("values", state["values"], self._values)
        # Checkpoints without a format number have a third entry.
        saved = state["counters"][:2]
        counters = [_checks.non_negative_int("counters", n) for n in saved]
        pairs = list(zip(self._counters(), counters, strict=True))
        for variable, value in zip(self._values, state["values"], strict=True):
            variable.assign(value)
        for counter, number in pairs:
            counter.assign(number)

    def _counters(self) -> tuple[Any, ...]:
        return self._count, self._offered

    def _with(self, values: Sequence[Any]) -> list[Tensor]:
        """Return the values with one more term."""
        count = ops.cast(ops.copy(self._count), "float32") + 1
        if self._decay is None:
            share = 1 / count
        else:
            share = (1 - self._decay) / one_minus_power(self._decay, count)
        return [
            old + ops.cast(share, old.dtype) * (ops.cast(new, old.dtype) - old)
            for old, new in zip(
                map(ops.copy, self._values), map(ops.copy, values), strict=True
            )
        ]

    def _assign(self, values: Sequence[Tensor], terms: Any) -> None:
        for variable, value in zip(self._values, values, strict=True):
            variable.assign(value)
        self._count.assign_add(terms)


def check_values(name: str, values: Any, variables: Sequence[Any]) -> None:
    """Raise `ValueError` unless saved values have the shapes of the variables."""
    expected = [tuple(one.shape) for one in variables]
    received = [tuple(getattr(one, "shape", "?")) for one in values]
    if received != expected:
        raise ValueError(
            f"`{name}` must be arrays of shapes {expected}. Received: {received}"
        )


def _variable(name: str, shape: Sequence[int] = (), dtype: str = "int") -> Any:
    return keras.Variable("zeros", shape=shape, dtype=dtype, trainable=False, name=name)


def _precise(dtype: Any) -> str:
    name = keras.backend.standardize_dtype(dtype)
    return str(keras.backend.result_type(name, "float32"))
