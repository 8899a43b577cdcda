"""Triplet loss of the negatives that are just farther away than the positive."""

from functools import partial

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Reduction, Tensor
from keras_ext.losses import _batchwise, _pairwise
from keras_ext.losses._function_loss import checked
from keras_ext.losses._pairwise import Distance

_NAME = "triplet_semi_hard"


@keras.saving.register_keras_serializable(package="keras_ext")
class TripletSemiHard(_batchwise.BatchwiseLoss):
    """Triplet loss with a semi-hard negative for each pair of a class.

    For embeddings in which samples of one class should lie closer together than samples
    of different classes. The hardest negatives of a batch can be too hard: they may be
    mislabeled, or early in training make a model collapse to a single point. Here each
    anchor `a` with each of its positives `p` takes the semi-hard negative `n`: the
    nearest of those that are farther away than the positive, or, if there is none, the
    farthest of all. With `D` the distance:

    `loss = mean over p of max(0, margin + D(a, p) - D(a, n))`

    Batches need several samples of each of several classes.

    Reference: F. Schroff, D. Kalenichenko, J. Philbin, "FaceNet: A Unified Embedding
    for Face Recognition and Clustering", 2015, https://arxiv.org/abs/1503.03832.

    Args:
        margin: Float of at least 0. How much farther away a negative must be than a
            positive. Default: 1.
        distance: `"euclidean"`, `"squared_euclidean"`, or `"cosine"`: 1 - cosine
            similarity. Default: `"squared_euclidean"`, as in the paper.
        ignore_class: Integer label of samples that are left out: as anchors, positives
            and negatives, and from the mean. Default: `None`, no such label.
        reduction: As in every `keras.losses.Loss`. Default: `"sum_over_batch_size"`.
        name: Name of the loss.
        dtype: Dtype of the loss. Default: `None`, which means `keras.config.floatx()`.

    Call arguments:
        y_true: Integer labels, of any dtype and size: only their equality matters.
        y_pred: Embeddings. They are not normalized, unlike in the paper.
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
    >>> from keras_ext.losses import TripletSemiHard
    >>> labels = np.array([0, 0, 1, 1])
    >>> embeddings = np.array([[0.0], [1.0], [0.5], [1.25]])
    >>> loss = TripletSemiHard(margin=1.0, reduction="none")
    >>> [float(value) for value in loss(labels, embeddings)]
    [0.4375, 1.75, 1.3125, 0.0]

    The value of an anchor is the mean over its own positives, so every anchor counts
    equally; the mean over all pairs of the batch is the same if all classes have
    equally many samples. An anchor without a positive or without a negative has value 0
    and is left out of the mean; a batch without a triplet has loss 0. A mask on
    `y_pred` leaves samples out as `ignore_class` does. Half-precision inputs are
    computed in float32. Time is of the order of `batch^2 log(batch)`, memory of
    `batch^2`.
    """

    def __init__(
        self,
        margin: float = 1.0,
        distance: Distance = "squared_euclidean",
        ignore_class: int | None = None,
        reduction: Reduction | None = "sum_over_batch_size",
        name: str | None = _NAME,
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(
            _triplet_semi_hard,
            margin=margin,
            distance=distance,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )


def triplet_semi_hard(
    y_true: Tensor,
    y_pred: Tensor,
    margin: float = 1.0,
    distance: Distance = "squared_euclidean",
    ignore_class: int | None = None,
) -> Tensor:
    """Return the mean loss of every sample's semi-hard triplets in the batch.

    The function form of `TripletSemiHard`, which documents the formula, reference and
    errors.

    Args:
        y_true: Integer labels, `(batch,)` or `(batch, 1)`.
        y_pred: Embeddings, `(batch, dim)`.
        margin: How much farther away a negative must be than a positive.
        distance: `"euclidean"`, `"squared_euclidean"` or `"cosine"`.
        ignore_class: Label of samples that are left out.

    Returns:
        Float tensor `(batch,)`, in `y_pred`'s dtype, but at least float32; 0 for
        samples that are not anchors.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import triplet_semi_hard
    >>> embeddings = np.array([[0.0], [1.0], [1.25]])
    >>> [float(value) for value in triplet_semi_hard(np.array([7, 7, 3]), embeddings)]
    [0.4375, 1.9375, 0.0]
    """
    return _triplet_semi_hard(y_true, y_pred, None, margin, distance, ignore_class)[0]


@checked(
    margin=partial(_checks.number, low=0),
    distance=_pairwise.check_distance,
    ignore_class=_checks.optional_int,
)
def _triplet_semi_hard(
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
    _, positive, negative = samples.pairs()
    distances = _pairwise.distances(x, distance)
    order, negatives = _semi_hard(ops.stop_gradient(distances), positive, negative)
    gap = _along_rows(distances, order) - _along_rows(distances, negatives)
    pairs = _along_rows(positive, order)
    values = _pairwise.row_mean(ops.maximum(margin + gap, 0.0), pairs)
    valid = ops.any(positive, axis=1) & ops.any(negative, axis=1)
    return samples.settled(values, valid)


def _semi_hard(
    distances: Tensor, positive: Tensor, negative: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the columns of each row by distance, and the negatives that they take."""
    # Positives come after equally distant negatives, which are not semi-hard.
    keys = ops.where(positive, _pairwise.just_above(distances), distances)
    order = ops.argsort(keys, axis=1)
    number = ops.cast(negative, "int32")
    not_further = ops.cumsum(_along_rows(number, order), axis=1)
    last = ops.maximum(ops.sum(number, axis=1, keepdims=True) - 1, 0)
    by_distance = ops.argsort(ops.where(negative, distances, float("inf")), axis=1)
    return order, _along_rows(by_distance, ops.minimum(not_further, last))


def _along_rows(matrix: Tensor, columns: Tensor) -> Tensor:
    """Return `matrix[i, columns[i, j]]`, also for an empty batch."""
    size = ops.shape(matrix)[0]
    first = size * ops.arange(size, dtype="int32")[:, None]
    flat = ops.take(ops.reshape(matrix, (-1,)), ops.cast(columns, "int32") + first)
    return ops.reshape(flat, (size, size))
