"""Lovász-softmax loss: optimizes segmentation for intersection over union."""

import math
from functools import partial
from typing import Literal, TypeAlias

import keras
from keras import ops

from keras_ext import _checks, _labels
from keras_ext._numerics import ratio
from keras_ext._types import Reduction, Tensor
from keras_ext.losses import _classes
from keras_ext.losses._batchwise import BatchwiseLoss, Kept
from keras_ext.losses._function_loss import checked

Classes: TypeAlias = Literal["present", "all"]
_NAME = "lovasz_softmax"
_CLASSES = ("present", "all")


@keras.saving.register_keras_serializable(package="keras_ext")
class LovaszSoftmax(BatchwiseLoss):
    """Segmentation loss that is a surrogate for 1 - IoU, intersection over union.

    Crossentropy counts pixels; a small object or a rare class hardly matters to it.
    This loss measures, for each class of an image, what fraction of the union of true
    and predicted pixels is not in both. For certain predictions it is 1 minus the IoU,
    and in between its convex continuation, the Lovász extension:

    `loss = mean over classes c of sum over pixels i of m[i] (J[i] - J[i - 1])`

    where the errors `m = |1[y = c] - p[c]|` of the pixels are in descending order, and
    `J[i]` is 1 minus the IoU of class `c` if the first `i` pixels of this order were
    the wrong ones. It often replaces crossentropy after some training, or is added to
    it.

    Reference: M. Berman, A. Rannen Triki, M. B. Blaschko, "The Lovász-Softmax Loss: A
    Tractable Surrogate for the Optimization of the Intersection-over-Union Measure in
    Neural Networks", 2018, https://arxiv.org/abs/1705.08790.

    Args:
        classes: `"present"` takes the mean over the classes that an image has true
            pixels of, `"all"` over all classes; an absent class then counts with the
            largest of its probabilities. Default: `"present"`.
        from_logits: Whether predictions are logits. Otherwise they are probabilities,
            which sum to 1. Default: `False`.
        ignore_class: Integer label of pixels that are left out, such as 255 or -1 for
            "void". Default: `None`, no such label.
        reduction: As in every `keras.losses.Loss`. Default: `"sum_over_batch_size"`,
            the mean over the images.
        name: Name of the loss.
        dtype: Dtype of the loss. Default: `None`, which means `keras.config.floatx()`.

    Call arguments:
        y_true: Integer labels, of any dtype.
        y_pred: Probabilities, or logits with `from_logits=True`.
        sample_weight: Weights of the images, `(batch,)` or `(batch, 1)`. Pixels have no
            weights; leave them out with `ignore_class`.

    Input shape:
        `y_pred`: `(batch, ..., classes)`, with at least one axis of pixels. `y_true`:
        `(batch, ...)` or `(batch, ..., 1)`.

    Output shape:
        A scalar; with `reduction="none"`, `(batch,)`.

    Raises:
        ValueError: If an argument is out of range; on call, if shapes do not match or,
            in eager execution, a label is not one of the classes. Compiled code cannot
            raise; there, such a label makes the loss and its gradient NaN.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import LovaszSoftmax
    >>> y_true = np.array([[0, 0, 0, 1]])  # an image of four pixels
    >>> certain = np.eye(2, dtype="float32")[np.array([[0, 0, 1, 1]])]
    >>> float(LovaszSoftmax()(y_true, certain))  # 1 - (2/3 + 1/2) / 2
    0.4167
    >>> float(LovaszSoftmax()(y_true, np.full((1, 4, 2), 0.5)))
    0.5

    Each value is computed from one whole image; images of a batch do not mix. An image
    without any pixel that counts has value 0 and is left out of the mean. Pixels that a
    mask on `y_pred` leaves out do not count. Half-precision inputs are computed in
    float32. Of equal errors, the gradient treats one as the larger.
    """

    def __init__(
        self,
        classes: Classes = "present",
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: Reduction | None = "sum_over_batch_size",
        name: str | None = _NAME,
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(
            _lovasz_softmax,
            classes=classes,
            from_logits=from_logits,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
        self._kept = KeptPixels(dtype=self.dtype)


def lovasz_softmax(
    y_true: Tensor,
    y_pred: Tensor,
    classes: Classes = "present",
    from_logits: bool = False,
    ignore_class: int | None = None,
) -> Tensor:
    """Return the Lovász-softmax loss of every image.

    The function form of `LovaszSoftmax`, which documents the formula, reference, shapes
    and errors.

    Args:
        y_true: Integer labels, `(batch, ...)` or `(batch, ..., 1)`.
        y_pred: Probabilities or logits, `(batch, ..., classes)`.
        classes: `"present"` or `"all"`.
        from_logits: Whether `y_pred` holds logits.
        ignore_class: Label of pixels that are left out.

    Returns:
        Float tensor `(batch,)`, in `y_pred`'s dtype, but at least float32.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import lovasz_softmax
    >>> y_pred = np.array([[[1.0, 0.0], [0.25, 0.75]], [[0.5, 0.5], [1.0, 0.0]]])
    >>> [float(value) for value in lovasz_softmax([[0, 1], [0, 0]], y_pred)]
    [0.1875, 0.25]
    """
    return _lovasz_softmax(y_true, y_pred, None, classes, from_logits, ignore_class)[0]


@checked(
    classes=partial(_checks.one_of, choices=_CLASSES),
    ignore_class=_checks.optional_int,
)
def _lovasz_softmax(
    y_true: Tensor,
    y_pred: Tensor,
    absent: Tensor | None,
    classes: Classes,
    from_logits: bool,
    ignore_class: int | None,
) -> tuple[Tensor, Tensor]:
    """Return the loss of every image, and the pixels for which the mean counts it."""
    shape = tuple(ops.convert_to_tensor(y_pred).shape)
    if len(shape) < 3:
        raise ValueError(
            f"{_NAME} expects y_pred of shape (batch, ..., classes), with at least one "
            f"axis of pixels. Received: y_pred.shape={shape}. If the samples are not "
            "images, use a crossentropy."
        )
    pixels = _classes.read_labels(_NAME, y_true, y_pred, ignore_class, absent=absent)
    values = _mean_extension(pixels, classes, from_logits)
    # Including those of weight 0, whose images every Keras loss counts.
    labels = ops.reshape(y_true, ops.shape(pixels.ignored))
    return values, ~_labels.is_ignored(labels, ignore_class)


def _mean_extension(
    pixels: _classes.Classified, classes: Classes, from_logits: bool
) -> Tensor:
    """Return the mean over the classes of every image, `(batch,)`."""
    p = ops.softmax(pixels.y_pred) if from_logits else pixels.y_pred
    p = ops.swapaxes(_flat(p, 1), 1, 2)
    counted = _flat(~pixels.ignored)[:, None, :]
    own = ops.swapaxes(_flat(pixels.targets > 0, 1), 1, 2) & counted
    # Not an absolute value, which has no slope at 0.
    values = _extension(ops.where(own, 1 - p, p), own, counted)
    chosen = ops.any(own, axis=-1) | (classes == "all")
    mean = ratio(
        ops.sum(ops.where(chosen, values, 0.0), axis=-1),
        ops.sum(ops.cast(chosen, values.dtype), axis=-1),
    )
    return ops.prod(_flat(pixels.factor), axis=1) * mean


def _extension(errors: Tensor, own: Tensor, counted: Tensor) -> Tensor:
    """Return the Lovász extension of 1 - IoU, along the last axis.

    The contribution of an error to 1 - IoU is written out: the difference of two nearly
    equal values would lose all precision in a large image.
    """
    least = ops.where(counted, -ops.stop_gradient(errors), float("inf"))
    order = ops.argsort(least, axis=-1)  # pixels that do not count come last
    own, counted, errors = (
        ops.take_along_axis(x, order, axis=-1)
        for x in (own, counted & ops.ones_like(own), errors)
    )
    missed = ops.cumsum(ops.cast(own, "int32"), axis=-1)
    true = missed[..., -1:]
    union = true + ops.cumsum(ops.cast(counted & ~own, "int32"), axis=-1)
    both, union, before = (
        ops.cast(x, errors.dtype) for x in (true - missed, union, union - 1)
    )
    # A pixel of the class leaves the intersection; any other joins the union, and is
    # its first pixel if the union was empty.
    joins = ops.where(before > 0, ratio(both, union * before), 1.0)
    added = ops.where(own, ratio(1.0, union), joins)
    return ops.sum(ops.where(counted, added * errors, 0.0), axis=-1)


def _flat(x: Tensor, rest: int = 0) -> Tensor:
    """Return `x` with one axis for all pixels, between the first and `rest` others."""
    shape = ops.shape(x)
    end = len(shape) - rest
    return ops.reshape(x, (shape[0], math.prod(shape[1:end]), *shape[end:]))


class KeptPixels(Kept):
    """Finds the pixels that a mask keeps."""

    def call(self, y_pred: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return True for the pixels that are not masked."""
        pixels = ops.ones_like(y_pred[..., 0], dtype="bool")
        if mask is None:
            return pixels
        missing = range(len(mask.shape), len(pixels.shape))
        return pixels & ops.expand_dims(ops.cast(mask, "bool"), tuple(missing))
