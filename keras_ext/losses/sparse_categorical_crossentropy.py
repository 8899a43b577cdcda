"""Crossentropy of integer labels with label smoothing."""

from functools import partial

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Reduction, Tensor
from keras_ext.losses import _classes
from keras_ext.losses._function_loss import checked

_NAME = "sparse_categorical_crossentropy"
_HINT = (
    "For a model with a single sigmoid output, use `keras.losses.BinaryCrossentropy`."
)


@keras.saving.register_keras_serializable(package="keras_ext")
class SparseCategoricalCrossentropy(_classes.ClassLoss):
    """Crossentropy of integer labels with label smoothing.

    `keras.losses.SparseCategoricalCrossentropy` has no `label_smoothing`, and
    `keras.losses.CategoricalCrossentropy`, which has it, needs one-hot targets and has
    no `ignore_class`. Label smoothing takes a share `s` of the target of a sample's own
    class `t` and spreads it over all classes, which keeps predictions from becoming
    overconfident:

    `loss = -(1 - s) log(p[t]) - s mean(log(p))`

    Reference: C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna, "Rethinking the
    Inception Architecture for Computer Vision", 2015, section 7,
    https://arxiv.org/abs/1512.00567.

    Args:
        label_smoothing: Float in [0, 1]. Share of the target that is spread over all
            classes. Default: 0, the crossentropy of the labels.
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
    >>> from keras_ext.losses import SparseCategoricalCrossentropy
    >>> y_pred = np.array([[0.9, 0.05, 0.05], [0.2, 0.5, 0.3]], "float32")
    >>> float(SparseCategoricalCrossentropy()(np.array([0, 1]), y_pred))
    0.3993
    >>> loss = SparseCategoricalCrossentropy(label_smoothing=0.1)
    >>> float(loss(np.array([0, 1]), y_pred))
    0.5194

    A mask on `y_pred` is respected. Half-precision inputs are computed in float32.
    Probabilities are clipped to `keras.config.epsilon()`, as in Keras; logits are not.
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
        reduction: Reduction | None = "sum_over_batch_size",
        name: str | None = _NAME,
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(
            sparse_categorical_crossentropy,
            label_smoothing=label_smoothing,
            from_logits=from_logits,
            ignore_class=ignore_class,
            axis=axis,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )


@checked(
    label_smoothing=partial(_checks.number, low=0, high=1),
    ignore_class=_checks.optional_int,
    axis=_checks.integer,
)
def sparse_categorical_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    label_smoothing: float = 0.0,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Tensor:
    """Return the crossentropy of every sample with its smoothed label.

    The function form of `SparseCategoricalCrossentropy`, which documents the formula,
    reference, shapes and errors.

    Args:
        y_true: Integer labels, `(batch, ...)` or `(batch, ..., 1)`.
        y_pred: Probabilities or logits, `(batch, ..., classes)`.
        label_smoothing: Float in [0, 1], the share spread over all classes.
        from_logits: Whether `y_pred` holds logits.
        ignore_class: Label of samples whose loss is 0.
        axis: Axis of `y_pred` that holds the classes.

    Returns:
        Float tensor of `y_pred`'s shape without the class axis, in `y_pred`'s dtype,
        but at least float32.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import sparse_categorical_crossentropy
    >>> logits = np.array([[2.0, 0.0], [0.0, 2.0]], "float32")
    >>> values = sparse_categorical_crossentropy([0, 0], logits, 0.1, from_logits=True)
    >>> [round(float(value), 4) for value in values]
    [0.2269, 2.0269]
    """
    samples = _classes.read_labels(_NAME, y_true, y_pred, ignore_class, axis, _HINT)
    log_p = _classes.log_probabilities(samples.y_pred, from_logits, samples.axis)
    value = samples.expected(log_p)
    if label_smoothing > 0:
        uniform = ops.mean(log_p, axis=samples.axis)
        value = (1 - label_smoothing) * value + label_smoothing * uniform
    return samples.settled(-value)
