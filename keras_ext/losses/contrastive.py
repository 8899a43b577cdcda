"""Contrastive loss: similar pairs close together, others a margin apart."""

from functools import partial

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._numerics import at_least_float32
from keras_ext._types import Reduction, Shape, Tensor
from keras_ext.losses._function_loss import checked
from keras_ext.losses._weighted import WeightedLoss

_NAME = "contrastive"


@keras.saving.register_keras_serializable(package="keras_ext")
class Contrastive(WeightedLoss):
    """Loss of the distance between two embeddings that are similar or dissimilar.

    For a model that embeds two inputs and returns how far apart they are, as a Siamese
    network does. Similar pairs are drawn together; dissimilar ones are pushed apart
    until they are `margin` apart. With `y` 1 for a similar pair and 0 for a dissimilar
    one, and `d` the distance:

    `loss = y * d^2 + (1 - y) * max(margin - d, 0)^2`

    averaged over the last axis, if there is one other than the batch.

    Reference: R. Hadsell, S. Chopra, Y. LeCun, "Dimensionality Reduction by Learning
    an Invariant Mapping", 2006, https://doi.org/10.1109/CVPR.2006.100. The paper uses
    half of this.

    Args:
        margin: Float of at least 0. Distance at which a dissimilar pair is far enough
            apart. Default: 1.
        reduction: As in every `keras.losses.Loss`. Default: `"sum_over_batch_size"`.
        name: Name of the loss.
        dtype: Dtype of the loss. Default: `None`, which means `keras.config.floatx()`.

    Call arguments:
        y_true: 1 for similar pairs, 0 for dissimilar ones; or a degree of similarity in
            between.
        y_pred: Non-negative distances of the pairs.
        sample_weight: Weights of the pairs.

    Input shape:
        `y_pred`: `(batch,)` or `(batch, ..., distances)`. `y_true`: the same;
        `(batch,)` and `(batch, 1)` go together.

    Output shape:
        A scalar; with `reduction="none"`, `y_pred`'s shape without the last axis, and
        `(batch,)` for `(batch,)`.

    Raises:
        ValueError: If `margin` is out of range; on call, if shapes do not match or, in
            eager execution, `y_true` is not in [0, 1]. Compiled code cannot raise;
            there, such a target makes the loss and its gradient NaN.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import Contrastive
    >>> loss = Contrastive(margin=1.0)
    >>> distances = np.array([0.5, 0.25, 2.0])
    >>> float(loss(np.array([1, 0, 0]), distances))  # (0.25 + 0.5625 + 0) / 3
    0.2708

    A mask on `y_pred` is respected. Half-precision inputs are computed in float32. The
    loss needs the distance, not its square: take the root with care, since its slope at
    0 is infinite. Losses over all pairs of a batch, such as
    `keras_ext.losses.TripletHard`, require neither pairs nor distances.
    """

    def __init__(
        self,
        margin: float = 1.0,
        reduction: Reduction | None = "sum_over_batch_size",
        name: str | None = _NAME,
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(
            contrastive, margin=margin, reduction=reduction, name=name, dtype=dtype
        )

    def _values_shape(self, y_pred_shape: Shape) -> Shape:
        return y_pred_shape[:-1] or y_pred_shape


@checked(margin=partial(_checks.number, low=0))
def contrastive(y_true: Tensor, y_pred: Tensor, margin: float = 1.0) -> Tensor:
    """Return the contrastive loss of every sample, the mean over the last axis.

    The function form of `Contrastive`, which documents the formula, reference and
    errors.

    Args:
        y_true: 1 for similar pairs, 0 for dissimilar ones, of `y_pred`'s shape.
        y_pred: Distances, `(batch,)` or `(batch, ..., distances)`.
        margin: Distance at which a dissimilar pair costs nothing.

    Returns:
        Float tensor of `y_pred`'s shape without the last axis, or `(batch,)`, in
        `y_pred`'s dtype, but at least float32.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import contrastive
    >>> values = contrastive(np.array([1, 0]), np.array([0.5, 0.25]))
    >>> [float(value) for value in values]
    [0.25, 0.5625]
    """
    distance = at_least_float32(y_pred)
    similar = _similarity(ops.cast(y_true, distance.dtype), distance)
    short = ops.maximum(margin - distance, 0.0)
    values = similar * ops.square(distance) + (1.0 - similar) * ops.square(short)
    return ops.mean(values, axis=-1) if len(values.shape) > 1 else values


def _similarity(y_true: Tensor, distance: Tensor) -> Tensor:
    """Return `y_true` in the shape of `distance`, NaN where it is not valid."""
    true, predicted = tuple(y_true.shape), tuple(distance.shape)
    if predicted[1:] in ((), (1,)) and true[1:] in ((), (1,)):
        y_true = ops.reshape(y_true, (-1, *predicted[1:]))
    if not predicted or not _checks.shapes_agree(y_true.shape, predicted):
        raise ValueError(
            f"{_NAME} expects one distance for each target, y_true and y_pred of the "
            "same shape (batch,) or (batch, ..., distances). "
            f"Received: y_true.shape={true}, y_pred.shape={predicted}"
        )
    valid = (y_true >= 0) & (y_true <= 1)
    target = _checks.first_offender(y_true, valid)
    if target is not None:
        raise ValueError(
            f"{_NAME} expects `y_true` to be 1 for similar pairs and 0 for dissimilar "
            f"ones, or in between. Received: y_true with a value {target:.10g}."
        )
    return ops.where(valid, y_true, float("nan"))
