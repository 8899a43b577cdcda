"""What a loss or a metric is fed in the conformance tests."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

_rng = np.random.default_rng(7)


@dataclass(frozen=True)
class PairCase:
    """A loss or a metric, with targets and predictions.

    With `values_only`, a metric that takes values, not targets and predictions, as
    `keras.metrics.Mean` does; the values are `y_pred`. `compile` has no place for such
    a metric: a layer or a model calls it. `registered` is the name a class is found by
    in files, if a class of another room has its own name.
    """

    make: Callable[[], Any]
    y_true: np.ndarray
    y_pred: np.ndarray
    id: str = ""
    values_only: bool = False
    registered: str = ""

    def fed(self, part: Any = slice(None)) -> tuple[np.ndarray, ...]:
        """Return what `update_state` takes, of all samples or of some."""
        if self.values_only:
            return (self.y_pred[part],)
        return self.y_true[part], self.y_pred[part]

    def batch(self) -> dict[str, np.ndarray]:
        """Return all samples as the arguments of `update_state`, by their names."""
        names = ("values",) if self.values_only else ("y_true", "y_pred")
        return dict(zip(names, self.fed(), strict=True))


class Watched(keras.layers.Layer):
    """Feeds what passes through to a metric of values."""

    def __init__(self, metric: keras.metrics.Metric) -> None:
        super().__init__()
        self.metric = metric

    def call(self, inputs: Any) -> Any:
        """Return the inputs."""
        self.metric.update_state(inputs)
        return inputs


def normal(*shape: int) -> np.ndarray:
    """Return normal random numbers."""
    return _rng.normal(size=shape).astype("float32")


labels = _rng.integers(0, 4, size=12, dtype="int32")
logits = normal(12, 4) + 2 * np.eye(4, dtype="float32")[labels]
probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
