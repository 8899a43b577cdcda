"""Supervised contrastive loss: samples of the class among all in the batch."""

from functools import partial

import keras

from keras_ext import _checks
from keras_ext._types import Reduction, Tensor
from keras_ext.losses import _batchwise
from keras_ext.losses._function_loss import checked

_NAME = "supervised_contrastive"


@keras.saving.register_keras_serializable(package="keras_ext")
class SupervisedContrastive(_batchwise.BatchwiseLoss):
    """Crossentropy of finding the samples of the same class among all in the batch.

    For embeddings in which samples of one class should be more alike than samples of
    different classes; a classifier is then trained on the fixed embeddings. Each sample
    may come as several views, such as different augmentations of one image, which are
    positives of each other. With `z` the embeddings divided by their norm, `P` the
    positives of `a`, and `k` over all embeddings of the batch except `a`:

    `loss = -1/|P| * sum over p in P of log(exp(z_a.z_p / T) / sum_k exp(z_a.z_k / T))`

    averaged over the views of a sample.

    Reference: P. Khosla, P. Teterwak, C. Wang, A. Sarna, Y. Tian, P. Isola,
    A. Maschinot, C. Liu, D. Krishnan, "Supervised Contrastive Learning", 2020,
    https://arxiv.org/abs/2004.11362, the loss called `L_out`.

    Args:
        temperature: Float above 0, `T`. The lower it is, the more the nearest negatives
            count. Default: 0.1.
        ignore_class: Integer label of samples that are left out: as anchors, positives
            and negatives, and from the mean. Default: `None`, no such label.
        reduction: As in every `keras.losses.Loss`. Default: `"sum_over_batch_size"`.
        name: Name of the loss.
        dtype: Dtype of the loss. Default: `None`, which means `keras.config.floatx()`.

    Call arguments:
        y_true: Integer labels, of any dtype and size: only their equality matters.
        y_pred: Embeddings. The loss normalizes them.
        sample_weight: Weights of the anchors, `(batch,)` or `(batch, 1)`. A sample of
            weight 0 also serves as no other sample's positive or negative.

    Input shape:
        `y_pred`: `(batch, dim)` or `(batch, views, dim)`. `y_true`: `(batch,)` or
        `(batch, 1)`.

    Output shape:
        A scalar; with `reduction="none"`, `(batch,)`.

    Raises:
        ValueError: If an argument is out of range; on call, if shapes do not match or,
            in eager execution, a label is not a whole number. Compiled code cannot
            raise; there, such a label makes the loss and its gradient NaN.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import SupervisedContrastive
    >>> embeddings = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    >>> loss = SupervisedContrastive(temperature=0.5)
    >>> float(loss(np.array([0, 0, 1, 1]), embeddings))  # log(1 + 2 * exp(-2))
    0.2395
    >>> views = embeddings.reshape(2, 2, 2)
    >>> float(loss(np.array([0, 1]), views))
    0.2395

    A sample without a positive has value 0 and is left out of the mean; a batch without
    a pair has loss 0. A mask on `y_pred` leaves samples out as `ignore_class` does.
    Half-precision inputs are computed in float32. An embedding of zeros stays zero,
    with gradient 0. Without labels, use `keras_ext.losses.NTXent`.
    """

    def __init__(
        self,
        temperature: float = 0.1,
        ignore_class: int | None = None,
        reduction: Reduction | None = "sum_over_batch_size",
        name: str | None = _NAME,
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(
            _supervised_contrastive,
            temperature=temperature,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )


def supervised_contrastive(
    y_true: Tensor,
    y_pred: Tensor,
    temperature: float = 0.1,
    ignore_class: int | None = None,
) -> Tensor:
    """Return the supervised contrastive loss of every sample.

    The function form of `SupervisedContrastive`, which documents the formula, reference
    and errors.

    Args:
        y_true: Integer labels, `(batch,)` or `(batch, 1)`.
        y_pred: Embeddings, `(batch, dim)` or `(batch, views, dim)`.
        temperature: Float above 0.
        ignore_class: Label of samples that are left out.

    Returns:
        Float tensor `(batch,)`, in `y_pred`'s dtype, but at least float32; 0 for
        samples without a positive.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import supervised_contrastive
    >>> embeddings = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> values = supervised_contrastive(np.array([7, 7, 3]), embeddings, 1.0)
    >>> [round(float(value), 4) for value in values]
    [0.3133, 0.3133, 0.0]
    """
    return _supervised_contrastive(y_true, y_pred, None, temperature, ignore_class)[0]


@checked(
    temperature=partial(_checks.number, low=0, open_low=True),
    ignore_class=_checks.optional_int,
)
def _supervised_contrastive(
    y_true: Tensor,
    y_pred: Tensor,
    absent: Tensor | None,
    temperature: float,
    ignore_class: int | None,
) -> tuple[Tensor, Tensor]:
    x = _batchwise.embeddings(
        _NAME, y_pred, ("batch", "dim"), ("batch", "views", "dim")
    )
    samples = _batchwise.labelled(_NAME, y_true, x, ignore_class, absent)
    return _batchwise.contrast_of_views(
        x if len(x.shape) == 3 else x[:, None], samples, temperature
    )
