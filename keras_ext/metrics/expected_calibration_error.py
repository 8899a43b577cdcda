"""Expected calibration error: how far a model's confidence is from its accuracy."""

import math

import keras
from keras import ops

from keras_ext import _checks, _labels
from keras_ext._types import Config, Tensor
from keras_ext.metrics import _running_sum

_NAME = "ExpectedCalibrationError"
_TOLERANCE = 0.01
"""How far probabilities may be off, as those of a softmax in bfloat16 are."""


@keras.saving.register_keras_serializable(package="keras_ext")
class ExpectedCalibrationError(keras.metrics.Metric):
    """Distance between a classifier's confidence and its accuracy.

    Of the samples that a calibrated model is 80% sure of, it gets 80% right. The
    confidence of a sample is its largest probability; samples are put into bins of
    equal width by confidence, and the gaps of the bins are averaged, weighted by
    the bins' samples:

    `error = sum over bins of (samples in bin / samples) * |accuracy - confidence|`

    where a bin's accuracy is the share of its samples whose most probable class is
    the true one, and its confidence the mean of its samples' confidences. Bin `m` of
    `M` holds the confidences in `((m - 1) / M, m / M]`.

    Reference: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern
    Neural Networks", 2017, https://arxiv.org/abs/1706.04599.

    Args:
        num_bins: Positive integer. Number of bins. Default: 15, as in the paper.
        ignore_class: Integer, the label of samples to leave out. Default: `None`.
        name: Name of the metric.
        dtype: Dtype of the result. Default: `None`, which means
            `keras.config.floatx()`.

    Call arguments:
        y_true: Class labels.
        y_pred: Probabilities, not logits.
        sample_weight: Weights of the samples. A sample of weight 0 counts as absent.

    Input shape:
        `y_pred`: `(batch, ..., classes)`; for two classes also `(batch, ..., 1)` or
        `(batch,)`, the probability of class 1. `y_true`: `(batch, ...)` or
        `(batch, ..., 1)`. `sample_weight`: `(batch, ...)` or `(batch,)`.

    Output shape:
        A scalar, from 0 (calibrated) to 1.

    Raises:
        ValueError: If `num_bins` is not a positive integer; on update, if shapes do
            not match or, in eager execution, a label is not one of the classes or
            `y_pred` does not hold probabilities: a value outside [0, 1], or a sum
            over the classes that is not 1, both by more than 0.01. Compiled code
            cannot raise: there the result is NaN.

    Example:

    >>> import numpy as np
    >>> from keras_ext.metrics import ExpectedCalibrationError
    >>> metric = ExpectedCalibrationError(num_bins=10)
    >>> y_pred = np.array([[0.75, 0.25], [0.75, 0.25], [0.05, 0.95], [0.45, 0.55]])
    >>> float(metric(np.array([0, 1, 1, 1]), y_pred))
    0.25

    With no samples, the result is 0. Masks are not used: pass them as
    `sample_weight`. Sums are kept as pairs of float32, under half precision too, so
    that counts are exact up to 2**48, where no single batch counts more than 2**24.
    """

    def __init__(
        self,
        num_bins: int = 15,
        *,
        ignore_class: int | None = None,
        name: str | None = "expected_calibration_error",
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.num_bins = _checks.positive_int("num_bins", num_bins)
        self.ignore_class = _checks.optional(
            _checks.integer, "ignore_class", ignore_class
        )
        shape, dtype = (self.num_bins, 3), _running_sum.sum_dtype(self.dtype)
        self.total = self.add_variable(shape, "zeros", dtype=dtype, name="total")
        self.rest = self.add_variable(shape, "zeros", dtype=dtype, name="rest")

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        """Add a batch to the sums of the bins."""
        y_pred = ops.cast(y_pred, self.total.dtype)
        if len(y_pred.shape) == 1:
            y_pred = ops.expand_dims(y_pred, axis=-1)
        labels = _labels.without_class_axis(_NAME, y_true, y_pred.shape)
        if y_pred.shape[-1] == 1:
            y_pred = ops.concatenate([1 - y_pred, y_pred], axis=-1)
        batch = calibration_bins(
            labels, y_pred, self.num_bins, sample_weight, self.ignore_class
        )
        _running_sum.accumulate(self.total, self.rest, batch)

    def result(self) -> Tensor:
        """Return the error over all samples since the last reset."""
        return ops.cast(expected_calibration_error(self.total + self.rest), self.dtype)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "num_bins": self.num_bins,
            "ignore_class": self.ignore_class,
        }


