"""Overlap of bounding boxes, one pair of boxes at a time."""

import math
from collections.abc import Sequence

import numpy as np

Box = tuple[float, float, float, float]  # left, top, width, height


def iou(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    *,
    form: str = "giou",
    bounding_box_format: str = "xyxy",
) -> np.ndarray:
    """Return 1 - IoU, or 1 - its generalised, distance or complete form, of every box.

    Rezatofighi et al. 2019, https://arxiv.org/abs/1902.09630, algorithm 1; Zheng et al.
    2019, https://arxiv.org/abs/1911.08287, equations 7 and 10.
    """
    true = np.asarray(y_true, np.float64)
    predicted = np.asarray(y_pred, np.float64)
    if true.shape != predicted.shape or true.shape[-1] != 4:
        raise ValueError(f"boxes of the shapes {true.shape} and {predicted.shape}")
    values = np.zeros(true.shape[:-1])
    for index in np.ndindex(*values.shape):
        values[index] = 1.0 - overlap(
            to_box(true[index], bounding_box_format),
            to_box(predicted[index], bounding_box_format),
            form,
        )
    return values


def to_box(coordinates: Sequence[float], bounding_box_format: str) -> Box:
    """Return left, top, width and height; a size below 0 becomes 0.

    The left and top edge, or for the "center" formats the centre, stay where they are.
    """
    a, b, c, d = (float(coordinate) for coordinate in coordinates)
    if bounding_box_format == "xyxy":
        return a, b, max(0.0, c - a), max(0.0, d - b)
    if bounding_box_format == "yxyx":
        return b, a, max(0.0, d - b), max(0.0, c - a)
    if bounding_box_format == "xywh":
        return a, b, max(0.0, c), max(0.0, d)
    if bounding_box_format == "center_xywh":
        width, height = max(0.0, c), max(0.0, d)
        return a - width / 2.0, b - height / 2.0, width, height
    if bounding_box_format == "center_yxhw":
        height, width = max(0.0, c), max(0.0, d)
        return b - width / 2.0, a - height / 2.0, width, height
    raise ValueError(f"unknown format {bounding_box_format!r}")


def overlap(true: Box, predicted: Box, form: str, alpha: float | None = None) -> float:
    """Return the IoU or another form of it, 0 / 0 being 0.

    `alpha` replaces CIoU's factor of v, to differentiate numerically around it.
    """
    left_t, top_t, width_t, height_t = true
    left_p, top_p, width_p, height_p = predicted
    right_t, bottom_t = left_t + width_t, top_t + height_t
    right_p, bottom_p = left_p + width_p, top_p + height_p

    common_width = max(0.0, min(right_t, right_p) - max(left_t, left_p))
    common_height = max(0.0, min(bottom_t, bottom_p) - max(top_t, top_p))
    intersection = common_width * common_height
    union = width_t * height_t + width_p * height_p - intersection
    plain = _ratio(intersection, union)
    if form == "iou":
        return plain

    enclosing_width = max(right_t, right_p) - min(left_t, left_p)
    enclosing_height = max(bottom_t, bottom_p) - min(top_t, top_p)
    if form == "giou":
        enclosing = enclosing_width * enclosing_height
        return plain - _ratio(enclosing - union, enclosing)

    between_centres = ((left_t + right_t) / 2 - (left_p + right_p) / 2) ** 2 + (
        (top_t + bottom_t) / 2 - (top_p + bottom_p) / 2
    ) ** 2
    diagonal = enclosing_width**2 + enclosing_height**2
    diou = plain - _ratio(between_centres, diagonal)
    if form == "diou":
        return diou

    if form == "ciou":
        angle_t = math.atan2(width_t, height_t)  # of width / height, also of height 0
        angle_p = math.atan2(width_p, height_p)
        v = 4.0 / math.pi**2 * (angle_t - angle_p) ** 2
        if alpha is None:
            alpha = ciou_alpha(plain, v)
        return diou - alpha * v
    raise ValueError(f"unknown form {form!r}")


def ciou_alpha(plain: float, v: float) -> float:
    """alpha = v / (1 - IoU + v), 0 / 0 being 0; Zheng et al. 2019, equation 11."""
    return _ratio(v, 1.0 - plain + v)


def rasterised_iou(
    box: Sequence[float], other: Sequence[float], scale: int = 1
) -> float:
    """Count the cells which lie in both boxes, and in one of them; both are "xyxy".

    Cells have the side 1 / scale, and belong to a box if their centre does: exact if
    the coordinates are multiples of 1 / scale.
    """
    boxes = [[float(x) for x in box], [float(x) for x in other]]
    lows = [math.floor(min(b[axis] for b in boxes) * scale) for axis in (0, 1)]
    highs = [math.ceil(max(b[axis + 2] for b in boxes) * scale) for axis in (0, 1)]
    both = either = 0
    for column in range(lows[0], highs[0]):
        for row in range(lows[1], highs[1]):
            x, y = (column + 0.5) / scale, (row + 0.5) / scale
            inside = [
                left < x < right and top < y < bottom
                for left, top, right, bottom in boxes
            ]
            both += all(inside)
            either += any(inside)
    return _ratio(float(both), float(either))


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator != 0 else 0.0
