"""Sparsemax loss: the counterpart for sparsemax of softmax's crossentropy."""

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._numerics import highest
from keras_ext._types import Reduction, Tensor
from keras_ext.layers.sparsemax import sparsemax as probabilities
from keras_ext.losses import _classes
from keras_ext.losses._function_loss import checked

_NAME = "sparsemax"


# Keras finds the classes of a file only by these names; "Sparsemax" is the layer.
@keras.saving.register_keras_serializable(package="keras_ext", name="SparsemaxLoss")
class Sparsemax(_classes.ClassLoss):
    """Loss of logits that `keras_ext.layers.Sparsemax` turns into probabilities.

    Crossentropy needs the logarithm of the probabilities, most of which are 0 after a
    sparsemax. This loss avoids it, is convex, and is exactly 0 as soon as the logit of
    a sample's own class `t` exceeds all others by 1. With `S` the classes of
    probability above 0, and `tau` what sparsemax subtracts from their logits `z`:

    `loss = -z[t] + sum over S of (z^2 - tau^2) / 2 + 1/2`

    With distributions `q` as targets, and `p` the sparsemax of `z`:

    `loss = (sum((q - z)^2) - sum((p - z)^2)) / 2`

    In both cases the gradient is `p - q`. Train a model on its logits, and predict
    through the layer.

    Reference: A. F. T. Martins, R. F. Astudillo, "From Softmax to Sparsemax: A Sparse
    Model of Attention and Multi-Label Classification", 2016,
    https://arxiv.org/abs/1602.02068.

    Args:
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
            targets or probabilities, which sum to 1.
        y_pred: Logits, not the output of the layer. A class with logit `-inf` is left
            out.
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
    >>> from keras_ext.losses import Sparsemax
    >>> logits = np.array([[1.0, 0.0, -2.0], [1.0, 0.5, -2.0]], "float32")
    >>> float(Sparsemax(reduction="sum")(np.array([0, 0]), logits))
    0.0625
    >>> soft = Sparsemax(sparse_y_true=False)
    >>> float(soft(np.array([[0.75, 0.25, 0.0]]), logits[1:]))
    0.0

    A mask on `y_pred` is respected. Half-precision inputs are computed in float32. The
    loss is registered as `keras_ext>SparsemaxLoss`, since `keras_ext>Sparsemax` is the
    layer.
    """

    def __init__(
        self,
        sparse_y_true: bool = True,
        ignore_class: int | None = None,
        axis: int = -1,
        reduction: Reduction | None = "sum_over_batch_size",
        name: str | None = _NAME,
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(
            sparsemax,
            sparse_y_true=sparse_y_true,
            ignore_class=ignore_class,
            axis=axis,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )


@checked(
    _classes.only_labels_are_ignored,
    ignore_class=_checks.optional_int,
    axis=_checks.integer,
)
def sparsemax(
    y_true: Tensor,
    y_pred: Tensor,
    sparse_y_true: bool = True,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Tensor:
    """Return the sparsemax loss of every sample.

    The function form of `Sparsemax`, which documents the formula, reference, shapes and
    errors.

    Args:
        y_true: Integer labels, `(batch, ...)` or `(batch, ..., 1)`; or distributions,
            `(batch, ..., classes)`.
        y_pred: Logits, `(batch, ..., classes)`.
        sparse_y_true: Whether `y_true` holds integer labels.
        ignore_class: Label of samples whose loss is 0.
        axis: Axis of `y_pred` that holds the classes.

    Returns:
        Float tensor of `y_pred`'s shape without the class axis, in `y_pred`'s dtype,
        but at least float32.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import sparsemax
    >>> logits = np.array([[2.0, 0.0], [0.5, 0.0], [0.0, 2.0]], "float32")
    >>> [float(value) for value in sparsemax([0, 0, 0], logits)]
    [0.0, 0.0625, 2.0]
    """
    if sparse_y_true:
        samples = _classes.read_labels(_NAME, y_true, y_pred, ignore_class, axis)
    else:
        samples = _classes.read_distributions(_NAME, y_true, y_pred, axis)
    axis, q = samples.axis, samples.targets
    # The result is the same, but large logits keep their precision.
    z = samples.y_pred
    z -= ops.stop_gradient(highest(z, axis, keepdims=True))
    p = probabilities(z, axis)
    # Not `p * z`, since `z` may be infinite where `p` is 0.
    gained = ops.sum(p * (ops.where(p > 0, z, 0.0) - p / 2), axis=axis)
    return samples.settled(gained - samples.expected(z - q / 2))
