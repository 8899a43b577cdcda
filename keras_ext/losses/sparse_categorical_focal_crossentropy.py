"""Focal crossentropy for integer labels: easy samples count for less."""

from collections.abc import Sequence
from functools import partial

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._numerics import power
from keras_ext._types import Reduction, Tensor
from keras_ext.losses import _classes
from keras_ext.losses._function_loss import checked

_NAME = "sparse_categorical_focal_crossentropy"
_HINT = (
    "For a model with a single sigmoid output, use "
    "`keras.losses.BinaryFocalCrossentropy`."
)


@keras.saving.register_keras_serializable(package="keras_ext")
class SparseCategoricalFocalCrossentropy(_classes.ClassLoss):
    """Crossentropy of integer labels in which easy samples count for less.

    For classification with many easy samples and few hard ones, such as the
    background of dense detection and segmentation. Keras has
    `CategoricalFocalCrossentropy` for one-hot targets; this loss takes integer labels
    and gives the same values, without building one-hot targets. With `p` the
    probability of a sample's own class `t`:

    `loss = -alpha[t] * (1 - p)^gamma * log(p)`

    Reference: T.-Y. Lin, P. Goyal, R. Girshick, K. He, P. Dollár, "Focal Loss for
    Dense Object Detection", 2017, https://arxiv.org/abs/1708.02002.

    Args:
        alpha: Float of at least 0, or a sequence of such floats, one per class. Weight
            of the classes. Default: 0.25.
        gamma: Float of at least 0. How fast the weight of a sample falls as it gets
            easier; 0 gives the weighted crossentropy. Default: 2.
        from_logits: Whether predictions are logits. Otherwise they are probabilities,
            which are first divided by their sum. Default: `False`.
        ignore_class: Integer label of samples that are left out of the sum and the
            mean, such as 255 or -1 for "void". Default: `None`, no such label.
        axis: Axis of `y_pred` that holds the classes. Default: -1.
        reduction: As in every `keras.losses.Loss`. Default: `"sum_over_batch_size"`.
        name: Name of the loss.
        dtype: Dtype of the loss. Default: `None`, which means `keras.config.floatx()`.

    Call arguments:
        y_true: Integer labels, of any dtype.
        y_pred: Probabilities, or logits with `from_logits=True`.
        sample_weight: Weights of the loss's values, `(batch, ...)`; `(batch, 1, ...)`,
            with a 1 for each further axis, for whole samples. Weights do not excuse
            labels that are out of range: use `ignore_class` for samples without a
            label.

    Input shape:
        `y_pred`: `(batch, ..., classes)`, or with the classes at `axis`. `y_true`:
        the same without the class axis, or with a class axis of size 1.

    Output shape:
        A scalar; with `reduction="none"`, `y_pred`'s shape without the class axis.

    Raises:
        ValueError: If an argument is out of range; on call, if shapes do not match or,
            in eager execution, a label is not one of the classes. Compiled code cannot
            raise; there, such a label makes the loss and its gradient NaN.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import SparseCategoricalFocalCrossentropy
    >>> loss = SparseCategoricalFocalCrossentropy(alpha=1.0)
    >>> y_pred = np.array([[0.9, 0.1, 0.0], [0.2, 0.5, 0.3]], "float32")
    >>> float(loss(np.array([0, 1]), y_pred))
    0.0872
    >>> void = SparseCategoricalFocalCrossentropy(alpha=1.0, ignore_class=255)
    >>> float(void(np.array([255, 1]), y_pred))
    0.1733

    A mask on `y_pred` is respected. Half-precision inputs are computed in float32.
    Probabilities are clipped to `keras.config.epsilon()` as in Keras, so that a
    sample's loss is at most `-alpha * log(epsilon)`; a row of zeros counts as
    probability 0. Logits are not clipped: however wrong they are, the loss keeps its
    slope, where Keras's one-hot loss becomes flat.
    """

    def __init__(
        self,
        alpha: float | Sequence[float] = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
        reduction: Reduction | None = "sum_over_batch_size",
        name: str | None = _NAME,
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(
            sparse_categorical_focal_crossentropy,
            alpha=alpha,
            gamma=gamma,
            from_logits=from_logits,
            ignore_class=ignore_class,
            axis=axis,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )


@checked(
    alpha=partial(_checks.number_or_list, low=0),
    gamma=partial(_checks.number, low=0),
    ignore_class=_checks.optional_int,
    axis=_checks.integer,
)
def sparse_categorical_focal_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    alpha: float | Sequence[float] = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Tensor:
    """Return the focal crossentropy of every sample.

    The function form of `SparseCategoricalFocalCrossentropy`, which documents the
    formula, reference, shapes and errors.

    Args:
        y_true: Integer labels, `(batch, ...)` or `(batch, ..., 1)`.
        y_pred: Probabilities or logits, `(batch, ..., classes)`.
        alpha: Weight of the classes: a float, or one per class.
        gamma: Float of at least 0, the focusing parameter.
        from_logits: Whether `y_pred` holds logits.
        ignore_class: Label of samples whose loss is 0.
        axis: Axis of `y_pred` that holds the classes.

    Returns:
        Float tensor of `y_pred`'s shape without the class axis, in `y_pred`'s dtype,
        but at least float32.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import sparse_categorical_focal_crossentropy
    >>> y_pred = np.array([[2.0, 0.0], [0.0, 2.0]], "float32")
    >>> values = sparse_categorical_focal_crossentropy([0, 0], y_pred, from_logits=True)
    >>> [round(float(value), 4) for value in values]
    [0.0005, 0.4124]
    """
    samples = _classes.read_labels(_NAME, y_true, y_pred, ignore_class, axis, _HINT)
    log_p = samples.expected(
        _classes.log_probabilities(samples.y_pred, from_logits, samples.axis)
    )
    weight = samples.expected(_class_weights(alpha, samples))
    focus = power(-ops.expm1(log_p), gamma)
    return samples.settled(-weight * focus * log_p)


def _class_weights(
    alpha: float | Sequence[float], samples: _classes.Classified
) -> Tensor:
    """Return one weight per class, on the class axis."""
    num_classes = samples.num_classes
    if isinstance(alpha, Sequence) and len(alpha) != num_classes:
        raise ValueError(
            f"`alpha` must be one number, or one for each of y_pred's {num_classes} "
            f"classes. Received: {len(alpha)} numbers, alpha={alpha}"
        )
    weights = ops.convert_to_tensor(alpha, samples.y_pred.dtype)
    rank = len(samples.y_pred.shape)
    return ops.reshape(weights, (-1, *[1] * (rank - 1 - samples.axis)))
