"""Lifted structured loss: each pair of a class against all negatives of both."""

from functools import partial

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Reduction, Tensor
from keras_ext.losses import _batchwise, _pairwise
from keras_ext.losses._function_loss import checked
from keras_ext.losses._pairwise import Distance

_NAME = "lifted_struct"


@keras.saving.register_keras_serializable(package="keras_ext")
class LiftedStruct(_batchwise.BatchwiseLoss):
    """Loss of each pair of a class against all its negatives in the batch.

    For embeddings in which samples of one class should lie closer together than samples
    of different classes. While a triplet has one negative, here all of them contribute,
    the nearest most. With `D` the distance, `k` over the negatives of `i` and `l` over
    those of `j`, a pair of the same class has the value

    `J(i, j) = log(sum_k exp(margin - D(i, k)) + sum_l exp(margin - D(j, l))) + D(i, j)`

    and a sample has the mean over its positives `j`:

    `loss = mean over j of max(0, J(i, j))^2 / 2`

    Batches need several samples of each of several classes.

    Reference: H. Oh Song, Y. Xiang, S. Jegelka, S. Savarese, "Deep Metric Learning via
    Lifted Structured Feature Embedding", 2016, https://arxiv.org/abs/1511.06452.

    Args:
        margin: Float of at least 0. Minimum distance that negatives should have.
            Default: 1.
        distance: `"euclidean"`, `"squared_euclidean"`, or `"cosine"`: 1 - cosine
            similarity. Default: `"euclidean"`.
        ignore_class: Integer label of samples that are left out: as anchors, positives
            and negatives, and from the mean. Default: `None`, no such label.
        reduction: As in every `keras.losses.Loss`. Default: `"sum_over_batch_size"`.
        name: Name of the loss.
        dtype: Dtype of the loss. Default: `None`, which means `keras.config.floatx()`.

    Call arguments:
        y_true: Integer labels, of any dtype and size: only their equality matters.
        y_pred: Embeddings. They are not normalized.
        sample_weight: Weights of the anchors, `(batch,)` or `(batch, 1)`. A sample of
            weight 0 also serves as no other sample's positive or negative.

    Input shape:
        `y_pred`: `(batch, dim)`. `y_true`: `(batch,)` or `(batch, 1)`.

    Output shape:
        A scalar; with `reduction="none"`, `(batch,)`.

    Raises:
        ValueError: If an argument is out of range; on call, if shapes do not match or,
            in eager execution, a label is not a whole number. Compiled code cannot
            raise; there, such a label makes the loss and its gradient NaN.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import LiftedStruct
    >>> labels = np.array([0, 0, 1])
    >>> embeddings = np.array([[0.0], [0.5], [1.0]])
    >>> loss = LiftedStruct(margin=1.0)
    >>> float(loss(labels, embeddings))  # (log(exp(0) + exp(0.5)) + 0.5)^2 / 2
    1.0865

    The value of a sample is the mean over its own positives, so every sample counts
    equally; the mean over all pairs of the batch, as in the paper, is the same if all
    classes have equally many samples. A sample without a positive or without a negative
    has value 0 and is left out of the mean; a batch without a pair has loss 0. A mask
    on `y_pred` leaves samples out as `ignore_class` does. Half-precision inputs are
    computed in float32. The paper's distances are Euclidean; the slope at a distance of
    0 is taken as 0. Memory is of the order of `batch^2`.
    """

    def __init__(
        self,
        margin: float = 1.0,
        distance: Distance = "euclidean",
        ignore_class: int | None = None,
        reduction: Reduction | None = "sum_over_batch_size",
        name: str | None = _NAME,
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(
            _lifted_struct,
            margin=margin,
            distance=distance,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )


def lifted_struct(
    y_true: Tensor,
    y_pred: Tensor,
    margin: float = 1.0,
    distance: Distance = "euclidean",
    ignore_class: int | None = None,
) -> Tensor:
    """Return the lifted structured loss of every sample, the mean over its positives.

    The function form of `LiftedStruct`, which documents the formula, reference and
    errors.

    Args:
        y_true: Integer labels, `(batch,)` or `(batch, 1)`.
        y_pred: Embeddings, `(batch, dim)`.
        margin: Minimum distance that negatives should have.
        distance: `"euclidean"`, `"squared_euclidean"` or `"cosine"`.
        ignore_class: Label of samples that are left out.

    Returns:
        Float tensor `(batch,)`, in `y_pred`'s dtype, but at least float32; 0 for
        samples without a positive or without a negative.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import lifted_struct
    >>> embeddings = np.array([[0.0], [0.5], [1.0]])
    >>> [round(float(v), 4) for v in lifted_struct(np.array([7, 7, 3]), embeddings)]
    [1.0865, 1.0865, 0.0]
    """
    return _lifted_struct(y_true, y_pred, None, margin, distance, ignore_class)[0]


@checked(
    margin=partial(_checks.number, low=0),
    distance=_pairwise.check_distance,
    ignore_class=_checks.optional_int,
)
def _lifted_struct(
    y_true: Tensor,
    y_pred: Tensor,
    absent: Tensor | None,
    margin: float,
    distance: Distance,
    ignore_class: int | None,
) -> tuple[Tensor, Tensor]:
    x = _batchwise.embeddings(_NAME, y_pred, ("batch", "dim"))
    samples = _batchwise.labelled(_NAME, y_true, x, ignore_class, absent)
    x = samples.without_absent(x)
    itself, positive, negative = samples.pairs()
    distances = _pairwise.distances(x, distance)
    push = _pairwise.row_log_sum_exp(margin - distances, negative)
    # Not `logaddexp`, whose gradient goes to only one of two equal arguments in Keras.
    both = push[:, None] + ops.softplus(push[None, :] - push[:, None])
    # Classes may be compact and far from each other.
    pull = _pairwise.distances(x, distance, _first_of_class(x, itself | positive))
    values = ops.square(ops.maximum(both + pull, 0.0)) / 2.0
    valid = ops.any(positive, axis=1) & ops.any(negative, axis=1)
    return samples.settled(_pairwise.row_mean(values, positive), valid)


def _first_of_class(x: Tensor, own: Tensor) -> Tensor:
    """Return, for each row of `x`, the first row of its class."""
    last = ops.shape(x)[0] - 1
    column = ops.where(own, ops.arange(last + 1, dtype="int32"), last)
    return ops.take(x, ops.min(column, axis=1, initial=last), axis=0)
