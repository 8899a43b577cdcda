"""Pinball loss: regression toward a quantile instead of the mean."""

from collections.abc import Sequence
from functools import partial

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._numerics import at_least_float32
from keras_ext._types import Reduction, Tensor
from keras_ext.losses._function_loss import checked
from keras_ext.losses._weighted import WeightedLoss


@keras.saving.register_keras_serializable(package="keras_ext")
class Pinball(WeightedLoss):
    """Regression loss whose minimum is a quantile of the target.

    A model trained with `tau=0.9` predicts a value that the target stays below nine
    times out of ten; `tau=0.5` predicts the median and is half the mean absolute
    error. With one `tau` per output, a model predicts several quantiles at the same
    time, such as the ends and the middle of an interval:

    `loss = mean(max(tau * (y_true - y_pred), (tau - 1) * (y_true - y_pred)))`

    where the mean is taken over the last axis.

    Reference: R. Koenker, G. Bassett, "Regression Quantiles", 1978,
    https://doi.org/10.2307/1913643.

    Args:
        tau: Float in [0, 1], or a sequence of such floats, one for each entry of
            `y_pred`'s last axis. The quantile; 0 and 1 punish errors of one sign only.
            Default: 0.5.
        reduction: As in every `keras.losses.Loss`. Default: `"sum_over_batch_size"`.
        name: Name of the loss.
        dtype: Dtype of the loss. Default: `None`, which means `keras.config.floatx()`.

    Call arguments:
        y_true: Targets.
        y_pred: Predictions.
        sample_weight: Weights of the loss's values, `(batch, ...)`; `(batch, 1, ...)`,
            with a 1 for each further axis, for whole samples.

    Input shape:
        `y_pred`: `(batch, ..., outputs)`. `y_true`: the same; or `(batch, ..., 1)` or
        `(batch, ...)`, one target, of which all outputs predict quantiles.

    Output shape:
        A scalar; with `reduction="none"`, `(batch, ...)`.

    Raises:
        ValueError: If `tau` is out of range; on call, if the shapes do not match.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import Pinball
    >>> float(Pinball(tau=0.9)(np.array([[1.0]]), np.array([[0.0]])))
    0.9
    >>> float(Pinball(tau=0.9)(np.array([[0.0]]), np.array([[1.0]])))
    0.1
    >>> interval = Pinball(tau=[0.1, 0.5, 0.9])
    >>> float(interval(np.array([[2.0]]), np.array([[1.0, 2.0, 4.0]])))
    0.1

    A mask on `y_pred` is respected. Half-precision inputs are computed in float32.
    """

    def __init__(
        self,
        tau: float | Sequence[float] = 0.5,
        reduction: Reduction | None = "sum_over_batch_size",
        name: str | None = "pinball",
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(pinball, tau=tau, reduction=reduction, name=name, dtype=dtype)


@checked(tau=partial(_checks.number_or_list, low=0, high=1))
def pinball(
    y_true: Tensor, y_pred: Tensor, tau: float | Sequence[float] = 0.5
) -> Tensor:
    """Return the pinball loss of every sample, the mean over the last axis.

    The function form of `Pinball`, which documents the formula, reference and errors.

    Args:
        y_true: Targets, `(batch, ..., outputs)`, `(batch, ..., 1)` or `(batch, ...)`.
        y_pred: Predictions, `(batch, ..., outputs)`.
        tau: Quantile: a float in [0, 1], or one for each of the outputs.

    Returns:
        Float tensor `(batch, ...)`, in `y_pred`'s dtype, but at least float32.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import pinball
    >>> values = pinball(np.array([[1.0], [0.0]]), np.array([[0.0], [1.0]]), tau=0.75)
    >>> [float(value) for value in values]
    [0.75, 0.25]
    """
    y_pred = at_least_float32(y_pred)
    y_true = ops.cast(y_true, y_pred.dtype)
    if len(y_true.shape) == len(y_pred.shape) - 1:
        y_true = ops.expand_dims(y_true, axis=-1)
    _check_shapes(y_true, y_pred, tau)
    error = y_true - y_pred
    slope = ops.convert_to_tensor(tau, y_pred.dtype)
    return ops.mean(ops.maximum(error * slope, error * (slope - 1)), axis=-1)


def _check_shapes(y_true: Tensor, y_pred: Tensor, tau: float | Sequence[float]) -> None:
    true, predicted = tuple(y_true.shape), tuple(y_pred.shape)
    outputs = (1, predicted[-1]) if len(predicted) > 1 else ()
    if not any(_checks.shapes_agree(true, (*predicted[:-1], last)) for last in outputs):
        raise ValueError(
            "pinball expects y_pred of shape (batch, ..., outputs) and y_true of the "
            "same shape, or with a last axis of 1. "
            f"Received: y_true.shape={true}, y_pred.shape={predicted}"
        )
    if isinstance(tau, Sequence) and len(tau) != predicted[-1]:
        raise ValueError(
            "`tau` must be one number, or one for each entry of y_pred's last axis. "
            f"Received: {len(tau)} numbers, tau={tau}, y_pred.shape={predicted}"
        )
