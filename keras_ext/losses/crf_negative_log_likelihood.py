"""Negative log-likelihood of a sequence of tags under a conditional random field."""

import keras
from keras import ops

from keras_ext import _checks, _labels, _linear_chain
from keras_ext._types import Reduction, Shape, Tensor
from keras_ext.losses._weighted import WeightedLoss

_NAME = "crf_negative_log_likelihood"


@keras.saving.register_keras_serializable(package="keras_ext")
class CRFNegativeLogLikelihood(WeightedLoss):
    """Loss for a model that ends in `keras_ext.layers.CRF`.

    The model returns potentials; every sequence of tags has a score, the sum of the
    potentials along it, and a probability, `exp(score) / Z`. The loss measures how
    unlikely the true tags `y` are:

    `loss = log Z - score(y)`, with `Z = sum over all sequences of exp(score)`

    It is one number for each sequence, the sum over its steps.

    Reference: J. Lafferty, A. McCallum, F. Pereira, "Conditional Random Fields:
    Probabilistic Models for Segmenting and Labeling Sequence Data", 2001; G. Lample,
    M. Ballesteros, S. Subramanian, K. Kawakami, C. Dyer, "Neural Architectures for
    Named Entity Recognition", 2016, https://arxiv.org/abs/1603.01360.

    Args:
        reduction: As in every `keras.losses.Loss`. Default: `"sum_over_batch_size"`,
            the mean over the sequences.
        name: Name of the loss.
        dtype: Dtype of the loss. Default: `None`, which means `keras.config.floatx()`.

    Call arguments:
        y_true: Integer tags, of any dtype. Those of masked steps are not read.
        y_pred: Potentials, as `keras_ext.layers.CRF` returns them.
        sample_weight: Weights of the sequences, `(batch,)` or `(batch, 1)`. Steps have
            no weights; leave them out with the mask of `CRF`.

    Input shape:
        `y_pred`: `(batch, time, tags, tags)`. `y_true`: `(batch, time)` or
        `(batch, time, 1)`.

    Output shape:
        A scalar; with `reduction="none"`, `(batch,)`.

    Raises:
        ValueError: On call, if shapes do not match or, in eager execution, the tag of
            an unmasked step is not valid. Compiled code cannot raise; there, such a tag
            makes the loss and its gradient NaN.

    Example:

    >>> import numpy as np
    >>> from keras_ext.layers import CRF
    >>> from keras_ext.losses import CRFNegativeLogLikelihood
    >>> layer = CRF(2, transition_initializer="zeros")
    >>> potentials = layer(np.array([[[2.0, 0.0], [0.0, 0.0]]]))
    >>> loss = CRFNegativeLogLikelihood()
    >>> float(loss(np.array([[0, 1]]), potentials))
    0.8201
    >>> float(loss(np.array([[1, 1]]), potentials))
    2.8201

    Masked steps are recognized by their potentials, so nothing may come between the
    layer and the loss. A sequence without any steps has loss 0, and counts in the mean.
    Half-precision inputs are computed in float32. Differences from the true sequence
    are summed instead of scores, so that a small loss of a long sequence keeps its
    precision.
    """

    def __init__(
        self,
        reduction: Reduction | None = "sum_over_batch_size",
        name: str | None = _NAME,
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(
            crf_negative_log_likelihood, reduction=reduction, name=name, dtype=dtype
        )

    def _values_shape(self, y_pred_shape: Shape) -> Shape:
        return y_pred_shape[:1]

    def _check_weights(self, weights: Shape, y_pred_shape: Shape) -> None:
        if len(weights) > 2 or (len(weights) == 2 and weights[1] != 1):
            raise ValueError(
                f"{self.name} expects one `sample_weight` for each sequence, of "
                "shape (batch,) or (batch, 1). Received: "
                f"sample_weight.shape={weights}. Mask the steps to leave out: "
                "`CRF(...)(emissions, mask)`."
            )


def crf_negative_log_likelihood(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return the negative log-likelihood of every sequence of tags.

    The function form of `CRFNegativeLogLikelihood`, which documents the formula,
    reference, shapes and errors.

    Args:
        y_true: Integer tags, `(batch, time)` or `(batch, time, 1)`.
        y_pred: Potentials, `(batch, time, tags, tags)`.

    Returns:
        Float tensor `(batch,)`, in `y_pred`'s dtype, but at least float32.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import crf_negative_log_likelihood
    >>> potentials = np.zeros((1, 3, 2, 2), "float32")  # 8 paths, all equally likely
    >>> float(crf_negative_log_likelihood(np.array([[0, 1, 1]]), potentials)[0])
    2.0794
    """
    potentials = _linear_chain.as_potentials(_NAME, y_pred)
    num_tags = potentials.shape[-1]
    labels = _one_per_step(y_true, tuple(potentials.shape))
    masked = _linear_chain.is_masked(potentials)
    valid = _labels.in_range(_NAME, labels, num_tags) | masked
    hint = "Mask steps without a tag: `CRF(...)(emissions, mask)`."
    _labels.check(_NAME, "y_true", labels, valid, num_tags, hint)
    tags = ops.cast(ops.where(valid & ~masked, labels, 0), "int32")

    potentials -= _along_path(potentials, _carried_on(tags, masked))
    # A factor, since after a `where` the gradient of a wrong tag would be 0.
    factor = ops.where(ops.all(valid, axis=-1), 1.0, float("nan"))
    value = _linear_chain.log_sum_of_paths(potentials)
    return value * ops.cast(factor, value.dtype)


def _one_per_step(y_true: Tensor, y_pred_shape: Shape) -> Tensor:
    """Return the tags as `(batch, time)`."""
    tags = ops.convert_to_tensor(y_true)
    received = tuple(tags.shape)
    if len(received) == 3 and received[-1] == 1:
        tags = ops.squeeze(tags, axis=-1)
    expected = tuple(y_pred_shape[:2])
    if not _checks.shapes_agree(tags.shape, expected):
        raise ValueError(
            f"{_NAME} expects one integer tag for each step: y_pred of shape "
            f"{y_pred_shape} goes with y_true of shape {expected}. "
            f"Received: y_true.shape={received}"
        )
    return tags


def _carried_on(tags: Tensor, masked: Tensor) -> Tensor:
    """Return `tags` where masked steps repeat the step before, 0 at the beginning."""
    kept_so_far = ops.cumsum(ops.cast(~masked, "int32"), axis=1)
    time = ops.shape(tags)[1]
    steps = ops.arange(time, dtype="int32")
    kept_first = ops.argsort(ops.where(masked, time + steps, steps), axis=1)
    kept_tags = ops.take_along_axis(tags, kept_first, axis=1)
    last = ops.take_along_axis(kept_tags, ops.maximum(kept_so_far - 1, 0), axis=1)
    return ops.where(kept_so_far > 0, last, 0)


def _along_path(potentials: Tensor, tags: Tensor) -> Tensor:
    """Return the potential of every step of one path, `(batch, time, 1, 1)`."""
    before = ops.pad(tags[:, :-1], ((0, 0), (1, 0)))
    own_row, own_column = (
        ops.one_hot(tag, potentials.shape[-1], dtype="bool") for tag in (before, tags)
    )
    own = own_row[..., :, None] & own_column[..., None, :]
    return ops.sum(ops.where(own, potentials, 0.0), axis=(-2, -1), keepdims=True)
