"""Targets, predictions and values of metrics: which of them are valid.

Invalid entries are an error in eager execution. Compiled code cannot raise; there, they
make the result NaN.
"""

from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_ext import _checks, _labels
from keras_ext._types import Tensor
from keras_ext.metrics._running_sum import sum_dtype

_NO_CLASSES = {
    "y_true": "Give samples without a class a `sample_weight` of 0.",
    "y_pred": "If these are scores, pass `sparse_y_pred=False`; give samples without a "
    "class a `sample_weight` of 0.",
}

_TOLERANCE = 0.01
"""Tolerance for probabilities, such as those of a softmax in bfloat16."""

_KINDS = {"y_pred": "prediction", "y_true": "target"}
_NO_PROBABILITIES = {
    "y_pred": "If the model returns logits, apply `keras.ops.softmax` to them, or "
    "`keras.ops.sigmoid` to a single output.",
    "y_true": "If these are class labels, pass `sparse_y_true=True`.",
}


def are_numbers(values: Tensor, *, axis: int | None = None) -> Tensor:
    """Return for each value whether it is a number, not NaN.

    A NaN prediction means that the model has diverged, not that the metric is used
    incorrectly. It therefore makes the result NaN even in eager execution, where
    invalid targets are an error.

    Args:
        values: Predictions.
        axis: An axis along which all must be numbers. Default: `None`, each separately.
    """
    if keras.backend.is_float_dtype(values.dtype):
        numbers = ~ops.isnan(values)
    else:
        numbers = ops.ones_like(values, dtype="bool")
    return numbers if axis is None else ops.all(numbers, axis=axis)


