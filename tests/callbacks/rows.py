"""One row per callback: how to make it. One without a row fails."""

from collections.abc import Callable
from typing import Any

import keras

from keras_ext import callbacks

CALLBACKS: dict[str, Callable[[Any], Any]] = {
    "CSVLogger": lambda folder: callbacks.CSVLogger(folder / "log.csv"),
    "LearningRateScheduler": lambda folder: callbacks.LearningRateScheduler(
        lambda epoch, rate: rate / 2
    ),
    "NaNGuard": lambda folder: callbacks.NaNGuard(),
    "OnChief": lambda folder: callbacks.OnChief(keras.callbacks.Callback()),
    "Replay": lambda folder: callbacks.Replay(keras.callbacks.Callback()),
    "TimeLimit": lambda folder: callbacks.TimeLimit("1h"),
    "TrainingCallback": lambda folder: callbacks.TrainingCallback(),
    "WeightAveraging": lambda folder: callbacks.WeightAveraging(),
}
if keras.backend.backend() == "tensorflow":
    CALLBACKS["Checkpoint"] = lambda folder: callbacks.Checkpoint(folder)
"""Callback name -> constructor that takes a temporary directory."""
