"""Expected calibration error: how far a model's confidence is from its accuracy."""

from typing import Literal, TypeAlias

import keras
from keras import ops

from keras_ext import _checks, _labels
from keras_ext._types import Config, Tensor
from keras_ext.metrics import _ranks, _running_sum
from keras_ext.metrics._inputs import are_classes, are_probabilities
from keras_ext.metrics._sample_buffer import SampleBuffer

_NAME = "ExpectedCalibrationError"

Norm: TypeAlias = Literal["l1", "l2", "max"]
"""How the gaps of the bins are combined."""


@keras.saving.register_keras_serializable(package="keras_ext")
class ExpectedCalibrationError(keras.metrics.Metric):
    """Distance between a classifier's confidence and its accuracy.

    A calibrated model is right on 80% of the samples that it is 80% sure of. The
    confidence of a sample is its largest probability; samples are put into bins of
    equal width by confidence, and the gaps of the bins are averaged, weighted by the
    bins' samples:

    `error = sum over bins of (samples in bin / samples) * |accuracy - confidence|`

    where a bin's accuracy is the share of its samples whose most probable class is
    the true one, and its confidence the mean of its samples' confidences. Bin `m` of
    `M` holds the confidences in `((m - 1) / M, m / M]`.

    With `norm="l2"` it is the root of the mean squared gap, with `norm="max"` the
    largest gap, the maximum calibration error. With `binning="equal_mass"` all bins get
    equally many samples (by weight), in order of confidence: bin `m` gets those whose
    cumulative share, at its middle, is in `((m - 1) / M, m / M]`. For a confident
    model, equal widths leave most bins almost empty.

    Reference: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern
    Neural Networks", 2017, https://arxiv.org/abs/1706.04599; for `"l2"`, A. Kumar,
    P. Liang, T. Ma, "Verified Uncertainty Calibration", 2019,
    https://arxiv.org/abs/1909.10155; for `"equal_mass"`, J. Nixon, M. Dusenberry,
    G. Jerfel, L. Zhang, D. Tran, "Measuring Calibration in Deep Learning", 2019,
    https://arxiv.org/abs/1904.01685.

    Args:
        num_bins: Positive integer. Number of bins. Default: 15, as in the paper.
        binning: `"equal_width"` or `"equal_mass"`. Default: `"equal_width"`.
        norm: `"l1"`, `"l2"` or `"max"`. Default: `"l1"`.
        capacity: Positive integer. How many samples are kept for bins of equal mass,
            which need all of them; those of weight 0 do not count. The cost of a step
            grows with it; ideally it is the number of samples in the dataset. Required
            for `"equal_mass"`, and allowed only for it. Default: `None`.
        ignore_class: Integer, the label of samples to leave out. Default: `None`.
        name: Name of the metric.
        dtype: Dtype of the result. Default: `None`, which means
            `keras.config.floatx()`.

    Call arguments:
        y_true: Class labels.
        y_pred: Probabilities, not logits.
        sample_weight: Weights of the samples, finite and at least 0. A sample of weight
            0 counts as absent; any other with a NaN prediction makes the result NaN.

    Input shape:
        `y_pred`: `(batch, ..., classes)`; for two classes also `(batch, ..., 1)` or
        `(batch,)`, the probability of class 1. `y_true`: `(batch, ...)` or
        `(batch, ..., 1)`. `sample_weight`: `(batch, ...)` or `(batch,)`.

    Output shape:
        A scalar, from 0 (calibrated) to 1.

    Raises:
        ValueError: If an argument is not valid; on update, if shapes do not match or,
            in eager execution, a label is not one of the classes or `y_pred` does not
            hold probabilities: the sum over the classes is not 1, or values are
            negative, by more than 0.01 in total; or if there are more samples than
            `capacity`. Compiled code cannot raise; there, the result is NaN, and after
            too many samples the next `reset_state` warns.

    Example:

    >>> import numpy as np
    >>> from keras_ext.metrics import ExpectedCalibrationError
    >>> metric = ExpectedCalibrationError(num_bins=10)
    >>> y_pred = np.array([[0.75, 0.25], [0.75, 0.25], [0.05, 0.95], [0.45, 0.55]])
    >>> float(metric(np.array([0, 1, 1, 1]), y_pred))
    0.25
    >>> worst = ExpectedCalibrationError(num_bins=10, norm="max")
    >>> float(worst(np.array([0, 1, 1, 1]), y_pred))
    0.45

    With no samples, the result is 0. Masks are not used; pass them as `sample_weight`.
    Sums are kept as pairs of float32, even under half precision, so that counts are
    exact up to 2**48 if no single batch counts more than 2**24. With bins of equal
    mass, `result`, which Keras's `fit` calls in every step, sorts the samples: on a CPU
    about 1 ms with a capacity of 8192, where the step of a small network takes 0.4 ms.
    Among equal confidences, the earlier sample comes first. On several replicas of
    `tf.distribute`, each keeps its own samples, and the combined result is NaN.
    """

    def __init__(
        self,
        num_bins: int = 15,
        *,
        binning: Literal["equal_width", "equal_mass"] = "equal_width",
        norm: Norm = "l1",
        capacity: int | None = None,
        ignore_class: int | None = None,
        name: str | None = "expected_calibration_error",
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.num_bins = _checks.positive_int("num_bins", num_bins)
        self.binning = _checks.one_of("binning", binning, ("equal_width", "equal_mass"))
        self.norm = _checks.one_of("norm", norm, ("l1", "l2", "max"))
        self.capacity = _checks.optional(_checks.positive_int, "capacity", capacity)
        self.ignore_class = _checks.optional_int("ignore_class", ignore_class)
        self._buffer: SampleBuffer | None = None
        if self.binning == "equal_mass":
            self._buffer = SampleBuffer(self, 2, _given(self.capacity))
            return
        if self.capacity is not None:
            raise ValueError(
                '`capacity` is only for `binning="equal_mass"`: bins of equal width '
                f"keep no samples. Received: capacity={capacity}"
            )
        self.total, self.rest = _running_sum.add_variables(self, (self.num_bins, 3))

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        """Add a batch to the sums of the bins, or to the samples that are kept."""
        y_pred = ops.cast(y_pred, _running_sum.sum_dtype(self.dtype))
        if len(y_pred.shape) == 1:
            y_pred = ops.expand_dims(y_pred, axis=-1)
        labels = _labels.without_class_axis(_NAME, y_true, y_pred.shape)
        if y_pred.shape[-1] == 1:
            y_pred = ops.concatenate([1 - y_pred, y_pred], axis=-1)
        samples, weights = confidence_and_correctness(
            labels, y_pred, sample_weight, self.ignore_class
        )
        if self._buffer is None:
            batch = equal_width_bins(samples, weights, self.num_bins)
            _running_sum.accumulate(self.total, self.rest, batch)
        else:
            has_zeros = sample_weight is not None or self.ignore_class is not None
            self._buffer.append(samples, weights, has_zeros=has_zeros)

    def result(self) -> Tensor:
        """Return the error over all samples since the last reset."""
        if self._buffer is None:
            error = expected_calibration_error(self.total + self.rest, self.norm)
            return ops.cast(error, self.dtype)
        samples, weights = self._buffer.read()
        bins = equal_mass_bins(ops.transpose(samples), weights, self.num_bins)
        error = self._buffer.checked(expected_calibration_error(bins, self.norm))
        return ops.cast(error, self.dtype)

    def reset_state(self) -> None:
        """Discard all samples; warn if there were more than `capacity`."""
        if self._buffer is not None:
            self._buffer.warn_of_lost_samples()
        super().reset_state()

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "num_bins": self.num_bins,
            "binning": self.binning,
            "norm": self.norm,
            "capacity": self.capacity,
            "ignore_class": self.ignore_class,
        }


