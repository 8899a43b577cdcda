"""Charbonnier loss: the absolute error with a rounded tip."""

from functools import partial

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Reduction, Tensor
from keras_ext.losses._function_loss import checked
from keras_ext.losses._weighted import WeightedLoss, alike


@keras.saving.register_keras_serializable(package="keras_ext")
class Charbonnier(WeightedLoss):
    """Regression loss like the mean absolute error, but smooth where the error is 0.

    A few large errors count for less than under the mean squared error; common for
    restoring images (super-resolution, denoising):

    `loss = mean(sqrt((y_true - y_pred)^2 + epsilon^2))`

    where the mean is taken over the last axis. It is never below `epsilon`.

    Reference: P. Charbonnier, L. Blanc-Féraud, G. Aubert, M. Barlaud, "Two
    deterministic half-quadratic regularization algorithms for computed imaging", 1994,
    https://doi.org/10.1109/ICIP.1994.413553.

    Args:
        epsilon: Float of at least 1e-12, in the unit of the targets. Errors well below
            it count quadratically, errors well above it linearly. Default: 1e-3.
        reduction: As in every `keras.losses.Loss`. Default: `"sum_over_batch_size"`.
        name: Name of the loss.
        dtype: Dtype of the loss. Default: `None`, which means `keras.config.floatx()`.

    Call arguments:
        y_true: Targets.
        y_pred: Predictions.
        sample_weight: Weights of the loss's values, `(batch, ...)`; `(batch, 1, ...)`,
            with a 1 for each further axis, for whole samples.

    Input shape:
        `y_pred`: `(batch, ..., outputs)`. `y_true`: the same; or `(batch, ...)` if
        there is one output.

    Output shape:
        A scalar; with `reduction="none"`, `(batch, ...)`.

    Raises:
        ValueError: If `epsilon` is out of range; on call, if the shapes differ.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import Charbonnier
    >>> loss = Charbonnier(epsilon=3.0)
    >>> float(loss(np.array([[4.0]]), np.array([[0.0]])))
    5.0
    >>> float(loss(np.array([[0.0]]), np.array([[0.0]])))
    3.0

    A mask on `y_pred` is respected. Half-precision inputs are computed in float32.
    """

    def __init__(
        self,
        epsilon: float = 1e-3,
        reduction: Reduction | None = "sum_over_batch_size",
        name: str | None = "charbonnier",
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(
            charbonnier, epsilon=epsilon, reduction=reduction, name=name, dtype=dtype
        )


@checked(
    # The square of a much smaller epsilon is 0 in float32, and the slope at 0 NaN.
    epsilon=partial(_checks.number, low=1e-12),
)
def charbonnier(y_true: Tensor, y_pred: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Return the Charbonnier loss of every sample, the mean over the last axis.

    The function form of `Charbonnier`, which documents the formula, reference and
    errors.

    Args:
        y_true: Targets, `(batch, ..., outputs)`, or `(batch, ...)` for one output.
        y_pred: Predictions, `(batch, ..., outputs)`.
        epsilon: Float of at least 1e-12, the width of the rounded tip.

    Returns:
        Float tensor `(batch, ...)`, in `y_pred`'s dtype, but at least float32.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import charbonnier
    >>> values = charbonnier(np.array([[3.0], [0.0]]), np.array([[0.0], [0.0]]), 4.0)
    >>> [float(value) for value in values]
    [5.0, 4.0]
    """
    y_true, y_pred = alike("charbonnier", y_true, y_pred, "(batch, ..., outputs)")
    error = y_true - y_pred
    # Not the plain formula, where the square of a large error is infinite.
    size = ops.stop_gradient(ops.maximum(ops.abs(error), epsilon))
    squares = ops.square(error / size) + ops.square(epsilon / size)
    return ops.mean(size * ops.sqrt(squares), axis=-1)
