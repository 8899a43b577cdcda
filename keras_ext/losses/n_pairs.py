"""N-pairs loss: each anchor's own positive among all positives of the batch."""

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Reduction, Tensor
from keras_ext.losses import _batchwise, _pairwise
from keras_ext.losses._function_loss import checked

_NAME = "n_pairs"


@keras.saving.register_keras_serializable(package="keras_ext")
class NPairs(_batchwise.BatchwiseLoss):
    """Crossentropy of finding each anchor's class among the positives of the batch.

    For embeddings in which samples of one class should be more alike than samples of
    different classes, from pairs: each sample is two inputs of one class, an anchor and
    a positive, embedded in the same way. The positives of other classes in the batch
    are an anchor's negatives. With the similarities `S[i, j] = anchor_i . positive_j`:

    `loss = -sum over j of t[i, j] * log(softmax(S[i])[j])`

    where `t[i, j]` is the same for all `j` of `i`'s class, including `i` itself, 0 for
    others, and sums to 1.

    Reference: K. Sohn, "Improved Deep Metric Learning with Multi-class N-pair Loss
    Objective", 2016, https://papers.nips.cc/paper/6200.

    Args:
        ignore_class: Integer label of samples that are left out: as anchors, positives
            and negatives, and from the mean. Default: `None`, no such label.
        reduction: As in every `keras.losses.Loss`. Default: `"sum_over_batch_size"`.
        name: Name of the loss.
        dtype: Dtype of the loss. Default: `None`, which means `keras.config.floatx()`.

    Call arguments:
        y_true: Integer labels, of any dtype and size: only their equality matters.
        y_pred: Embeddings of anchor and positive, which are not normalized.
        sample_weight: Weights of the samples, `(batch,)` or `(batch, 1)`. The positive
            of a sample of weight 0 also serves as no other sample's positive or
            negative.

    Input shape:
        `y_pred`: `(batch, 2, dim)`: anchor, positive. `y_true`: `(batch,)` or
        `(batch, 1)`.

    Output shape:
        A scalar; with `reduction="none"`, `(batch,)`.

    Raises:
        ValueError: If `ignore_class` is not an integer; on call, if shapes do not match
            or, in eager execution, a label is not a whole number. Compiled code cannot
            raise; there, such a label makes the loss and its gradient NaN.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import NPairs
    >>> anchors = np.array([[1.0, 0.0], [0.0, 2.0]])
    >>> positives = np.array([[2.0, 0.0], [0.0, 1.0]])
    >>> embeddings = np.stack([anchors, positives], axis=1)
    >>> float(NPairs()(np.array([0, 1]), embeddings))  # log(1 + exp(-2)) for both
    0.1269
    >>> float(NPairs()(np.array([5, 5]), embeddings))
    1.1269

    A sample that is alone in the batch has value 0, and counts in the mean. A mask on
    `y_pred` leaves samples out as `ignore_class` does. Half-precision inputs are
    computed in float32. The paper also keeps embeddings short with an L2 penalty; use
    an activity regularizer in the model for that. For samples with several labels, see
    `keras_ext.losses.NPairsMultilabel`.
    """

    def __init__(
        self,
        ignore_class: int | None = None,
        reduction: Reduction | None = "sum_over_batch_size",
        name: str | None = _NAME,
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(
            _n_pairs,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )


def n_pairs(y_true: Tensor, y_pred: Tensor, ignore_class: int | None = None) -> Tensor:
    """Return the N-pairs loss of every sample.

    The function form of `NPairs`, which documents the formula, reference and errors.

    Args:
        y_true: Integer labels, `(batch,)` or `(batch, 1)`.
        y_pred: Embeddings of anchor and positive, `(batch, 2, dim)`.
        ignore_class: Label of samples that are left out.

    Returns:
        Float tensor `(batch,)`, in `y_pred`'s dtype, but at least float32; 0 for
        samples that are left out.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import n_pairs
    >>> embeddings = np.array([[[1.0], [3.0]], [[2.0], [2.0]]])
    >>> [round(float(value), 4) for value in n_pairs(np.array([0, 1]), embeddings)]
    [0.3133, 2.1269]
    """
    return _n_pairs(y_true, y_pred, None, ignore_class)[0]


@checked(ignore_class=_checks.optional_int)
def _n_pairs(
    y_true: Tensor, y_pred: Tensor, absent: Tensor | None, ignore_class: int | None
) -> tuple[Tensor, Tensor]:
    x = _batchwise.embeddings(_NAME, y_pred, ("batch", 2, "dim"))
    samples = _batchwise.labelled(_NAME, y_true, x, ignore_class, absent)
    x = samples.without_absent(x)
    itself, positive, negative = samples.pairs()
    similarity = ops.matmul(x[:, 0], ops.transpose(x[:, 1]))
    own = itself | positive
    values = _pairwise.row_crossentropy(similarity, own | negative, own)
    return samples.settled(values, samples.present)
