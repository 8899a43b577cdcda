"""Callbacks: learning rates, logs, weight averages, runs that can be resumed.

`Checkpoint` needs the TensorFlow backend and is loaded on first use.
"""

from typing import TYPE_CHECKING, Any

from keras_ext.callbacks.csv_logger import CSVLogger
from keras_ext.callbacks.learning_rate_scheduler import LearningRateScheduler
from keras_ext.callbacks.nan_guard import NaNGuard
from keras_ext.callbacks.on_chief import OnChief
from keras_ext.callbacks.ray_report import RayReport
from keras_ext.callbacks.replay import Replay
from keras_ext.callbacks.run_request import RunRequest
from keras_ext.callbacks.time_limit import TimeLimit
from keras_ext.callbacks.training_callback import TrainingCallback
from keras_ext.callbacks.weight_averaging import WeightAveraging

if TYPE_CHECKING:
    from keras_ext.training.resume.checkpoint import Checkpoint

__all__ = [
    "CSVLogger",
    "Checkpoint",
    "LearningRateScheduler",
    "NaNGuard",
    "OnChief",
    "RayReport",
    "Replay",
    "RunRequest",
    "TimeLimit",
    "TrainingCallback",
    "WeightAveraging",
]


def __getattr__(name: str) -> Any:
    """Load `Checkpoint`, and TensorFlow with it, on first use."""
    if name != "Checkpoint":
        raise AttributeError(f"module 'keras_ext.callbacks' has no attribute {name!r}")
    from keras_ext.training.resume.checkpoint import Checkpoint

    return Checkpoint


def __dir__() -> list[str]:
    return sorted({*globals(), "Checkpoint"})