def calibration_bins(
    labels: Tensor,
    probabilities: Tensor,
    num_bins: int,
    sample_weight: Tensor | None = None,
    ignore_class: int | None = None,
) -> Tensor:
    """Return the sums of every bin: weight, confidence, correctness.

    Args:
        labels: Class labels, `(batch, ...)`.
        probabilities: Probabilities, `(batch, ..., classes)`.
        num_bins: Number of bins of confidence.
        sample_weight: Weights of the labels. Default: `None`, all are 1.
        ignore_class: Label of samples to leave out. Default: `None`.

    Returns:
        Tensor `(num_bins, 3)`, of the dtype of `probabilities`, with a NaN if
        a label or a probability is none.

    Raises:
        ValueError: In eager execution, if a label or a probability is none.
    """
    weights = _labels.weights_like(
        _NAME, sample_weight, labels, probabilities.dtype, ignore_class
    )
    absent = ops.equal(weights, 0)
    valid = _are_labels(labels, absent, probabilities.shape[-1])
    valid = valid & _are_probabilities(probabilities, absent)
    weights = ops.where(valid | absent, weights, float("nan"))
    largest = ops.max(probabilities, axis=-1, initial=0)
    confidence = ops.where(valid, largest, 0.0)
    predicted = ops.cast(ops.argmax(probabilities, axis=-1), "float32")
    correct = ops.cast(ops.equal(predicted, ops.cast(labels, "float32")), weights.dtype)
    sums = ops.stack([weights, weights * confidence, weights * correct], axis=-1)
    inner_edges = ops.convert_to_tensor(
        [m / num_bins for m in range(1, num_bins)], weights.dtype
    )
    bins = ops.searchsorted(inner_edges, ops.reshape(confidence, (-1,)), side="left")
    return ops.segment_sum(ops.reshape(sums, (-1, 3)), bins, num_segments=num_bins)


def expected_calibration_error(bins: Tensor) -> Tensor:
    """Return the error from the sums of every bin, as of `calibration_bins`."""
    weight, confidence, correct = ops.unstack(bins, axis=-1)
    gaps = ops.absolute(correct - confidence)
    return ops.divide_no_nan(ops.sum(gaps), ops.sum(weight))


def _are_labels(labels: Tensor, absent: Tensor, num_classes: int) -> Tensor:
    valid = _labels.in_range(_NAME, labels, num_classes)
    hint = "Give samples without a class a `sample_weight` of 0."
    _labels.check(_NAME, "y_true", labels, valid | absent, num_classes, hint)
    return valid


def _are_probabilities(values: Tensor, absent: Tensor) -> Tensor:
    """Return for each sample whether its values are in [0, 1] and sum to 1."""
    # With `initial`, since Keras refuses the extremes of an empty batch without.
    smallest = ops.min(values, axis=-1, initial=math.inf)
    largest = ops.max(values, axis=-1, initial=-math.inf)
    total = ops.sum(values, axis=-1)
    valid = (smallest >= -_TOLERANCE) & (largest <= 1 + _TOLERANCE)
    valid = valid & (ops.absolute(total - 1) <= _TOLERANCE)
    facts = ops.stack([smallest, largest, total], axis=-1)
    offender = _checks.first_offender(facts, valid | absent)
    if offender is not None:
        raise ValueError(
            f"{_NAME} expects probabilities, in [0, 1] and with sum 1 over the last "
            "axis of `y_pred`. Received: a prediction with values from "
            "{:g} to {:g} and sum {:g}. ".format(*offender)
            + "If the model returns logits, apply `keras.ops.softmax` to them, or "
            "`keras.ops.sigmoid` to a single output."
        )
    return valid
