"""Triplet loss of the hardest positive and the hardest negative in the batch."""

from functools import partial

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Reduction, Tensor
from keras_ext.losses import _batchwise, _pairwise
from keras_ext.losses._function_loss import checked
from keras_ext.losses._pairwise import Distance

_NAME = "triplet_hard"


@keras.saving.register_keras_serializable(package="keras_ext")
class TripletHard(_batchwise.BatchwiseLoss):
    """Triplet loss with the farthest positive and the nearest negative of each sample.

    For embeddings in which samples of one class should lie closer together than samples
    of different classes. A triplet is an anchor, a positive of the same class and a
    negative of another one. Of all triplets in the batch, each sample `a` as an anchor
    takes the hardest, with `D` the distance, `p` over its positives and `n` over its
    negatives:

    `loss = max(0, margin + max_p D(a, p) - min_n D(a, n))`

    or, with `soft_margin=True`, which never ignores a triplet entirely:

    `loss = log(1 + exp(max_p D(a, p) - min_n D(a, n)))`

    Batches need several samples of each of several classes.

    Reference: A. Hermans, L. Beyer, B. Leibe, "In Defense of the Triplet Loss for
    Person Re-Identification", 2017, https://arxiv.org/abs/1703.07737.

    Args:
        margin: Float of at least 0. How much farther away a negative must be than a
            positive. Default: 1.
        distance: `"euclidean"`, `"squared_euclidean"`, or `"cosine"`: 1 - cosine
            similarity. Default: `"euclidean"`.
        soft_margin: Whether to use the soft form, which has no margin; `margin` must
            then be left at its default. Default: `False`.
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
    >>> from keras_ext.losses import TripletHard
    >>> labels = np.array([0, 0, 1, 1])
    >>> embeddings = np.array([[0.0], [1.0], [1.5], [4.0]])
    >>> loss = TripletHard(margin=1.0, reduction="none")
    >>> [float(value) for value in loss(labels, embeddings)]
    [0.5, 1.5, 3.0, 0.5]

    An anchor without a positive or without a negative has value 0 and is left out of
    the mean; a batch without a triplet has loss 0. A mask on `y_pred` leaves samples
    out as `ignore_class` does. Half-precision inputs are computed in float32. Identical
    embeddings have distance 0, and its slope is taken as 0.
    """

    def __init__(
        self,
        margin: float = 1.0,
        distance: Distance = "euclidean",
        soft_margin: bool = False,
        ignore_class: int | None = None,
        reduction: Reduction | None = "sum_over_batch_size",
        name: str | None = _NAME,
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(
            _triplet_hard,
            margin=margin,
            distance=distance,
            soft_margin=soft_margin,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )


def triplet_hard(
    y_true: Tensor,
    y_pred: Tensor,
    margin: float = 1.0,
    distance: Distance = "euclidean",
    soft_margin: bool = False,
    ignore_class: int | None = None,
) -> Tensor:
    """Return the loss of every sample's hardest triplet in the batch.

    The function form of `TripletHard`, which documents the formula, reference and
    errors.

    Args:
        y_true: Integer labels, `(batch,)` or `(batch, 1)`.
        y_pred: Embeddings, `(batch, dim)`.
        margin: How much farther away a negative must be than a positive.
        distance: `"euclidean"`, `"squared_euclidean"` or `"cosine"`.
        soft_margin: Whether to use the soft form, which has no margin.
        ignore_class: Label of samples that are left out.

    Returns:
        Float tensor `(batch,)`, in `y_pred`'s dtype, but at least float32; 0 for
        samples that are not anchors.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import triplet_hard
    >>> embeddings = np.array([[0.0], [1.0], [1.5]])
    >>> [float(value) for value in triplet_hard(np.array([7, 7, 3]), embeddings)]
    [0.5, 1.5, 0.0]
    """
    return _triplet_hard(
        y_true, y_pred, None, margin, distance, soft_margin, ignore_class
    )[0]


def _soft_has_no_margin(margin: float, soft_margin: bool) -> None:
    if soft_margin and margin != 1:
        raise ValueError(
            "`margin` must be left at its default of 1 with `soft_margin=True`, which "
            f"has no margin. Received: margin={margin:g}"
        )


@checked(
    _soft_has_no_margin,
    margin=partial(_checks.number, low=0),
    distance=_pairwise.check_distance,
    ignore_class=_checks.optional_int,
)
def _triplet_hard(
    y_true: Tensor,
    y_pred: Tensor,
    absent: Tensor | None,
    margin: float,
    distance: Distance,
    soft_margin: bool,
    ignore_class: int | None,
) -> tuple[Tensor, Tensor]:
    x = _batchwise.embeddings(_NAME, y_pred, ("batch", "dim"))
    samples = _batchwise.labelled(_NAME, y_true, x, ignore_class, absent)
    x = samples.without_absent(x)
    _, positive, negative = samples.pairs()
    # Only to choose by: the distances that count are computed from the chosen
    # embeddings, since those of very close ones lose precision in the product of all
    # pairs.
    distances = ops.stop_gradient(_pairwise.distances(x, distance))
    furthest = _highest_of(ops.where(positive, distances, -float("inf")))
    nearest = _highest_of(ops.where(negative, -distances, -float("inf")))
    gap = _pairwise.paired(x, ops.take(x, furthest, axis=0), distance)
    gap -= _pairwise.paired(x, ops.take(x, nearest, axis=0), distance)
    values = ops.softplus(gap) if soft_margin else ops.maximum(gap + margin, 0.0)
    valid = ops.any(positive, axis=1) & ops.any(negative, axis=1)
    return samples.settled(values, valid)


def _highest_of(scores: Tensor) -> Tensor:
    """Return the index of each row's maximum, also for an empty batch."""
    # An empty row has no maximum, which is an error; a longer row has one.
    return ops.argmax(
        ops.pad(scores, ((0, 0), (0, 1)), constant_values=-float("inf")), axis=1
    )
