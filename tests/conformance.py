"""One row per public component: how to make it, and what to feed it.

`test_conformance.py` finds every component in the `__all__` of its room, looks for
its rows here and puts each through the checks that hold for all components of that
kind. A component without a row fails. To add a component, add a row.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from keras_ext import callbacks, losses, metrics, schedules

_rng = np.random.default_rng(7)


def _image(*shape: int) -> np.ndarray:
    return _rng.normal(size=shape).astype("float32")


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


_labels = _rng.integers(0, 4, size=12, dtype="int32")
_logits = _image(12, 4) + 2 * np.eye(4, dtype="float32")[_labels]
_probabilities = np.exp(_logits) / np.exp(_logits).sum(axis=-1, keepdims=True)

LOSSES = [
    PairCase(
        losses.CRFNegativeLogLikelihood,
        _rng.integers(0, 3, size=(12, 5), dtype="int32"),
        _image(12, 5, 3, 3),
        id="CRFNegativeLogLikelihood",
    ),
    PairCase(
        lambda: losses.Pinball(tau=0.9), _image(12, 3), _image(12, 3), id="Pinball"
    ),
    PairCase(
        lambda: losses.Pinball(tau=[0.1, 0.5, 0.9]),
        _image(12, 1),
        _image(12, 3),
        id="Pinball-quantiles",
    ),
    PairCase(
        losses.SparseCategoricalFocalCrossentropy,
        _labels,
        _probabilities,
        id="SparseCategoricalFocalCrossentropy",
    ),
    PairCase(
        lambda: losses.SparseCategoricalFocalCrossentropy(
            alpha=[0.5, 1.0, 2.0, 1.0], gamma=0.5, from_logits=True
        ),
        _labels[:, None],
        _logits,
        id="SparseCategoricalFocalCrossentropy-logits",
    ),
]

METRICS = [
    PairCase(lambda: metrics.CohenKappa(4), _labels, _logits, id="CohenKappa"),
    PairCase(
        lambda: metrics.CohenKappa(4, weights="quadratic", sparse_y_true=False),
        np.eye(4, dtype="float32")[_labels],
        _probabilities,
        id="CohenKappa-quadratic",
    ),
    PairCase(
        lambda: metrics.CohenKappa(4, weights="linear", sparse_y_pred=True),
        _labels[:, None],
        _rng.integers(0, 4, size=(12, 1), dtype="int32"),
        id="CohenKappa-sparse",
    ),
    PairCase(
        lambda: metrics.CohenKappa(2),
        _labels[:, None] % 2,
        _probabilities[:, :1],
        id="CohenKappa-binary",
    ),
    PairCase(
        metrics.ExpectedCalibrationError,
        _labels,
        _probabilities,
        id="ExpectedCalibrationError",
    ),
    PairCase(
        lambda: metrics.ExpectedCalibrationError(num_bins=5),
        _labels[:, None] % 2,
        _probabilities[:, :1],
        id="ExpectedCalibrationError-binary",
    ),
]

SCHEDULES = [
    ScheduleCase(lambda: schedules.Cyclical(0.01, 0.1, step_size=5), id="Cyclical"),
    ScheduleCase(
        lambda: schedules.Cyclical(0.01, 0.1, step_size=5, mode="triangular2"),
        id="Cyclical-triangular2",
    ),
    ScheduleCase(
        lambda: schedules.Cyclical(
            0.01, 0.1, step_size=5, mode="exp_range", gamma=0.99
        ),
        id="Cyclical-exp_range",
    ),
    ScheduleCase(lambda: schedules.OneCycle(0.1, total_steps=50), id="OneCycle"),
    ScheduleCase(
        lambda: schedules.OneCycle(
            0.1,
            total_steps=50,
            warmup_fraction=0.25,
            initial_learning_rate=0.02,
            final_learning_rate=0.0,
            anneal="linear",
        ),
        id="OneCycle-linear",
    ),
    ScheduleCase(lambda: schedules.Warmup(0.1, warmup_steps=10), id="Warmup"),
    ScheduleCase(
        lambda: schedules.Warmup(
            keras.optimizers.schedules.CosineDecay(0.1, decay_steps=40),
            warmup_steps=10,
            initial_learning_rate=0.01,
        ),
        id="Warmup-schedule",
    ),
    ScheduleCase(
        lambda: schedules.Warmup(schedules.OneCycle(0.1, total_steps=40), 10),
        id="Warmup-OneCycle",
    ),
]

CALLBACKS: dict[str, Callable[[Any], Any]] = {
    "CSVLogger": lambda folder: callbacks.CSVLogger(folder / "log.csv"),
    "LearningRateScheduler": lambda folder: callbacks.LearningRateScheduler(
        lambda epoch, rate: rate / 2
    ),
    "NaNGuard": lambda folder: callbacks.NaNGuard(),
    "TimeLimit": lambda folder: callbacks.TimeLimit("1h"),
}
if keras.backend.backend() == "tensorflow":
    CALLBACKS["Checkpoint"] = lambda folder: callbacks.Checkpoint(folder)
"""Callback name -> constructor that takes a temporary directory."""
