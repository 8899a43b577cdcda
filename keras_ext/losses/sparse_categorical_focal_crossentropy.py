"""Focal crossentropy for integer labels: easy samples count for less."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_ext import _checks, _labels
from keras_ext._types import Config, Reduction, Tensor
from keras_ext.losses._masked import Masked

_NAME = "sparse_categorical_focal_crossentropy"


@keras.saving.register_keras_serializable(package="keras_ext")
class SparseCategoricalFocalCrossentropy(keras.losses.Loss):
    """Crossentropy of integer labels in which easy samples count for less.

    For classification with many easy samples and few hard ones, such as the
    background of dense detection and segmentation. Keras has
    `CategoricalFocalCrossentropy` for one-hot targets; this one takes integer labels
    and gives the same values, without one-hot targets to build. With `p` the
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
            which are divided by their sum first. Default: `False`.
        ignore_class: Integer label of samples that are left out, of the sum and of the
            mean, such as 255 or -1 for "void". Default: `None`, no such label.
        axis: Axis of `y_pred` that holds the classes. Default: -1.
        reduction: As in every `keras.losses.Loss`. Default: `"sum_over_batch_size"`.
        name: Name of the loss.
        dtype: Dtype of the loss. Default: `None`, which means `keras.config.floatx()`.

    Call arguments:
        y_true: Integer labels, of any dtype.
        y_pred: Probabilities, or logits with `from_logits=True`.
        sample_weight: Weights of the samples. A weight does not excuse a label that is
            out of range: use `ignore_class` for samples that have none.

    Input shape:
        `y_pred`: `(batch, ..., classes)`, or with the classes at `axis`. `y_true`:
        the same without the class axis, or with a class axis of size 1.

    Output shape:
        A scalar; with `reduction="none"`, `y_pred`'s shape without the class axis.

    Raises:
        ValueError: If an argument is out of its range; on call, if shapes do not
            match or, in eager execution, a label is not one of the classes. Compiled
            code cannot raise: there such a label makes loss and gradient NaN.

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

    A mask on `y_pred` is respected. Half precision is computed in float32.
    Probabilities are clipped to `keras.config.epsilon()` as Keras clips them, so that
    a sample's loss is at most `-alpha * log(epsilon)`; a row of zeros counts as
    probability 0. Logits are not clipped: however wrong they are, the loss keeps its
    slope, where Keras's one-hot loss goes flat.
    """

    def __init__(
        self,
        alpha: float | Sequence[float] = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
        reduction: Reduction | None = "sum_over_batch_size",
        name: str | None = "sparse_categorical_focal_crossentropy",
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.alpha = _checks.number_or_list("alpha", alpha, low=0)
        self.gamma = _checks.number("gamma", gamma, low=0)
        self.from_logits = from_logits
        self.ignore_class = _checks.optional(
            _checks.integer, "ignore_class", ignore_class
        )
        self.axis = _checks.integer("axis", axis)
        self._masked = Masked(dtype=self.dtype)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of every sample, masked where it is ignored."""
        values = sparse_categorical_focal_crossentropy(
            y_true,
            y_pred,
            alpha=self.alpha,
            gamma=self.gamma,
            from_logits=self.from_logits,
            ignore_class=self.ignore_class,
            axis=self.axis,
        )
        if self.ignore_class is None:
            return values
        ignored = _labels.is_ignored(
            ops.reshape(y_true, ops.shape(values)), self.ignore_class
        )
        return self._masked(values, mask=~ignored)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "gamma": self.gamma,
            "from_logits": self.from_logits,
            "ignore_class": self.ignore_class,
            "axis": self.axis,
            "dtype": self.dtype,
        }


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

    The function behind `SparseCategoricalFocalCrossentropy`, which tells formula,
    reference, shapes and errors.

    Args:
        y_true: Integer labels, `(batch, ...)` or `(batch, ..., 1)`.
        y_pred: Probabilities or logits, `(batch, ..., classes)`.
        alpha: Weight of the classes: a float, or one per class.
        gamma: Float of at least 0, the focusing parameter.
        from_logits: Whether `y_pred` holds logits.
        ignore_class: Label of samples whose loss is 0.
        axis: Axis of `y_pred` that holds the classes.

    Returns:
        Float tensor of `y_pred`'s shape without the class axis, of `y_pred`'s dtype
        but not below float32.

    Example:

    >>> import numpy as np
    >>> from keras_ext.losses import sparse_categorical_focal_crossentropy
    >>> y_pred = np.array([[2.0, 0.0], [0.0, 2.0]], "float32")
    >>> values = sparse_categorical_focal_crossentropy([0, 0], y_pred, from_logits=True)
    >>> [round(float(value), 4) for value in values]
    [0.0005, 0.4124]
    """
    y_pred = ops.convert_to_tensor(y_pred)
    y_pred = ops.cast(y_pred, keras.backend.result_type(y_pred.dtype, "float32"))
    labels = _labels.without_class_axis(_NAME, y_true, y_pred.shape, axis)
    axis %= len(y_pred.shape)
    num_classes = _num_classes(y_pred.shape[axis])
    ignored = _labels.is_ignored(labels, ignore_class)
    valid = _labels.in_range(_NAME, labels, num_classes) | ignored
    _labels.check(_NAME, "y_true", labels, valid, num_classes, _hint(ignore_class))
    index = ops.cast(ops.where(valid & ~ignored, labels, 0), "int32")

    # Here too, since a gradient passes through both branches of the `where` below.
    y_pred = ops.where(ops.expand_dims(ignored, axis), 0.0, y_pred)
    log_p = _log_probabilities(y_pred, from_logits, axis)
    own = ops.one_hot(index, num_classes, axis=axis, dtype="bool")
    log_p = ops.sum(ops.where(own, log_p, 0.0), axis=axis)
    weight = ops.convert_to_tensor(_class_weights(alpha, num_classes), log_p.dtype)
    # A factor, since behind a `where` the gradient of a wrong label would be 0.
    weight = ops.where(valid, ops.take(weight, index), float("nan"))
    return ops.where(ignored, 0.0, -weight * _focus(log_p, gamma) * log_p)


def _num_classes(size: int | None) -> int:
    if size is None or size < 2:
        raise ValueError(
            f"{_NAME} expects the class axis of y_pred to have a known size of at "
            f"least 2. Received: size={size}. For a model with a single sigmoid "
            "output, use `keras.losses.BinaryFocalCrossentropy`."
        )
    return size


def _hint(ignore_class: int | None) -> str:
    if ignore_class is None:
        return "If it marks samples to leave out, pass it as `ignore_class`."
    return f"Samples to leave out carry the label `ignore_class={ignore_class}`."


def _log_probabilities(y_pred: Tensor, from_logits: bool, axis: int) -> Tensor:
    if from_logits:
        return ops.log_softmax(y_pred, axis=axis)
    total = ops.sum(y_pred, axis=axis, keepdims=True)
    epsilon = keras.config.epsilon()
    return ops.log(ops.clip(ops.divide_no_nan(y_pred, total), epsilon, 1 - epsilon))


def _class_weights(alpha: float | Sequence[float], num_classes: int) -> list[float]:
    alpha = _checks.number_or_list("alpha", alpha, low=0)
    if not isinstance(alpha, list):
        return [alpha] * num_classes
    if len(alpha) != num_classes:
        raise ValueError(
            f"`alpha` must be one number, or one for each of y_pred's {num_classes} "
            f"classes. Received: {len(alpha)} numbers, alpha={alpha}"
        )
    return alpha


def _focus(log_p: Tensor, gamma: float) -> Tensor:
    """Return `(1 - p)^gamma`, with a finite slope where `p` is 1."""
    gamma = _checks.number("gamma", gamma, low=0)
    if gamma == 0:
        return 1.0
    return ops.power(ops.maximum(-ops.expm1(log_p), keras.config.epsilon()), gamma)
