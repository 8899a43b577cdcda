"""N-pairs loss of samples that have several labels each."""

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Reduction, Tensor
from keras_ext.losses import _batchwise, _pairwise

_NAME = "n_pairs_multilabel"


@keras.saving.register_keras_serializable(package="keras_ext")
class NPairsMultilabel(_batchwise.BatchwiseLoss):
    """Crossentropy of finding, for each anchor, the positives that share its labels.

    `keras_ext.losses.NPairs` for samples with any number of labels, such as the tags
    of an image. Each sample is two inputs with the same labels, an anchor and a
    positive, embedded in the same way. With the similarities
    `S[i, j] = anchor_i . positive_j`:

    `loss = -sum over j of t[i, j] * log(softmax(S[i])[j])`

    where `t[i, j]` is proportional to the number of labels that `i` and `j` share, and
    sums to 1.

    Reference: K. Sohn, "Improved Deep Metric Learning with Multi-class N-pair Loss
    Objective", 2016, https://papers.nips.cc/paper/6200. Using shared labels as targets
    follows TensorFlow's implementation.

    Args:
        reduction: As in every `keras.losses.Loss`. Default: `"sum_over_batch_size"`.
        name: Name of the loss.
        dtype: Dtype of the loss. Default: `None`, which means `keras.config.floatx()`.

    Call arguments:
        y_true: 1 for the labels of a sample, 0 for the others.
        y_pred: Embeddings of anchor and positive, which are not normalized.
        sample_weight: Weights of the samples, `(batch,)` or `(batch, 1)`. The positive
            of a sample of weight 0 also serves as no other sample's positive or
            negative.

    Input shape:
        `y_pred`: `(batch, 2, dim)`: anchor, positive. `y_true`: `(batch, labels)`.

    Output shape:
        A scalar; with `reduction="none"`, `(batch,)`.

    Raises:
        ValueError: On call, if shapes do not match or, in eager execution, an entry of
            `y_true` is neither 0 nor 1. Compiled code cannot raise; there, such an
            entry makes the loss and its gradient NaN.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import NPairsMultilabel
    >>> anchors = np.array([[1.0, 0.0], [0.0, 2.0]])
    >>> positives = np.array([[2.0, 0.0], [0.0, 1.0]])
    >>> embeddings = np.stack([anchors, positives], axis=1)
    >>> labels = np.array([[1, 1, 0], [0, 1, 0]])  # the second label in common
    >>> loss = NPairsMultilabel(reduction="none")
    >>> [round(float(value), 4) for value in loss(labels, embeddings)]
    [0.7936, 1.1269]

    A sample without any label has value 0 and is left out of the mean, but is a
    negative of all others. A sample that is alone in the batch has value 0, and counts.
    A mask on `y_pred` leaves samples out altogether. Half-precision inputs are computed
    in float32.
    """

    def __init__(
        self,
        reduction: Reduction | None = "sum_over_batch_size",
        name: str | None = _NAME,
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(
            _n_pairs_multilabel, reduction=reduction, name=name, dtype=dtype
        )


def n_pairs_multilabel(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return the N-pairs loss of every sample, each of which has several labels.

    The function form of `NPairsMultilabel`, which documents the formula, reference and
    errors.

    Args:
        y_true: 1 for the labels of a sample, 0 for the others, `(batch, labels)`.
        y_pred: Embeddings of anchor and positive, `(batch, 2, dim)`.

    Returns:
        Float tensor `(batch,)`, in `y_pred`'s dtype, but at least float32; 0 for
        samples without a label.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import n_pairs_multilabel
    >>> embeddings = np.array([[[1.0], [3.0]], [[2.0], [2.0]]])
    >>> labels = np.array([[1, 0], [1, 1]])
    >>> [round(float(value), 4) for value in n_pairs_multilabel(labels, embeddings)]
    [0.8133, 1.4603]
    """
    return _n_pairs_multilabel(y_true, y_pred, None)[0]


def _n_pairs_multilabel(
    y_true: Tensor, y_pred: Tensor, absent: Tensor | None
) -> tuple[Tensor, Tensor]:
    x = _batchwise.embeddings(_NAME, y_pred, ("batch", 2, "dim"))
    absent = _batchwise.nobody(x) if absent is None else absent
    labels = ops.cast(y_true, x.dtype)
    _check_shape(labels, x)
    valid = ops.equal(labels, 0) | ops.equal(labels, 1) | absent[:, None]
    _check_labels(labels, valid)
    has_label = ops.any(ops.equal(labels, 1), axis=1)
    factor = ops.where(ops.all(valid), 1.0, float("nan"))
    # Absent samples may hold any labels: whatever is not 0 counts as a label.
    some = ops.any(ops.not_equal(labels, 0), axis=1)
    samples = _batchwise.Batch(labels, ~absent, absent & some, factor)
    x, labels = samples.without_absent(x), samples.without_absent(labels)
    similarity = ops.matmul(x[:, 0], ops.transpose(x[:, 1]))
    shared = ops.matmul(labels, ops.transpose(labels))
    there = samples.present[:, None] & samples.present[None, :]
    values = _pairwise.row_crossentropy(similarity, there, shared)
    return samples.settled(values, has_label)


def _check_shape(labels: Tensor, x: Tensor) -> None:
    if not _checks.shapes_agree(labels.shape, (x.shape[0], None)):
        raise ValueError(
            f"{_NAME} expects y_true of shape (batch, labels), 1 for the labels of a "
            f"sample and 0 for the others. Received: y_true.shape="
            f"{tuple(labels.shape)}, y_pred.shape={tuple(x.shape)}. For one integer "
            "label per sample, use `keras_ext.losses.NPairs`."
        )


def _check_labels(labels: Tensor, valid: Tensor) -> None:
    label = _checks.first_offender(labels, valid)
    if label is not None:
        raise ValueError(
            f"{_NAME} expects `y_true` to be 1 for the labels of a sample and 0 for "
            f"the others. Received: y_true with an entry {label:.10g}. Convert integer "
            "labels with `keras.ops.multi_hot`."
        )
