"""Boxes with labels as rows of numbers: parsing and checks."""

from typing import Literal, NamedTuple

from keras import ops

from keras_ext import _boxes, _checks, _labels
from keras_ext._types import Tensor
from keras_ext.metrics._inputs import are_numbers

_COLUMNS = {
    "y_true": "four coordinates, the label and, if given, 1 for a crowd, else 0",
    "y_pred": "four coordinates, the label and the confidence",
}


class BoxRows(NamedTuple):
    """A batch of boxes, some of which count."""

    corners: Tensor
    """Left, top, right and bottom, `(batch, rows, 4)`."""

    labels: Tensor
    """Classes, `(batch, rows)`, of an integer dtype; `num_classes` in other rows."""

    last: Tensor
    """Confidence, or 1 for a crowd, `(batch, rows)`; 0 in other rows."""

    counted: Tensor
    """Whether a row is a box that counts, `(batch, rows)`."""

    sound: Tensor
    """Whether all rows are valid, a scalar."""


def check_shapes(owner: str, y_true: Tensor, y_pred: Tensor) -> None:
    """Raise `ValueError` unless both have rows of boxes for equally many images."""
    for name, rows, sizes in (("y_true", y_true, (5, 6)), ("y_pred", y_pred, (6,))):
        shape = tuple(rows.shape)
        if len(shape) != 3 or shape[-1] not in sizes:
            raise ValueError(
                f"{owner} expects `{name}` of shape (batch, boxes, "
                f"{' or '.join(map(str, sizes))}): {_COLUMNS[name]}. "
                f"Received: {name}.shape={shape}"
            )
    true, found = tuple(y_true.shape), tuple(y_pred.shape)
    if not _checks.shapes_agree(true[:1], found[:1]):
        raise ValueError(
            f"{owner} expects equally many images in `y_true` and `y_pred`. Received: "
            f"y_true.shape={true}, y_pred.shape={found}"
        )


def frequencies(
    owner: str, y_true: Tensor, sample_weight: Tensor | None, dtype: str
) -> tuple[Tensor, Tensor]:
    """Return how often each image counts, and whether these are whole numbers.

    Raises:
        ValueError: If the shapes do not match; in eager execution, if a weight is not
            a whole number of at least 0.
    """
    images = ops.zeros(ops.shape(y_true)[:1], dtype)
    weights = _labels.weights_like(owner, sample_weight, images, dtype, what="image")
    whole = ops.equal(ops.floor(weights), weights)
    weight = _checks.first_offender(weights, whole)
    if weight is not None:
        raise ValueError(
            f"{owner} expects `sample_weight` to hold how often each image counts: a "
            "whole number, 0 for an image to leave out. "
            f"Received: sample_weight with a weight {weight:.10g}"
        )
    return ops.where(whole, weights, 0.0), ops.all(whole)


def read(
    owner: str,
    name: Literal["y_true", "y_pred"],
    rows: Tensor,
    weights: Tensor,
    num_classes: int,
    bounding_box_format: str,
) -> BoxRows:
    """Return the boxes in the rows of a batch, in the dtype of `weights`.

    Args:
        owner: Name of the caller, for the messages.
        name: What the rows are: `"y_true"` or `"y_pred"`.
        rows: Four coordinates, a label and perhaps one more number, `(batch, rows, 5)`
            or `(batch, rows, 6)`; -1 as a label is padding.
        weights: Weights of the images, `(batch,)`. Those of weight 0 are absent.
        num_classes: Number of classes.
        bounding_box_format: Which four numbers a box is.

    Raises:
        ValueError: In eager execution, if a row of a present image that is not padding
            is not valid, unless it holds a NaN in `y_pred`.
    """
    valid = _labels.in_range(owner, rows[..., 4], num_classes)
    rows = ops.stop_gradient(ops.cast(rows, weights.dtype))
    absent = ops.equal(rows[..., 4], -1)
    absent = absent | ops.expand_dims(ops.equal(weights, 0), axis=-1)
    valid = valid & ops.all(ops.isfinite(rows), axis=-1)
    last = rows[..., 5] if rows.shape[-1] == 6 else ops.zeros_like(rows[..., 4])
    if name == "y_true":
        valid = valid & (ops.equal(last, 0) | ops.equal(last, 1))
    _check_values(owner, name, rows, valid | absent, num_classes)
    counted = valid & ~absent
    return BoxRows(
        corners=_boxes.corners(rows[..., :4], bounding_box_format),
        labels=ops.where(counted, ops.cast(rows[..., 4], "int32"), num_classes),
        last=ops.where(counted, last, 0.0),
        counted=counted,
        sound=ops.all(valid | absent),
    )


def numbers_of_classes(
    boxes: BoxRows, which: Tensor, weights: Tensor, num_classes: int
) -> Tensor:
    """Return the number of boxes of each class, among those selected by `which`."""
    counts = ops.cast(which, weights.dtype) * ops.expand_dims(weights, axis=-1)
    sums = ops.segment_sum(
        ops.reshape(counts, (-1,)),
        ops.reshape(boxes.labels, (-1,)),
        num_segments=num_classes + 1,
    )
    return sums[:num_classes]


def _check_values(
    owner: str, name: str, rows: Tensor, valid: Tensor, num_classes: int
) -> None:
    if name == "y_pred":
        valid = valid | ~are_numbers(rows, axis=-1)
    row = _checks.first_offender(rows, valid)
    if row is not None:
        numbers = ", ".join(f"{number:.10g}" for number in row)
        raise ValueError(
            f"{owner} expects every row of `{name}` to hold finite numbers: "
            f"{_COLUMNS[name]}. Labels are whole numbers from 0 to {num_classes - 1}, "
            f"or -1 for padding. Received: {name} with a row [{numbers}]"
        )
