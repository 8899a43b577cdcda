"""Metrics: pure functions of a batch, and the `keras.metrics.Metric` around them."""

from keras_ext.metrics.cohen_kappa import CohenKappa
from keras_ext.metrics.expected_calibration_error import ExpectedCalibrationError

__all__ = ["CohenKappa", "ExpectedCalibrationError"]
