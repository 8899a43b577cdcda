"""Bounding boxes: five formats, and what they have in common.

`keras.utils.bounding_boxes` adds `keras.config.epsilon()` to areas, which may be
smaller than that for boxes in fractions of the image, and loses the center of a box
whose width or height is negative.
"""

from typing import Any, Literal, TypeAlias

from keras import ops

from keras_ext import _checks
from keras_ext._types import Tensor

BoundingBoxFormat: TypeAlias = Literal[
    "xyxy", "yxyx", "xywh", "center_xywh", "center_yxhw"
]
"""Which four numbers make up a box, as named by `keras.utils.bounding_boxes`."""

_FORMATS = ("xyxy", "yxyx", "xywh", "center_xywh", "center_yxhw")


def check_format(name: str, value: Any) -> BoundingBoxFormat:
    """Return `value` if it is a box format, else raise `ValueError`."""
    checked: BoundingBoxFormat = _checks.one_of(name, value, _FORMATS)
    return checked


def corners(boxes: Tensor, bounding_box_format: str) -> Tensor:
    """Return boxes `(..., 4)` as left, top, right and bottom.

    A negative width or height becomes 0: the left and top edges, or in the formats with
    a center the center, stay in place.
    """
    first, second = boxes[..., :2], boxes[..., 2:]
    if bounding_box_format in ("yxyx", "center_yxhw"):
        first, second = ops.flip(first, axis=-1), ops.flip(second, axis=-1)
    if bounding_box_format in ("xyxy", "yxyx"):
        return ops.concatenate([first, ops.maximum(first, second)], axis=-1)
    size = ops.maximum(second, 0)
    if bounding_box_format.startswith("center"):
        first = first - size / 2
    return ops.concatenate([first, first + size], axis=-1)


def size(box: Tensor) -> Tensor:
    """Return the width and height `(..., 2)` of boxes given by their corners."""
    return box[..., 2:] - box[..., :2]


def area(box: Tensor) -> Tensor:
    """Return the area `(...)` of boxes given by their corners."""
    sides = size(box)
    return sides[..., 0] * sides[..., 1]


def intersection(box: Tensor, other: Tensor) -> Tensor:
    """Return the intersection of two boxes, all given by their corners.

    For boxes that do not overlap, it has no area. Shapes are broadcast: use
    `intersection(boxes[:, None], others[None, :])` for all pairs.
    """
    low = ops.maximum(box[..., :2], other[..., :2])
    high = ops.minimum(box[..., 2:], other[..., 2:])
    return ops.concatenate([low, ops.maximum(low, high)], axis=-1)


def enclosing(box: Tensor, other: Tensor) -> Tensor:
    """Return the smallest box around two boxes, all given by their corners."""
    low = ops.minimum(box[..., :2], other[..., :2])
    high = ops.maximum(box[..., 2:], other[..., 2:])
    return ops.concatenate([low, high], axis=-1)
