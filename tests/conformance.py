"""One row per public component: how to make it, and what to feed it.

`test_conformance.py` finds every component in the `__all__` of its room, looks for
its rows here and puts each through the checks that hold for all components of that
kind. A component without a row fails. To add a component, add a row.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_ext import layers

_rng = np.random.default_rng(7)


def _image(*shape: int) -> np.ndarray:
    return _rng.normal(size=shape).astype("float32")


@dataclass(frozen=True)
class LayerCase:
    """A layer, an input, and the parts of the contract that do not apply to it."""

    make: Callable[[], Any]
    inputs: np.ndarray
    dynamic_axes: tuple[int, ...] = (0, 1, 2)
    random: bool = False
    id: str = ""


@dataclass(frozen=True)
class PairCase:
    """A loss or a metric, with targets and predictions."""

    make: Callable[[], Any]
    y_true: np.ndarray
    y_pred: np.ndarray
    id: str = ""


@dataclass(frozen=True)
class ScheduleCase:
    """A schedule, with steps that cover all its branches."""

    make: Callable[[], Any]
    steps: list[int] = field(default_factory=lambda: [0, 1, 5, 10, 50, 1000])
    id: str = ""


LAYERS = [
    LayerCase(
        lambda: layers.SqueezeExcite(ratio=0.25), _image(4, 6, 5, 8), id="SqueezeExcite"
    ),
    LayerCase(
        lambda: layers.SqueezeExcite(
            filters=3, activation="silu", gate_activation="hard_sigmoid"
        ),
        _image(4, 6, 5, 8),
        id="SqueezeExcite-filters",
    ),
]

LOSSES: list[PairCase] = []

METRICS: list[PairCase] = []

SCHEDULES: list[ScheduleCase] = []

CALLBACKS: dict[str, Callable[[Any], Any]] = {}
"""Callback name -> constructor that takes a temporary directory."""
