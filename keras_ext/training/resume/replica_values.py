"""Variables of which each replica holds a part, such as those of metrics."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_ext.training.base.workers import Workers


class ReplicaValues:
    """Reads and sets the parts of variables that replicas update on their own.

    TensorFlow adds the parts up when such a variable is read, and divides a value among
    them when it is assigned. A sum of other parts is rounded otherwise, so a run that
    is continued to the bit needs each part.

    Args:
        strategy: The strategy of the variables.
        workers: The workers that train together, if there are several.
    """

    def __init__(
        self, strategy: tf.distribute.Strategy, workers: Workers | None = None
    ) -> None:
        self._strategy = strategy
        self._workers = workers

    def gather(self, variables: Sequence[Any]) -> dict[int, np.ndarray]:
        """Return the parts of all replicas of those variables that have some.

        Of several workers, all must call it at the same point.

        Returns:
            Arrays whose first axis is that of the replicas, by the number of the
            variable.
        """
        found = {n: self.local(one) for n, one in enumerate(variables)}
        local = {n: np.stack(parts) for n, parts in found.items() if parts is not None}
        if self._workers is None or not local:
            return local
        rows = self._workers.gather(b"".join(a.tobytes() for a in local.values()))
        at = 0
        for number, own in local.items():
            parts = [np.frombuffer(row, own.dtype, own.size, at) for row in rows]
            local[number] = np.concatenate([one.reshape(own.shape) for one in parts])
            at += own.nbytes
        return local

    def local(self, variable: Any) -> list[np.ndarray] | None:
        """Return the parts of the replicas in this process; `None` if it has none."""
        parts = self._parts(variable)
        return None if parts is None else [part.numpy() for part in parts]

    def set_local(self, variable: Any, values: Sequence[np.ndarray]) -> None:
        """Set the parts of the replicas in this process."""
        for part, value in zip(self._parts(variable) or (), values, strict=True):
            part.assign(value)

    def assign(self, variable: Any, value: Any, parts: np.ndarray | None) -> None:
        """Set a variable.

        Args:
            variable: The variable.
            value: Its value, as it is read.
            parts: The parts of the replicas that saved it, if it had some.
        """
        own = self._parts(variable)
        if own is None:
            variable.assign(value)
            return
        count = self._strategy.num_replicas_in_sync
        if parts is None or len(parts) != count:
            # One of them takes it all: what a metric counts is then rounded as in a
            # single process.
            parts = np.stack([np.asarray(value)] * count)
            if _aggregation(variable) == tf.VariableAggregation.SUM:
                parts[1:] = 0
        first = 0 if self._workers is None else self._workers.index * len(own)
        self.set_local(variable, list(parts[first : first + len(own)]))

    def _parts(self, variable: Any) -> tuple[Any, ...] | None:
        value = getattr(variable, "value", variable)
        if not isinstance(value, tf.distribute.DistributedValues):
            return None
        if value.synchronization != tf.VariableSynchronization.ON_READ:
            return None
        return tuple(self._strategy.experimental_local_results(value))


def read_together(variables: Sequence[Any], parts: Mapping[int, Any]) -> list[Any]:
    """Return the variables, or in place of those with parts the values they have."""
    return [
        _total(variable, parts[number]) if number in parts else variable
        for number, variable in enumerate(variables)
    ]


def _total(variable: Any, parts: np.ndarray) -> np.ndarray:
    aggregation = _aggregation(variable)
    if aggregation == tf.VariableAggregation.SUM:
        return parts.sum(axis=0, dtype=parts.dtype)
    if aggregation == tf.VariableAggregation.MEAN:
        return parts.mean(axis=0, dtype=parts.dtype)
    return parts[0]


def _aggregation(variable: Any) -> Any:
    return getattr(variable, "value", variable).aggregation
