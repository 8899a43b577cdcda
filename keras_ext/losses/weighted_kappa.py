"""Weighted kappa as a loss: for ordered classes, errors cost by their size."""

from functools import partial
from typing import Literal, TypeAlias

import keras
import numpy as np
from keras import ops

from keras_ext import _checks
from keras_ext._numerics import ratio
from keras_ext._types import Reduction, Tensor
from keras_ext.losses import _classes
from keras_ext.losses._batchwise import BatchwiseLoss
from keras_ext.losses._function_loss import checked

Weights: TypeAlias = Literal["linear", "quadratic"]
_NAME = "weighted_kappa"
_WEIGHTS = ("linear", "quadratic")
_REMEDY = "Give samples without a label a `sample_weight` of 0."


@keras.saving.register_keras_serializable(package="keras_ext")
class WeightedKappa(BatchwiseLoss):
    """Loss for ordered classes: 1 minus Cohen's weighted kappa of soft predictions.

    For grades and other classes with an order, where a prediction costs more the
    farther off it is: `w[i, j] = (i - j)^2`, or `|i - j|`. The cost of the predictions
    `p` for the labels `t` of a batch is compared with the expected cost if predictions
    and labels were shuffled among the samples:

    `loss_i = sum_j w[t_i, j] p[i, j] / E`,
    `E = mean over all i and k of sum_j w[t_i, j] p[k, j]`

    The mean over the batch is `1 - kappa`: 0 for predictions that are right and
    certain, 1 for chance, more for worse predictions. The authors minimize its
    logarithm, which has the same minimum.

    Reference: J. de la Torre, D. Puig, A. Valls, "Weighted kappa loss function for
    multi-class classification of ordinal data in deep learning", 2018,
    https://doi.org/10.1016/j.patrec.2017.05.018.

    Args:
        num_classes: Integer of at least 2. Number of classes, in their order.
        weights: `"quadratic"` or `"linear"`. Cost of an error as a function of how many
            classes it is off. Default: `"quadratic"`.
        from_logits: Whether predictions are logits. Otherwise they are probabilities,
            which are first divided by their sum. Default: `False`.
        reduction: As in every `keras.losses.Loss`. Default: `"sum_over_batch_size"`.
        name: Name of the loss.
        dtype: Dtype of the loss. Default: `None`, which means `keras.config.floatx()`.

    Call arguments:
        y_true: Integer labels, of any dtype.
        y_pred: Probabilities, or logits with `from_logits=True`.
        sample_weight: Weights of the samples, `(batch,)` or `(batch, 1)`. A sample of
            weight 0 is absent: it is not read, and does not contribute to `E`. Other
            weights multiply a sample's value, and leave `E` unchanged.

    Input shape:
        `y_pred`: `(batch, num_classes)`. `y_true`: `(batch,)` or `(batch, 1)`.

    Output shape:
        A scalar; with `reduction="none"`, `(batch,)`.

    Raises:
        ValueError: If an argument is out of range; on call, if shapes do not match or,
            in eager execution, a label is not one of the classes. Compiled code cannot
            raise; there, such a label makes the loss and its gradient NaN.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import WeightedKappa
    >>> loss = WeightedKappa(num_classes=3)
    >>> certain = np.eye(3, dtype="float32")
    >>> float(loss(np.array([0, 1, 2]), certain))
    0.0
    >>> float(loss(np.array([0, 1, 1]), certain))
    0.3333
    >>> float(loss(np.array([0, 1, 0]), certain))
    1.0

    The loss is one of a batch: the larger the batch, the better the estimate of `E`.
    Where `E` is 0, as for a batch of one class that is predicted with certainty, all
    values are 0; for any other batch of one class their mean is 1, with slope 0. A mask
    on `y_pred` also leaves out samples. Half-precision inputs are computed in float32.
    `keras_ext.metrics.CohenKappa` measures the kappa of the decisions.
    """

    def __init__(
        self,
        num_classes: int,
        weights: Weights = "quadratic",
        from_logits: bool = False,
        reduction: Reduction | None = "sum_over_batch_size",
        name: str | None = _NAME,
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(
            _weighted_kappa,
            num_classes=num_classes,
            weights=weights,
            from_logits=from_logits,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )


def weighted_kappa(
    y_true: Tensor,
    y_pred: Tensor,
    num_classes: int,
    weights: Weights = "quadratic",
    from_logits: bool = False,
) -> Tensor:
    """Return the cost of every sample, relative to the cost of chance in this batch.

    The function form of `WeightedKappa`, which documents the formula, reference, shapes
    and errors.

    Args:
        y_true: Integer labels, `(batch,)` or `(batch, 1)`.
        y_pred: Probabilities or logits, `(batch, num_classes)`.
        num_classes: Integer of at least 2, the number of classes.
        weights: `"quadratic"` or `"linear"`.
        from_logits: Whether `y_pred` holds logits.

    Returns:
        Float tensor `(batch,)`, in `y_pred`'s dtype, but at least float32.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import weighted_kappa
    >>> y_pred = np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]])
    >>> [round(float(v), 4) for v in weighted_kappa([0, 1], y_pred, num_classes=3)]
    [0.0, 0.5]
    """
    return _weighted_kappa(y_true, y_pred, None, num_classes, weights, from_logits)[0]


@checked(
    num_classes=partial(_checks.integer, low=2),
    weights=partial(_checks.one_of, choices=_WEIGHTS),
)
def _weighted_kappa(
    y_true: Tensor,
    y_pred: Tensor,
    absent: Tensor | None,
    num_classes: int,
    weights: Weights,
    from_logits: bool,
) -> tuple[Tensor, Tensor]:
    samples = _classes.read_labels(_NAME, y_true, y_pred, absent=absent, remedy=_REMEDY)
    if tuple(samples.y_pred.shape[1:]) != (num_classes,):
        raise ValueError(
            f"{_NAME} expects y_pred of shape (batch, num_classes), with num_classes="
            f"{num_classes}. Received: y_pred.shape={tuple(samples.y_pred.shape)}"
        )
    p = _probabilities(samples.y_pred, from_logits)
    # NaN for a wrong label here already, since it affects the values of all samples.
    present = ops.where(samples.ignored, 0.0, samples.factor)[:, None]
    own = ops.argmax(samples.targets, axis=-1)
    distances = ops.convert_to_tensor(_costs(num_classes, weights), p.dtype)
    costs = present * ops.take(distances, own, axis=0)
    number = ops.maximum(ops.sum(ops.where(samples.ignored, 0.0, 1.0)), 1.0)
    number = ops.cast(number, p.dtype)
    mean_cost, mean_p = (ops.sum(x, axis=0) / number for x in (costs, present * p))
    values = ratio(ops.sum(costs * p, axis=-1), ops.sum(mean_cost * mean_p))
    return values, ops.ones_like(values, dtype="bool")


def _costs(num_classes: int, weights: Weights) -> list[list[float]]:
    grades = np.arange(num_classes, dtype="float64")
    steps = np.abs(grades[:, None] - grades[None, :])
    distances = steps if weights == "linear" else np.square(steps)
    # Between 0 and 1. Only ratios of costs matter.
    return (distances / distances.max()).tolist()


def _probabilities(y_pred: Tensor, from_logits: bool) -> Tensor:
    if from_logits:
        return ops.softmax(y_pred, axis=-1)
    return ops.divide_no_nan(y_pred, ops.sum(y_pred, axis=-1, keepdims=True))