def confidence_and_correctness(
    labels: Tensor,
    probabilities: Tensor,
    sample_weight: Tensor | None = None,
    ignore_class: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return samples `(n, 2)`, confidence and correctness, and weights `(n,)`.

    Args:
        labels: Class labels, `(batch, ...)`.
        probabilities: Probabilities, `(batch, ..., classes)`.
        sample_weight: Weights of the labels. Default: `None`, all are 1.
        ignore_class: Label of samples to leave out. Default: `None`.

    Returns:
        Two tensors of the dtype of `probabilities`. The weight is NaN where a label or
        probability is not valid.

    Raises:
        ValueError: In eager execution, if a label or probability is not valid.
    """
    weights = _labels.weights_like(
        _NAME, sample_weight, labels, probabilities.dtype, ignore_class
    )
    absent = ops.equal(weights, 0)
    valid = are_classes(_NAME, labels, absent, probabilities.shape[-1])
    valid = valid & are_probabilities(_NAME, probabilities, absent)
    weights = ops.where(valid | absent, weights, float("nan"))
    # Keras's maximum and argmax take ten operations on TensorFlow.
    largest, predicted = (part[..., 0] for part in ops.top_k(probabilities, 1))
    confidence = ops.where(valid, largest, 0.0)
    correct = ops.equal(ops.cast(predicted, "float32"), ops.cast(labels, "float32"))
    correct = ops.cast(correct, weights.dtype)
    samples = ops.stack([confidence, correct], axis=-1)
    return ops.reshape(samples, (-1, 2)), ops.reshape(weights, (-1,))


def equal_width_bins(samples: Tensor, weights: Tensor, num_bins: int) -> Tensor:
    """Return the sums of every bin: weight, confidence, correctness.

    Args:
        samples: Confidence and correctness, `(n, 2)`.
        weights: Weights of the samples, `(n,)`.
        num_bins: Number of bins of confidence.

    Returns:
        Tensor `(num_bins, 3)`.
    """
    inner_edges = ops.convert_to_tensor(
        [m / num_bins for m in range(1, num_bins)], weights.dtype
    )
    bins = ops.searchsorted(inner_edges, samples[:, 0], side="left")
    return _sums_of_bins(samples, weights, bins, num_bins)


def equal_mass_bins(samples: Tensor, weights: Tensor, num_bins: int) -> Tensor:
    """Return the sums of every bin, as `equal_width_bins` does."""
    order = _ranks.stable_argsort(samples[:, 0])
    samples, weights = ops.take(samples, order, axis=0), ops.take(weights, order)
    middle = ops.cumsum(weights) - 0.5 * weights
    # Divided last, so that whole numbers stay whole.
    bins = ops.ceil(ops.divide_no_nan(middle * num_bins, ops.sum(weights))) - 1
    bins = ops.cast(ops.clip(bins, 0, num_bins - 1), "int32")
    return _sums_of_bins(samples, weights, bins, num_bins)


def expected_calibration_error(bins: Tensor, norm: Norm = "l1") -> Tensor:
    """Return the error from the sums of every bin, as of `equal_width_bins`."""
    weight, confidence, correct = ops.unstack(bins, axis=-1)
    total = ops.sum(weight)
    gaps = ops.absolute(correct - confidence)  # times the weight of the bin
    if norm == "l1":
        return ops.divide_no_nan(ops.sum(gaps), total)
    each = ops.divide_no_nan(gaps, weight)
    if norm == "l2":
        return ops.sqrt(ops.divide_no_nan(ops.sum(gaps * each), total))
    # Not every backend's maximum propagates NaN.
    return ops.where(ops.isnan(total), float("nan"), ops.max(each))


def _given(capacity: int | None) -> int:
    if capacity is None:
        raise ValueError(
            '`capacity` must be given with `binning="equal_mass"`: the number of '
            "samples to keep, ideally that of the dataset. Received: capacity=None"
        )
    return capacity


def _sums_of_bins(
    samples: Tensor, weights: Tensor, bins: Tensor, num_bins: int
) -> Tensor:
    weights = ops.expand_dims(weights, axis=-1)
    sums = ops.concatenate([weights, weights * samples], axis=-1)
    return ops.segment_sum(sums, bins, num_segments=num_bins)