def same_shape(owner: str, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    """Return targets and predictions as tensors of one shape.

    Raises:
        ValueError: If their shapes differ by more than a last axis of size 1.
    """
    true, pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    shapes = tuple(true.shape), tuple(pred.shape)
    if len(shapes[0]) == len(shapes[1]) - 1 and shapes[1][-1] == 1:
        true = ops.expand_dims(true, axis=-1)
    if not _checks.shapes_agree(true.shape, pred.shape):
        raise ValueError(
            f"{owner} expects `y_true` and `y_pred` of the same shape, one target for "
            f"each prediction. Received: y_true.shape={shapes[0]}, "
            f"y_pred.shape={shapes[1]}"
        )
    return true, pred


def are_classes(
    owner: str, labels: Tensor, absent: Tensor, num_classes: int, name: str = "y_true"
) -> Tensor:
    """Return for each label whether it is one of the classes.

    Args:
        owner: Name of the caller, for the message.
        labels: Class labels.
        absent: Where a label may be anything, since it does not count.
        num_classes: Number of classes.
        name: What the labels are, for the message.

    Raises:
        ValueError: In eager execution, if a label that counts is not a class, unless it
            is a NaN in `y_pred`.
    """
    valid = _labels.in_range(owner, labels, num_classes)
    passed = valid | absent
    if name == "y_pred":
        passed = passed | ~are_numbers(labels)
    _labels.check(owner, name, labels, passed, num_classes, _NO_CLASSES[name])
    return valid


def are_probabilities(
    owner: str, values: Tensor, absent: Tensor, name: str = "y_pred"
) -> Tensor:
    """Return for each sample whether its values are probabilities.

    They are if their sum is 1 and that of the negative values 0, both within 0.01.

    Args:
        owner: Name of the caller, for the message.
        values: `(..., classes)`.
        absent: `(...)`, where values may be anything, since they do not count.
        name: What the values are, for the message.

    Raises:
        ValueError: In eager execution, if values that count are not probabilities,
            unless they hold a NaN in `y_pred`.
    """
    total = ops.sum(values, axis=-1)
    valid = ops.absolute(total - 1) <= _TOLERANCE
    twice_negative = ops.sum(ops.absolute(values), axis=-1) - total
    valid = valid & (twice_negative <= 2 * _TOLERANCE)
    passed = valid | absent
    if name == "y_pred":
        passed = passed | ~are_numbers(values, axis=-1)
    row = _checks.first_offender(values, passed)
    if row is not None:
        raise ValueError(
            f"{owner} expects probabilities, in [0, 1] and with sum 1 over the last "
            f"axis of `{name}`. Received: a {_KINDS[name]} with values from "
            f"{np.min(row):g} to {np.max(row):g} and sum {sum(row):g}. "
            + _NO_PROBABILITIES[name]
        )
    return valid


class WeightedValues(NamedTuple):
    """Values of a batch, their weights, and which of them are absent or invalid."""

    values: Tensor
    weights: Tensor
    absent: Tensor
    valid: Tensor


def weighted_values(
    owner: str, values: Tensor, sample_weight: Tensor | None, dtype: str
) -> WeightedValues:
    """Return values and weights, each of the same shape and of dtype `dtype`.

    Raises:
        ValueError: If shapes do not match; in eager execution, if a value of a weight
            other than 0 is negative or infinite.
    """
    values = ops.cast(values, dtype)
    weights = _labels.weights_like(owner, sample_weight, values, dtype, what="value")
    absent = ops.equal(weights, 0)
    valid = (values >= 0) & ops.isfinite(values) | absent
    value = _checks.first_offender(values, valid | ~are_numbers(values))
    if sample_weight is not None:
        valid = valid & are_numbers(weights)
    if value is not None:
        raise ValueError(
            f"{owner} expects `values` to be finite and at least 0. Received: values "
            f"with {value:g}. Give values to leave out a `sample_weight` of 0."
        )
    return WeightedValues(values, weights, absent, valid)


def check_labels_axis(
    owner: str, y_pred: Tensor, num_labels: int | None = None
) -> None:
    """Raise `ValueError` unless the last of several axes holds the labels."""
    size = "labels" if num_labels is None else num_labels
    shape = tuple(y_pred.shape)
    agree = num_labels is None or _checks.shapes_agree(shape[-1:], (num_labels,))
    if len(shape) < 2 or not agree:
        raise ValueError(
            f"{owner} expects `y_true` and `y_pred` of shape (batch, ..., {size}). "
            f"Received: y_pred.shape={shape}"
        )


def is_positive(y_pred: Tensor, threshold: float) -> Tensor:
    """Return where a prediction, at least in float32, is above the threshold."""
    dtype = keras.backend.standardize_dtype(y_pred.dtype)
    return ops.cast(y_pred, sum_dtype(dtype)) > threshold


def binary_targets(
    owner: str, y_true: Tensor, absent: Tensor, y_pred: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return where a target is 1, and where it is valid and its prediction not NaN.

    Args:
        owner: Name of the caller, for the message.
        y_true: The targets, 0 or 1.
        absent: Where a target may be anything, since it does not count.
        y_pred: The predictions. Default: `None`, they are checked elsewhere.

    Raises:
        ValueError: In eager execution, if a target that counts is neither 0 nor 1.
    """
    in_float = ops.cast(y_true, "float32")
    ones = ops.equal(in_float, 1)
    known = ones | ops.equal(in_float, 0)
    target = _checks.first_offender(in_float, known | absent)
    if target is not None:
        raise ValueError(
            f"{owner} expects `y_true` to hold 0 or 1 for every label. "
            f"Received: y_true with a target {target:.10g}. Give unknown samples or "
            "labels a `sample_weight` of 0."
        )
    if y_pred is not None:
        known = known & are_numbers(y_pred)
    return ones, known | absent


def are_spoiled(
    weights: Tensor, known: Tensor, axis: tuple[int, ...] | None = None
) -> Tensor:
    """Return whether sums over `axis` are NaN, due to a weight or an unknown entry.

    Weights are tested, not products with them: XLA evaluates NaN * 0 as 0 if the factor
    0 is a boolean.
    """
    return ops.isnan(ops.sum(weights, axis=axis)) | ops.any(~known, axis=axis)
