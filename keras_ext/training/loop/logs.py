"""What a step reports, and how an epoch accumulates it."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_ext._types import Logs
from keras_ext.training.base.each_step import EachStep


class StepLogs(dict[str, Any]):
    """The logs of `Trainer.step`: running values of metrics, not of one batch.

    `Epoch.log` averages plain numbers over the epoch, but uses running values
    unchanged. This subclass of `dict` distinguishes the two; in all other respects it
    is a `dict`.

    Example:

    >>> from keras_ext.training import StepLogs
    >>> logs = StepLogs(loss=0.5) | {"rate": 0.1}
    >>> type(logs).__name__, logs
    ('StepLogs', {'loss': 0.5, 'rate': 0.1})

    Add to it with `|`; `{**logs}` turns it into an ordinary dict.

    Attributes:
        each: What each step of a call of `Trainer.steps` has left, where a callback
            asks for it with `batch_hook_freq = "replay"`; else `None`.
    """

    each: EachStep | None = None

    # mypy: `dict` declares more forms of `|` than these two need.
    def __or__(self, other: Mapping[str, Any]) -> "StepLogs":  # type: ignore[override]
        return self._with({**self, **other})

    def __ror__(self, other: Mapping[str, Any]) -> "StepLogs":  # type: ignore[override]
        return self._with({**other, **self})

    def copy(self) -> "StepLogs":
        """Return a copy that is also `StepLogs`."""
        return self._with(self)

    def _with(self, values: Mapping[str, Any]) -> "StepLogs":
        logs = StepLogs(values)
        logs.each = self.each
        return logs


class EpochLogs:
    """The values of one epoch so far: averages of numbers, states of metrics."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._totals: dict[str, tuple[float, float]] = {}
        self.metrics: list[keras.Metric] = []

    def add(self, logs: Logs, weight: float) -> None:
        """Add what one batch reported; `weight` is the number of its samples.

        Raises:
            TypeError: If `logs` is not a mapping from names to numbers.
            ValueError: If a number that should be averaged is not a scalar.
        """
        if not hasattr(logs, "items"):
            raise TypeError(
                "`logs` must be a dict of names and numbers, such as "
                f"{{'loss': loss}}. Received: {logs!r} of type {type(logs).__name__}"
            )
        if isinstance(logs, StepLogs):
            # Running values: the metrics have already weighted the batches.
            self._values.update(logs)
            return
        new = {name: self._read(name, value, weight) for name, value in logs.items()}
        self._values.update(new)

    def values(self) -> dict[str, Any]:
        """Return every name with its value for the epoch so far."""
        return dict(self._values)

    def get_state(self) -> dict[str, Any]:
        """Return the values and the sums that they come from, as plain data."""
        values = keras.tree.map_structure(_number, self._values)
        return {"values": values, "totals": self._totals}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from a state that `get_state` returned."""
        self._values = dict(state["values"])
        self._totals = dict(state["totals"])

    def _read(self, name: str, value: Any, weight: float) -> Any:
        if isinstance(value, keras.Metric):
            if not any(value is known for known in self.metrics):
                self.metrics.append(value)
            return value.result()
        number = scalar(name, value)
        total, seen = self._totals.get(name, (0.0, 0.0))
        total, seen = total + weight * number, seen + weight
        self._totals[name] = (total, seen)
        # An empty batch has no weight to divide by.
        return total / seen if seen else number


def scalar(name: str, value: Any) -> float:
    """Return `value` as a Python float, or raise what is wrong with it."""
    shape = tuple(getattr(value, "shape", ()))
    if any(size != 1 for size in shape):
        raise ValueError(
            f"The logged value {name!r} must be a single number. Received: a tensor of "
            f"shape {shape}. Reduce it first, for example with `tf.reduce_mean`; for a "
            "metric, log the `keras.Metric` itself."
        )
    try:
        return float(tf.reshape(value, ())) if shape else float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The logged value {name!r} must be a number or a `keras.Metric`. "
            f"Received: {value!r} of type {type(value).__name__}"
        ) from error


def as_numbers(logs: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested logs as one dict of Python numbers, and arrays for all else."""
    numbers: dict[str, Any] = {}
    for name, value in logs.items():
        if isinstance(value, Mapping):
            numbers.update(as_numbers(value))
        else:
            is_scalar = not len(getattr(value, "shape", ()))
            numbers[name] = float(value) if is_scalar else ops.convert_to_numpy(value)
    return numbers


def _number(value: Any) -> Any:
    """Return a scalar as a Python number, anything else unchanged."""
    return value if len(getattr(value, "shape", ())) else float(value)


@contextlib.contextmanager
def kept(model: keras.Model) -> Iterator[None]:
    """Restore the values of a model's metrics at the end of the block.

    Each replica gets its own: a sum of integers cannot be divided up again.
    """
    results = model.distribute_strategy.experimental_local_results
    before = [
        (one, tf.convert_to_tensor(one))
        for variable in model.metrics_variables
        for one in results(variable.value)
    ]
    try:
        yield
    finally:
        for variable, value in before:
            variable.assign(value)
