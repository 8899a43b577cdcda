"""Callbacks: learning rates applied exactly, logs that lose nothing."""

from keras_ext.callbacks.csv_logger import CSVLogger
from keras_ext.callbacks.learning_rate_scheduler import LearningRateScheduler

__all__ = ["CSVLogger", "LearningRateScheduler"]
