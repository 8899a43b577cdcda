"""What a loss or a metric is fed in the conformance tests."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

_rng = np.random.default_rng(7)


@dataclass(frozen=True)
class PairCase:
    """A loss or a metric, with targets and predictions."""

    make: Callable[[], Any]
    y_true: np.ndarray
    y_pred: np.ndarray
    id: str = ""


def normal(*shape: int) -> np.ndarray:
    """Return normal random numbers."""
    return _rng.normal(size=shape).astype("float32")


labels = _rng.integers(0, 4, size=12, dtype="int32")
logits = normal(12, 4) + 2 * np.eye(4, dtype="float32")[labels]
probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
