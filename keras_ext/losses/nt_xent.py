"""Normalized temperature-scaled crossentropy: the loss of SimCLR."""

from functools import partial

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Reduction, Tensor
from keras_ext.losses import _batchwise
from keras_ext.losses._function_loss import checked

_NAME = "nt_xent"


@keras.saving.register_keras_serializable(package="keras_ext")
class NTXent(_batchwise.BatchwiseLoss):
    """Crossentropy of finding the other view of a sample among all in the batch.

    For embeddings learned without labels, as in SimCLR: each sample comes as two
    views, different augmentations of one input, and all other samples of the batch are
    negatives. With `z` the embeddings divided by their norm, `p` the other view of `a`
    and `k` over all embeddings of the batch except `a`:

    `loss = -log(exp(z_a.z_p / T) / sum_k exp(z_a.z_k / T))`

    averaged over the two views of a sample.

    Reference: T. Chen, S. Kornblith, M. Norouzi, G. Hinton, "A Simple Framework for
    Contrastive Learning of Visual Representations", 2020,
    https://arxiv.org/abs/2002.05709.

    Args:
        temperature: Float above 0, `T`. The lower it is, the more the nearest negatives
            count. Default: 0.1.
        reduction: As in every `keras.losses.Loss`. Default: `"sum_over_batch_size"`.
        name: Name of the loss.
        dtype: Dtype of the loss. Default: `None`, which means `keras.config.floatx()`.

    Call arguments:
        y_true: Not used, may be `None`.
        y_pred: Embeddings of two views. The loss normalizes them.
        sample_weight: Weights of the samples, `(batch,)` or `(batch, 1)`. A sample of
            weight 0 also serves as no other sample's negative.

    Input shape:
        `y_pred`: `(batch, 2, dim)`.

    Output shape:
        A scalar; with `reduction="none"`, `(batch,)`.

    Raises:
        ValueError: If `temperature` is out of range; on call, if shapes do not match.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import NTXent
    >>> views = np.array([[[1.0, 0.0], [2.0, 0.0]], [[0.0, 1.0], [0.0, 3.0]]])
    >>> float(NTXent(temperature=0.5)(None, views))  # log(1 + 2 * exp(-2))
    0.2395

    Works with `Model.fit(x)`, without targets. A sample that is alone in the batch has
    value 0, and counts in the mean. A mask on `y_pred` leaves samples out altogether.
    Half-precision inputs are computed in float32. An embedding of zeros stays zero,
    with gradient 0. With labels, use `keras_ext.losses.SupervisedContrastive`.
    """

    def __init__(
        self,
        temperature: float = 0.1,
        reduction: Reduction | None = "sum_over_batch_size",
        name: str | None = _NAME,
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(
            _nt_xent,
            temperature=temperature,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )


def nt_xent(y_true: Tensor, y_pred: Tensor, temperature: float = 0.1) -> Tensor:
    """Return the crossentropy of every sample's two views.

    The function form of `NTXent`, which documents the formula, reference and errors.

    Args:
        y_true: Not used, may be `None`.
        y_pred: Embeddings of two views, `(batch, 2, dim)`.
        temperature: Float above 0.

    Returns:
        Float tensor `(batch,)`, in `y_pred`'s dtype, but at least float32.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import nt_xent
    >>> views = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 2.0], [0.0, 3.0]]])
    >>> [round(float(value), 4) for value in nt_xent(None, views, temperature=1.0)]
    [1.4803, 0.862]
    """
    return _nt_xent(y_true, y_pred, None, temperature)[0]


@checked(temperature=partial(_checks.number, low=0, open_low=True))
def _nt_xent(
    y_true: Tensor, y_pred: Tensor, absent: Tensor | None, temperature: float
) -> tuple[Tensor, Tensor]:
    x = _batchwise.embeddings(_NAME, y_pred, ("batch", 2, "dim"))
    absent = _batchwise.nobody(x) if absent is None else absent
    each_its_own = ops.arange(ops.shape(x)[0], dtype="int32")
    samples = _batchwise.Batch(each_its_own, ~absent, absent, 1.0)
    return _batchwise.contrast_of_views(x, samples, temperature)
