"""COCO's evaluation of detections: which boxes are right, and average precision."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from keras import ops

from keras_ext import _boxes
from keras_ext._types import Tensor
from keras_ext.metrics._box_rows import BoxRows

RIGHT, IGNORED, WRONG = 1, 0, -1
"""The possible outcomes of a detection."""

_NEARLY_1 = 1 - 1e-6
"""The largest threshold used, since rounding may keep equal boxes from reaching 1."""

_POINTS = 101
_BEYOND = (np.linspace(0, 1, _POINTS) > np.arange(_POINTS) / 100).astype("int32")
"""The recalls, in percent, that pycocotools rounds up: 70 of 100 is not 0.7 there."""


def by_class_and_confidence(labels: Tensor, confidence: Tensor) -> Tensor:
    """Return the order of rows by class and, within a class, by descending confidence.

    Among equals, the earlier comes first, since `argsort` is stable on all backends.

    Args:
        labels: Tensor `(..., rows)`.
        confidence: Tensor `(..., rows)`, without NaN.
    """
    # Not `-confidence`: XLA puts -0 before 0.
    order = ops.argsort(0.0 - confidence, axis=-1)
    classes = ops.argsort(ops.take_along_axis(labels, order, axis=-1), axis=-1)
    return ops.take_along_axis(order, classes, axis=-1)


def most_confident(detections: BoxRows, max_detections: int) -> BoxRows:
    """Return detections by class and confidence, up to a maximum of each that count."""
    order = by_class_and_confidence(detections.labels, detections.last)
    labels = ops.take_along_axis(detections.labels, order, axis=-1)
    # A surplus one has another of its class that many places before it.
    padded = ops.pad(labels, ((0, 0), (max_detections, 0)), constant_values=-1)
    before = padded[:, : ops.shape(labels)[1]]
    counted = ops.take_along_axis(detections.counted, order, axis=-1)
    return BoxRows(
        corners=ops.take_along_axis(
            detections.corners, ops.expand_dims(order, axis=-1), axis=1
        ),
        labels=labels,
        last=ops.take_along_axis(detections.last, order, axis=-1),
        counted=counted & ops.not_equal(before, labels),
        sound=detections.sound,
    )


def match(
    detections: BoxRows,
    truths: BoxRows,
    iou_thresholds: Sequence[float],
    area_range: tuple[float, float],
) -> tuple[Tensor, Tensor]:
    """Return the outcomes of the detections, and which boxes are to be found.

    Args:
        detections: In order of confidence within each class.
        truths: The boxes to be found, and those that need not be found: crowds, and
            boxes outside the range.
        iou_thresholds: The least overlap needed to take a box.
        area_range: The smallest and the largest area to be found.

    Returns:
        Integers `(batch, thresholds, detections)`, and booleans `(batch, truths)`.
    """
    wanted = truths.counted & ops.equal(truths.last, 0) & _inside(truths, area_range)
    verdicts = _verdicts(detections, truths, wanted, iou_thresholds)
    outside = ops.expand_dims(~_inside(detections, area_range), axis=1)
    forgiven = outside & ops.equal(verdicts, WRONG)
    return ops.where(forgiven, IGNORED, verdicts), wanted


def _inside(boxes: BoxRows, area_range: tuple[float, float]) -> Tensor:
    """Return whether the area of each box is in the range, ends included."""
    area = _boxes.area(boxes.corners)
    return (area >= area_range[0]) & (area <= area_range[1])


def _verdicts(
    detections: BoxRows,
    truths: BoxRows,
    wanted: Tensor,
    iou_thresholds: Sequence[float],
) -> Tensor:
    """Return whether each detection is right, ignored or wrong at each threshold.

    The detections choose in order. Each takes the truth that it overlaps most among
    those wanted and still free or, if it reaches none of these, among the others. A
    crowd stays free. Of equal overlaps, the later truth is taken, as in pycocotools.
    """
    least = [[min(threshold, _NEARLY_1)] for threshold in iou_thresholds]
    thresholds = ops.convert_to_tensor(least, detections.corners.dtype)
    crowd = ops.expand_dims(ops.equal(truths.last, 1), axis=1)
    start = _Choices(
        overlaps=_overlaps(detections, truths),
        thresholds=thresholds,
        wanted=ops.expand_dims(wanted, axis=1),
        crowd=crowd,
        taken=crowd & ops.zeros_like(thresholds, dtype="bool"),
        verdicts=ops.where(
            ops.expand_dims(detections.counted, axis=1),
            ops.full_like(thresholds, WRONG, dtype="int32"),
            IGNORED,
        ),
    )
    if detections.labels.shape[1] == 0:  # JAX traces an iteration even if there is none
        return start.verdicts
    # Padding is last in the order, and needs no iteration.
    places = ops.arange(ops.shape(detections.labels)[1], dtype="int32")
    turns = ops.where(ops.any(detections.counted, axis=0), places + 1, 0)
    return ops.fori_loop(0, ops.max(turns, initial=0), _choose, start).verdicts


def _overlaps(detections: BoxRows, truths: BoxRows) -> Tensor:
    """Return the overlap `(batch, detections, truths)`, -1 if the classes differ.

    It is the intersection over the union, or over the detection if the truth is a
    crowd.
    """
    found = ops.expand_dims(detections.corners, axis=2)
    true = ops.expand_dims(truths.corners, axis=1)
    shared = _boxes.area(_boxes.intersection(found, true))
    own = _boxes.area(found)
    crowd = ops.expand_dims(ops.equal(truths.last, 1), axis=1)
    whole = ops.where(crowd, own, own + _boxes.area(true) - shared)
    pairs = ops.equal(
        ops.expand_dims(detections.labels, axis=2),
        ops.expand_dims(truths.labels, axis=1),
    )
    return ops.where(
        pairs & ops.expand_dims(truths.counted, axis=1),
        ops.divide_no_nan(shared, whole),
        -1.0,
    )


class _Choices(NamedTuple):
    """What the detections choose from, and what they chose."""

    overlaps: Tensor  # (batch, detections, truths)
    thresholds: Tensor  # (thresholds, 1)
    wanted: Tensor  # (batch, 1, truths)
    crowd: Tensor  # (batch, 1, truths)
    taken: Tensor  # (batch, thresholds, truths)
    verdicts: Tensor  # (batch, thresholds, detections)


def _choose(place: Tensor, choices: _Choices) -> _Choices:
    """Let the detections at this position in the order choose."""
    # Everything it reads is in `choices`: JAX recompiles a closure in each eager call.
    overlaps, thresholds, wanted, crowd, taken, verdicts = choices
    overlap = ops.expand_dims(ops.take(overlaps, place, axis=1), axis=1)
    reached = (overlap >= thresholds) & ~taken
    right = ops.any(reached & wanted, axis=-1, keepdims=True)
    choice = reached & (wanted | ~right)
    best = choice & ops.equal(overlap, _largest(choice, overlap))
    truths = ops.arange(ops.shape(overlap)[2], dtype="int32")
    chosen = _largest(best, truths)
    taken = taken | (ops.equal(truths, chosen) & ~crowd)
    verdict = ops.where(right, RIGHT, ops.where(chosen >= 0, IGNORED, WRONG))
    places = ops.arange(ops.shape(verdicts)[2], dtype="int32")
    verdicts = ops.where(ops.equal(places, place), verdict, verdicts)
    return _Choices(overlaps, thresholds, wanted, crowd, taken, verdicts)


def _largest(where: Tensor, values: Tensor) -> Tensor:
    """Return the largest of the non-negative values along the last axis, or -1."""
    values = ops.where(where, values, -1)
    return ops.max(values, axis=-1, keepdims=True, initial=-1)


def average_precisions(
    labels: Tensor,
    confidence: Tensor,
    verdicts: Tensor,
    weights: Tensor,
    wanted: Tensor,
) -> Tensor:
    """Return the average precision of every class, `(thresholds, num_classes)`.

    It is the mean of the precision of the ranked detections at 101 recalls.

    Args:
        labels: Classes of the detections, `(detections,)`.
        confidence: Confidence of the detections, `(detections,)`.
        verdicts: 1 right, -1 wrong, 0 ignored, `(thresholds, detections)`.
        weights: How often each counts, `(detections,)`.
        wanted: Integers, the number of boxes to be found, `(num_classes,)`.

    Returns:
        Tensor of the dtype of `confidence`; 0 for classes without boxes to be found.
    """
    num_classes = wanted.shape[0]
    # One more class, for the rows that are not filled. Clipped, since the sum of
    # several replicas' buffers, which is not a valid result, must not be an index out
    # of range.
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
    """Return the sums `(thresholds, detections)` so far within the same class.

    The rows are ordered by class, so that each class has one start.
    """
    sizes = ops.segment_sum(ops.ones_like(labels), labels, num_segments=num_classes)
    starts = ops.cumsum(sizes) - sizes
    sums = ops.cumsum(counts, axis=-1)
    before = ops.take(ops.pad(sums, ((0, 0), (1, 0))), starts, axis=1)
    return sums - ops.take(before, labels, axis=1)


def _points_reached(right: Tensor, wanted: Tensor) -> Tensor:
    """Return the highest of the recalls 0, 1, .. 100 percent that is reached.

    In integers, which reproduce what pycocotools computes in float64.
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
    # `ops.associative_scan` of odd length does not compile with XLA on TensorFlow.
    for step in (1, 2, 4, 8, 16, 32, 64):
        beyond = ops.pad(largest[:, :, step:], ((0, 0), (0, 0), (0, step)))
        largest = ops.maximum(largest, beyond)
    return largest
