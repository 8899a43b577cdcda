"""Average precision of ranked detections, at 101 recalls, for all classes at once."""

import numpy as np
from keras import ops

from keras_ext._types import Tensor
from keras_ext.metrics._detection_matching import by_class_and_confidence

_POINTS = 101
_BEYOND = (np.linspace(0, 1, _POINTS) > np.arange(_POINTS) / 100).astype("int32")
"""The recalls, in percent, that pycocotools rounds up: 70 of 100 is not 0.7 there."""


def average_precisions(
    labels: Tensor,
    confidence: Tensor,
    verdicts: Tensor,
    weights: Tensor,
    wanted: Tensor,
) -> Tensor:
    """Return the average precision of every class, `(thresholds, num_classes)`.

    Args:
        labels: Classes of the detections, `(detections,)`.
        confidence: Their confidence, `(detections,)`.
        verdicts: 1 right, -1 wrong, 0 ignored, `(thresholds, detections)`.
        weights: How often each counts, `(detections,)`.
        wanted: Integers, how many there are to be found, `(num_classes,)`.

    Returns:
        Tensor of the dtype of `confidence`; 0 for classes without any to be found.
    """
    num_classes = wanted.shape[0]
    # One class more, for the rows that are not filled. Clipped, since the sum of the
    # buffers of several replicas, which is no result, must not be an index too large.
    labels = ops.where(ops.equal(weights, 0), num_classes, ops.cast(labels, "int32"))
    labels = ops.clip(labels, 0, num_classes)
    order = by_class_and_confidence(labels, confidence)
    labels = ops.take(labels, order)
    counts = ops.cast(ops.take(verdicts * weights, order, axis=1), "int32")
    right = _running_count(ops.maximum(counts, 0), labels, num_classes + 1)
    ranked = _running_count(ops.absolute(counts), labels, num_classes + 1)
    dtype = confidence.dtype
    precision = ops.cast(right, dtype) / ops.cast(ops.maximum(ranked, 1), dtype)
    wanted = ops.take(ops.pad(wanted, (0, 1)), labels)
    curves = _envelope(precision, _points_reached(right, wanted), labels, num_classes)
    return ops.mean(curves, axis=-1)


def _running_count(counts: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Return the sums `(thresholds, detections)` of what is so far in the same class.

    The rows are in the order of the classes, so that a class has one start.
    """
    sizes = ops.segment_sum(ops.ones_like(labels), labels, num_segments=num_classes)
    starts = ops.cumsum(sizes) - sizes
    sums = ops.cumsum(counts, axis=-1)
    before = ops.take(ops.pad(sums, ((0, 0), (1, 0))), starts, axis=1)
    return sums - ops.take(before, labels, axis=1)


def _points_reached(right: Tensor, wanted: Tensor) -> Tensor:
    """Return the last of the recalls 0, 1, .. 100 percent that is reached.

    In integers, which say what pycocotools says in float64.
    """
    wanted = ops.maximum(wanted, 1)
    percent = ops.clip(100 * right // wanted, 0, _POINTS - 1)
    exactly = ops.equal(percent * wanted, 100 * right)
    return percent - ops.where(exactly, ops.take(_BEYOND, percent), 0)


def _envelope(
    precision: Tensor, points: Tensor, labels: Tensor, num_classes: int
) -> Tensor:
    """Return the largest precision at each recall or beyond, 0 if it is not reached.

    Shape `(thresholds, num_classes, points)`.
    """
    thresholds = precision.shape[0]
    curve = ops.expand_dims(ops.arange(thresholds, dtype="int32"), axis=-1)
    curve = curve * (num_classes + 1) + labels
    largest = ops.segment_max(
        ops.reshape(precision, (-1,)),
        ops.reshape(curve * _POINTS + points, (-1,)),
        num_segments=thresholds * (num_classes + 1) * _POINTS,
    )
    shape = (thresholds, num_classes + 1, _POINTS)
    largest = ops.maximum(ops.reshape(largest, shape)[:, :-1], 0)
    # `ops.associative_scan` of an odd number does not compile with XLA on TensorFlow.
    for step in (1, 2, 4, 8, 16, 32, 64):
        beyond = ops.pad(largest[:, :, step:], ((0, 0), (0, 0), (0, step)))
        largest = ops.maximum(largest, beyond)
    return largest
