"""What losses with a value for each sample share: which of them count."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._numerics import at_least_float32
from keras_ext._types import Shape, Tensor
from keras_ext.losses._function_loss import FunctionLoss


class WeightedLoss(FunctionLoss):
    """A loss with values shaped like `y_pred` without `axis`; rejects other weights.

    Keras multiplies values and weights if they broadcast: weights `(batch,)` with
    values `(batch, time)` would be taken for those of the time steps if the sizes
    happen to agree, and raise an error of the backend otherwise.

    Entries that are masked or have weight 0 are absent and may hold anything. Keras
    multiplies their value by 0, and 0 * NaN is NaN. They are therefore replaced by
    zeros before their value is computed, which also keeps the gradient finite.

    May be overridden: `axis`, `_values_shape`, `_check_weights`. Do not override:
    `__call__`.
    """

    axis: int = -1

    def __init__(self, function: Callable[..., Tensor], **options: Any) -> None:
        super().__init__(function, **options)
        self._present = Present(dtype=self.dtype)

    def __call__(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Return the weighted and reduced loss."""
        y_pred, y_true = ops.convert_to_tensor(y_pred), ops.convert_to_tensor(y_true)
        shape, absent = tuple(y_pred.shape), None
        if sample_weight is not None:
            sample_weight = ops.convert_to_tensor(sample_weight, dtype=self.dtype)
            self._check_weights(tuple(sample_weight.shape), shape)
            absent = ops.equal(sample_weight, 0)
        y_pred, y_true = self._present(
            y_pred,
            y_true,
            absent,
            rank=len(self._values_shape(shape)),
            axis=self.axis,
        )
        return super().__call__(y_true, y_pred, sample_weight)

    def _values_shape(self, y_pred_shape: Shape) -> Shape:
        """Return the shape of the loss's values, each of which may have a weight."""
        axis = self.axis % max(len(y_pred_shape), 1)
        return (*y_pred_shape[:axis], *y_pred_shape[axis + 1 :])

    def _check_weights(self, weights: Shape, y_pred_shape: Shape) -> None:
        """Raise `ValueError` unless the weights fit; called whenever there are any."""
        values = self._values_shape(y_pred_shape)
        is_one = all(size == 1 for size in weights)
        if values and not is_one and not _fit(weights, values):
            samples = (values[0], *[1] * (len(values) - 1))
            raise ValueError(
                f"{self.name} expects `sample_weight` to hold one weight for each "
                f"value of the loss, of shape {values}, or for each sample, {samples}. "
                f"Received: sample_weight.shape={weights}, y_pred.shape={y_pred_shape}"
            )


class Present(keras.layers.Layer):
    """Inserts zeros where values do not count. Only layers see Keras's masks."""

    def __init__(self, dtype: str) -> None:
        super().__init__(dtype=dtype, autocast=False)
        self.supports_masking = True

    def call(
        self,
        y_pred: Tensor,
        y_true: Tensor,
        absent: Tensor | None,
        *,
        rank: int,
        axis: int,
        y_pred_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return both with zeros where a value is absent or masked.

        Args:
            y_pred: Predictions.
            y_true: Targets.
            absent: Where values have weight 0, or `None`.
            rank: How many axes the values have.
            axis: The axis of `y_pred` that the values do not have.
            y_pred_mask: Which of the values count, or `None`; set by Keras.
        """
        masked = None if y_pred_mask is None else ~ops.cast(y_pred_mask, "bool")
        for out in (absent, masked):
            if out is not None:
                y_pred, y_true = (
                    ops.where(_beside(x, out, rank, axis), ops.zeros_like(x), x)
                    for x in (y_pred, y_true)
                )
        return y_pred, y_true

    def compute_mask(
        self, y_pred: Tensor, previous_mask: Tensor | None
    ) -> tuple[Tensor | None, None]:
        """Return the mask of `y_pred`: the loss still has to leave out these values."""
        return previous_mask, None


def alike(
    owner: str, y_true: Tensor, y_pred: Tensor, names: str, least_rank: int = 2
) -> tuple[Tensor, Tensor]:
    """Return both in `y_pred`'s dtype, but at least float32.

    Args:
        owner: Name of the caller, for the message.
        y_true: Targets; a last axis of size 1 may be missing.
        y_pred: Predictions.
        names: The expected shape, as names of its axes, for the message.
        least_rank: Minimum number of axes.

    Raises:
        ValueError: If the shapes differ, or have too few axes.
    """
    y_pred = at_least_float32(y_pred)
    y_true = ops.cast(y_true, y_pred.dtype)
    if len(y_true.shape) == len(y_pred.shape) - 1 and y_pred.shape[-1] == 1:
        y_true = ops.expand_dims(y_true, axis=-1)
    true, predicted = tuple(y_true.shape), tuple(y_pred.shape)
    missing = least_rank - len(predicted)
    if missing > 0 or not _checks.shapes_agree(true, predicted):
        short = ""
        if missing > 0:
            number = "an axis" if missing == 1 else f"{missing} axes"
            short = f", which is {number} short"
        raise ValueError(
            f"{owner} expects y_true and y_pred of the same shape {names}. "
            f"Received: y_true.shape={true}, y_pred.shape={predicted}{short}"
        )
    return y_true, y_pred


def _beside(x: Tensor, out: Tensor, rank: int, axis: int) -> Tensor:
    """Return `out`, for values of rank `rank`, in a shape that broadcasts to `x`.

    Args:
        x: Predictions, or targets with or without the axis that the values lack.
        out: One for each value, for each sample or for all, like Keras's weights.
        rank: How many axes the values have.
        axis: The axis that the values lack, if they lack just one of `x`.
    """
    if all(size == 1 for size in out.shape):
        return ops.reshape(out, ())
    if len(out.shape) > rank and out.shape[-1] == 1:
        out = ops.squeeze(out, axis=-1)
    while len(out.shape) < rank:
        out = ops.expand_dims(out, axis=-1)
    if len(x.shape) == len(out.shape) + 1:
        return ops.expand_dims(out, axis=axis)
    while len(out.shape) < len(x.shape):
        out = ops.expand_dims(out, axis=-1)
    return out


def _fit(weights: Shape, values: Shape) -> bool:
    """Return whether the weights broadcast once Keras gives them the values' rank."""
    shapes = [weights]
    if weights[-1:] == (1,):
        shapes.append(weights[:-1])
    if values[-1:] == (1,):
        shapes.append((*weights, 1))
    return any(
        _checks.shapes_agree([None if size == 1 else size for size in shape], values)
        for shape in shapes
    )
