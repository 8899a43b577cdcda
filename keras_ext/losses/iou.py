"""Losses of bounding boxes: how far two boxes are from coinciding."""

import math
from functools import partial
from typing import Literal, TypeAlias

import keras
from keras import ops

from keras_ext import _boxes, _checks
from keras_ext._boxes import BoundingBoxFormat
from keras_ext._numerics import ratio
from keras_ext._types import Reduction, Tensor
from keras_ext.losses._function_loss import checked
from keras_ext.losses._weighted import WeightedLoss, alike

Form: TypeAlias = Literal["iou", "giou", "diou", "ciou"]
_FORMS = ("iou", "giou", "diou", "ciou")
# Below this, the square of a size is not a normal float32.
_NO_SIZE = 1e-18


@keras.saving.register_keras_serializable(package="keras_ext")
class IoU(WeightedLoss):
    """Loss of predicted bounding boxes: 1 minus their overlap with the true ones.

    The overlap of two boxes is measured by the area `I` they share, the area `U` they
    cover together, and the smallest box around both, of area `C` and diagonal `c`:

    - `"iou"`: `I / U`, flat where the boxes do not overlap;
    - `"giou"`: `I / U - (C - U) / C`, in (-1, 1];
    - `"diou"`: `I / U - (d / c)^2`, with `d` the distance of the centers;
    - `"ciou"`: `I / U - (d / c)^2 - alpha v`, with
      `v = 4 / pi^2 (atan(w / h) - atan(w' / h'))^2` for the widths and heights of both
      boxes and `alpha = v / (1 - I / U + v)`, which is treated as a constant in the
      gradient.

    `loss = 1 - overlap`

    Reference: H. Rezatofighi, N. Tsoi, J. Gwak, A. Sadeghian, I. Reid, S. Savarese,
    "Generalized Intersection over Union", 2019, https://arxiv.org/abs/1902.09630;
    Z. Zheng, P. Wang, W. Liu, J. Li, R. Ye, D. Ren, "Distance-IoU Loss", 2019,
    https://arxiv.org/abs/1911.08287.

    Args:
        form: `"iou"`, `"giou"`, `"diou"` or `"ciou"`. Default: `"giou"`.
        bounding_box_format: What the four numbers of a box are: `"xyxy"` (left, top,
            right, bottom), `"yxyx"`, `"xywh"` (left, top, width, height),
            `"center_xywh"` or `"center_yxhw"`. Default: `"xyxy"`.
        reduction: As in every `keras.losses.Loss`. Default: `"sum_over_batch_size"`,
            the mean over all boxes.
        name: Name of the loss.
        dtype: Dtype of the loss. Default: `None`, which means `keras.config.floatx()`.

    Call arguments:
        y_true: True boxes, in pixels or as fractions of the image.
        y_pred: Predicted boxes, in the same unit and order.
        sample_weight: Weights of the boxes, `(batch, ...)`; `(batch, 1)` with
            `(batch, boxes, 4)` gives all boxes of a sample its weight. Give boxes that
            only pad a batch the weight 0.

    Input shape:
        `y_true` and `y_pred`: `(batch, ..., 4)`.

    Output shape:
        A scalar; with `reduction="none"`, `(batch, ...)`.

    Raises:
        ValueError: If an argument is not one of its choices; on call, if the shapes
            differ or do not end in four coordinates, or if weights of shape `(batch,)`
            are given for several boxes per image.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import IoU
    >>> true, predicted = np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 0, 3, 2]])
    >>> float(IoU("iou")(true, predicted))
    0.6667
    >>> far = np.array([[4.0, 0, 6, 2]])
    >>> float(IoU("iou")(true, far)), float(IoU("giou")(true, far))
    (1.0, 1.3333)

    Fractions of the width and height of a non-square image are not lengths: the
    distances and angles of `"diou"` and `"ciou"` differ from those in pixels. A width
    or height below 0 counts as 0, and the overlap of two boxes without area as 0;
    values and gradients are finite in both cases. Half precision is computed in
    float32, but coordinates in pixels above 256 (bfloat16) or 2048 (float16) are
    rounded before they reach the loss. A mask on `y_pred` is respected.
    """

    def __init__(
        self,
        form: Form = "giou",
        bounding_box_format: BoundingBoxFormat = "xyxy",
        reduction: Reduction | None = "sum_over_batch_size",
        name: str | None = "iou",
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(
            iou,
            form=form,
            bounding_box_format=bounding_box_format,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )


@checked(
    form=partial(_checks.one_of, choices=_FORMS),
    bounding_box_format=_boxes.check_format,
)
def iou(
    y_true: Tensor,
    y_pred: Tensor,
    form: Form = "giou",
    bounding_box_format: BoundingBoxFormat = "xyxy",
) -> Tensor:
    """Return 1 minus the overlap of every pair of boxes.

    The function form of `IoU`, which documents the formulas, references and errors.

    Args:
        y_true: True boxes, `(batch, ..., 4)`.
        y_pred: Predicted boxes, of the same shape.
        form: `"iou"`, `"giou"`, `"diou"` or `"ciou"`.
        bounding_box_format: `"xyxy"`, `"yxyx"`, `"xywh"`, `"center_xywh"` or
            `"center_yxhw"`.

    Returns:
        Float tensor `(batch, ...)`, in `y_pred`'s dtype, but at least float32.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import iou
    >>> true, predicted = np.array([[2.0, 2, 2, 2]]), np.array([[2.0, 2, 1, 1]])
    >>> float(iou(true, predicted, "iou", "center_xywh")[0])
    0.75
    """
    y_true, y_pred = alike("iou", y_true, y_pred, "(batch, ..., 4)")
    if y_pred.shape[-1] != 4:
        raise ValueError(
            "iou expects four coordinates on the last axis of y_true and y_pred. "
            f"Received: y_pred.shape={tuple(y_pred.shape)}"
        )
    true = _boxes.corners(y_true, bounding_box_format)
    predicted = _boxes.corners(y_pred, bounding_box_format)

    shared = _boxes.area(_boxes.intersection(true, predicted))
    union = _boxes.area(true) + _boxes.area(predicted) - shared
    overlap = ratio(shared, union)
    if form == "giou":
        around = _boxes.area(_boxes.enclosing(true, predicted))
        return 1 - overlap + ratio(around - union, around)
    if form == "diou":
        return 1 - overlap + _distance(true, predicted)
    if form == "ciou":
        shape = _shape_difference(true, predicted)
        alpha = ops.stop_gradient(ratio(shape, 1 - overlap + shape))
        return 1 - overlap + _distance(true, predicted) + alpha * shape
    return 1 - overlap


def _distance(true: Tensor, predicted: Tensor) -> Tensor:
    """Return the squared distance of the centers, over the squared diagonal."""
    apart = (
        true[..., :2] + true[..., 2:] - predicted[..., :2] - predicted[..., 2:]
    ) / 2
    diagonal = _boxes.size(_boxes.enclosing(true, predicted))
    return ratio(
        ops.sum(ops.square(apart), axis=-1), ops.sum(ops.square(diagonal), axis=-1)
    )


def _shape_difference(true: Tensor, predicted: Tensor) -> Tensor:
    """Return the squared difference of the boxes' width-to-height angles."""
    return 4 / math.pi**2 * ops.square(_angle(true) - _angle(predicted))


def _angle(box: Tensor) -> Tensor:
    """Return `atan(width / height)`; 0, with slope 0, for a box that is a point."""
    size = _boxes.size(box)
    is_point = ops.all(size < _NO_SIZE, axis=-1)
    width = ops.where(is_point, 0.0, size[..., 0])
    return ops.arctan2(width, ops.where(is_point, 1.0, size[..., 1]))
