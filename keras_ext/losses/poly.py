"""Poly-1 loss: crossentropy with adjustable steepness near the truth."""

from functools import partial

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Reduction, Tensor
from keras_ext.losses import _classes
from keras_ext.losses._function_loss import checked

_NAME = "poly"
_HINT = (
    "For a model with a single sigmoid output, use `keras.losses.BinaryCrossentropy`."
)


@keras.saving.register_keras_serializable(package="keras_ext")
class Poly(_classes.ClassLoss):
    """Crossentropy plus a multiple of the missing probability.

    Crossentropy is a sum of powers of `1 - p`, with `p` the probability of a sample's
    own class `t`; this loss changes the coefficient of the first power. With a positive
    `epsilon`, samples that are nearly right count for more, with a negative one for
    less:

    `loss = -log(p[t]) + epsilon (1 - p[t])`

    With targets `y` that are distributions, `-log(p[t])` becomes `-sum(y log(p))` and
    `p[t]` becomes `sum(y p)`.

    Reference: Z. Leng, M. Tan, C. Liu, E. D. Cubuk, X. Shi, S. Cheng, D. Anguelov,
    "PolyLoss: A Polynomial Expansion Perspective of Classification Loss Functions",
    2022, https://arxiv.org/abs/2204.12511.

    Args:
        epsilon: Float of at least -1. Added to the coefficient of `1 - p`; 0 gives the
            crossentropy. Default: 1.
        from_logits: Whether predictions are logits. Otherwise they are probabilities,
            which are first divided by their sum. Default: `False`.
        sparse_y_true: Whether targets are integer labels. Otherwise they are one-hot or
            probabilities. Default: `True`.
        ignore_class: Integer label of samples that are left out of the sum and the
            mean, such as 255 or -1 for "void". Default: `None`, no such label.
        axis: Axis of `y_pred` that holds the classes. Default: -1.
        reduction: As in every `keras.losses.Loss`. Default: `"sum_over_batch_size"`.
        name: Name of the loss.
        dtype: Dtype of the loss. Default: `None`, which means `keras.config.floatx()`.

    Call arguments:
        y_true: Integer labels, of any dtype; with `sparse_y_true=False`, one-hot
            targets or probabilities.
        y_pred: Probabilities, or logits with `from_logits=True`.
        sample_weight: Weights of the loss's values, `(batch, ...)`; `(batch, 1, ...)`,
            with a 1 for each further axis, for whole samples. Weights do not excuse
            labels that are out of range: use `ignore_class` for samples without a
            label.

    Input shape:
        `y_pred`: `(batch, ..., classes)`, or with the classes at `axis`. `y_true`:
        the same without the class axis, or with a class axis of size 1; with
        `sparse_y_true=False`, the same.

    Output shape:
        A scalar; with `reduction="none"`, `y_pred`'s shape without the class axis.

    Raises:
        ValueError: If an argument is out of range, or `ignore_class` is given with
            `sparse_y_true=False`; on call, if shapes do not match or, in eager
            execution, a label is not one of the classes. Compiled code cannot raise;
            there, such a label makes the loss and its gradient NaN.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import Poly
    >>> y_pred = np.array([[0.9, 0.1, 0.0], [0.2, 0.5, 0.3]], "float32")
    >>> float(Poly()(np.array([0, 1]), y_pred))
    0.6993
    >>> soft = Poly(sparse_y_true=False)
    >>> float(soft(np.array([[1.0, 0, 0], [0.0, 0.9, 0.1]], "float32"), y_pred))
    0.7348

    A mask on `y_pred` is respected. Half-precision inputs are computed in float32.
    Probabilities are clipped to `keras.config.epsilon()`, as in Keras; logits are not.
    """

    def __init__(
        self,
        epsilon: float = 1.0,
        from_logits: bool = False,
        sparse_y_true: bool = True,
        ignore_class: int | None = None,
        axis: int = -1,
        reduction: Reduction | None = "sum_over_batch_size",
        name: str | None = _NAME,
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(
            poly,
            epsilon=epsilon,
            from_logits=from_logits,
            sparse_y_true=sparse_y_true,
            ignore_class=ignore_class,
            axis=axis,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )


@checked(
    _classes.only_labels_are_ignored,
    epsilon=partial(_checks.number, low=-1),
    ignore_class=_checks.optional_int,
    axis=_checks.integer,
)
def poly(
    y_true: Tensor,
    y_pred: Tensor,
    epsilon: float = 1.0,
    from_logits: bool = False,
    sparse_y_true: bool = True,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Tensor:
    """Return the Poly-1 loss of every sample.

    The function form of `Poly`, which documents the formula, reference, shapes and
    errors.

    Args:
        y_true: Integer labels, `(batch, ...)` or `(batch, ..., 1)`; or distributions,
            `(batch, ..., classes)`.
        y_pred: Probabilities or logits, `(batch, ..., classes)`.
        epsilon: Float of at least -1, added to the coefficient of `1 - p`.
        from_logits: Whether `y_pred` holds logits.
        sparse_y_true: Whether `y_true` holds integer labels.
        ignore_class: Label of samples whose loss is 0.
        axis: Axis of `y_pred` that holds the classes.

    Returns:
        Float tensor of `y_pred`'s shape without the class axis, in `y_pred`'s dtype,
        but at least float32.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import poly
    >>> y_pred = np.array([[2.0, 0.0], [0.0, 2.0]], "float32")
    >>> [round(float(value), 4) for value in poly([0, 0], y_pred, from_logits=True)]
    [0.2461, 3.0077]
    """
    if sparse_y_true:
        samples = _classes.read_labels(_NAME, y_true, y_pred, ignore_class, axis, _HINT)
    else:
        samples = _classes.read_distributions(_NAME, y_true, y_pred, axis, _HINT)
    log_p = _classes.log_probabilities(samples.y_pred, from_logits, samples.axis)
    missing = 1 - samples.expected(ops.exp(log_p))
    return samples.settled(epsilon * missing - samples.expected(log_p))
