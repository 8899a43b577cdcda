"""Asymmetric loss: many labels per sample, most of them absent."""

from functools import partial

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._numerics import power
from keras_ext._types import Reduction, Tensor
from keras_ext.losses._function_loss import checked
from keras_ext.losses._weighted import WeightedLoss, alike

_NAME = "asymmetric"


@keras.saving.register_keras_serializable(package="keras_ext")
class Asymmetric(WeightedLoss):
    """Crossentropy for many labels per sample, in which absent labels count for less.

    For multi-label classification, where a sample has few of very many labels. Present
    and absent labels are focused separately: easy absent labels are weighted down by a
    higher power, and those whose probability `p` is below `clip` do not count at all.
    This spares labels that are present but were missed in labeling. With
    `p_m = max(p - clip, 0)`, for each label:

    `loss = -y (1 - p)^gamma_positive log(p)` where a label is present, and

    `loss = -(1 - y) p_m^gamma_negative log(1 - p_m)` where it is absent,

    and their sum for a target between 0 and 1. The loss of a sample is the mean over
    its labels.

    Reference: T. Ridnik, E. Ben-Baruch, N. Zamir, A. Noy, I. Friedman, M. Protter,
    L. Zelnik-Manor, "Asymmetric Loss For Multi-Label Classification", 2020,
    https://arxiv.org/abs/2009.14119.

    Args:
        gamma_negative: Float of at least 0. How fast the weight of an absent label
            falls as it gets easier. Default: 4.
        gamma_positive: The same for a present label. Default: 1.
        clip: Float in [0, 1). Probability below which an absent label costs nothing.
            Default: 0.05.
        from_logits: Whether predictions are logits. Otherwise they are probabilities.
            Default: `False`.
        reduction: As in every `keras.losses.Loss`. Default: `"sum_over_batch_size"`.
        name: Name of the loss.
        dtype: Dtype of the loss. Default: `None`, which means `keras.config.floatx()`.

    Call arguments:
        y_true: 1 for the labels that a sample has, 0 for the others, or a number
            between, such as a smoothed label.
        y_pred: A probability for each label, or a logit with `from_logits=True`.
        sample_weight: Weights of the loss's values, `(batch, ...)`; `(batch, 1, ...)`,
            with a 1 for each further axis, for whole samples.

    Input shape:
        `y_true` and `y_pred`: `(batch, ..., labels)`; for one label, `y_true` may be
        `(batch, ...)`.

    Output shape:
        A scalar; with `reduction="none"`, `(batch, ...)`.

    Raises:
        ValueError: If an argument is out of range; on call, if the shapes differ or, in
            eager execution, `y_true` holds a number outside [0, 1]. Compiled code
            cannot raise; there, such a number makes the loss and its gradient NaN.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import Asymmetric
    >>> loss = Asymmetric(gamma_negative=2.0)
    >>> y_pred = np.array([[0.9, 0.04, 0.5]])
    >>> float(loss(np.array([[1, 0, 0]]), y_pred))
    0.0439
    >>> float(loss(np.array([[0, 1, 1]]), y_pred))
    1.6025

    With both gammas and `clip` equal to 0, it is the binary crossentropy. A mask on
    `y_pred` is respected. Half-precision inputs are computed in float32. Probabilities
    are clipped to `keras.config.epsilon()`, as in Keras; logits are not.
    """

    def __init__(
        self,
        gamma_negative: float = 4.0,
        gamma_positive: float = 1.0,
        clip: float = 0.05,
        from_logits: bool = False,
        reduction: Reduction | None = "sum_over_batch_size",
        name: str | None = _NAME,
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(
            asymmetric,
            gamma_negative=gamma_negative,
            gamma_positive=gamma_positive,
            clip=clip,
            from_logits=from_logits,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )


@checked(
    gamma_negative=partial(_checks.number, low=0),
    gamma_positive=partial(_checks.number, low=0),
    clip=partial(_checks.number, low=0, high=1, open_high=True),
)
def asymmetric(
    y_true: Tensor,
    y_pred: Tensor,
    gamma_negative: float = 4.0,
    gamma_positive: float = 1.0,
    clip: float = 0.05,
    from_logits: bool = False,
) -> Tensor:
    """Return the asymmetric loss of every sample, the mean over its labels.

    The function form of `Asymmetric`, which documents the formula, reference and
    errors.

    Args:
        y_true: 1 for present labels, 0 for absent ones, `(batch, ..., labels)`.
        y_pred: Probabilities or logits, of the same shape.
        gamma_negative: Float of at least 0, the focus on hard absent labels.
        gamma_positive: Float of at least 0, the focus on hard present labels.
        clip: Float in [0, 1), the probability below which an absent label costs
            nothing.
        from_logits: Whether `y_pred` holds logits.

    Returns:
        Float tensor `(batch, ...)`, in `y_pred`'s dtype, but at least float32.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import asymmetric
    >>> values = asymmetric(np.eye(2), np.array([[0.5, 0.5], [0.01, 0.99]]))
    >>> [round(float(value), 4) for value in values]
    [0.1854, 0.0001]
    """
    y_true, y_pred = alike(_NAME, y_true, y_pred, "(batch, ..., labels)")
    p, not_p, log_p, log_not_p = _both_ways(y_pred, from_logits)
    if clip:
        p = ops.maximum(p - clip, 0)
        log_not_p = ops.log(ops.minimum(not_p + clip, 1))
    present = power(not_p, gamma_positive) * log_p
    absent = power(p, gamma_negative) * log_not_p
    values = y_true * present + (1 - y_true) * absent
    return -ops.mean(_factor(y_true) * values, axis=-1)


def _both_ways(
    y_pred: Tensor, from_logits: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return `p`, `1 - p` and the logarithms of both."""
    if from_logits:
        logs = ops.log_sigmoid(y_pred), ops.log_sigmoid(-y_pred)
        return ops.sigmoid(y_pred), ops.sigmoid(-y_pred), *logs
    epsilon = keras.config.epsilon()
    p, not_p = (ops.clip(share, epsilon, 1) for share in (y_pred, 1 - y_pred))
    return p, not_p, ops.log(p), ops.log(not_p)


def _factor(y_true: Tensor) -> Tensor:
    """Return 1 for valid labels; for others, raise, or return NaN in compiled code."""
    valid = (y_true >= 0) & (y_true <= 1)
    label = _checks.first_offender(y_true, valid)
    if label is not None:
        raise ValueError(
            f"{_NAME} expects `y_true` to hold 1 for present and 0 for absent labels, "
            f"or a number between. Received: y_true with {label:.10g}. Give samples "
            "without labels a `sample_weight` of 0."
        )
    return ops.cast(ops.where(valid, 1.0, float("nan")), y_true.dtype)
