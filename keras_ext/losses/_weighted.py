"""What the losses with a value for each sample share: which weights fit."""

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Shape, Tensor


class WeightedLoss(keras.losses.Loss):
    """A loss whose values are `y_pred`, less the axis `axis`; refuses other weights.

    Keras multiplies values and weights as far as they broadcast: weights `(batch,)`
    beside values `(batch, time)` would be those of the time steps where there are as
    many of them, and an error of the backend elsewhere.

    May be overridden: `axis`, `_values_shape`, `_check_weights`. Not to be overridden:
    `__call__`.
    """

    axis: int = -1

    def __call__(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Return the weighted and reduced loss."""
        if sample_weight is not None:
            y_pred = ops.convert_to_tensor(y_pred)
            sample_weight = ops.convert_to_tensor(sample_weight, dtype=self.dtype)
            self._check_weights(tuple(sample_weight.shape), tuple(y_pred.shape))
        return super().__call__(y_true, y_pred, sample_weight)

    def _values_shape(self, y_pred_shape: Shape) -> Shape:
        """Return the shape of the loss's values, for `_check_weights`."""
        axis = self.axis % max(len(y_pred_shape), 1)
        return (*y_pred_shape[:axis], *y_pred_shape[axis + 1 :])

    def _check_weights(self, weights: Shape, y_pred_shape: Shape) -> None:
        """Raise `ValueError` unless the weights fit; called wherever there are any."""
        values = self._values_shape(y_pred_shape)
        is_one = all(size == 1 for size in weights)
        if values and not is_one and not _fit(weights, values):
            samples = (values[0], *[1] * (len(values) - 1))
            raise ValueError(
                f"{self.name} expects `sample_weight` to hold one weight for each "
                f"value of the loss, of shape {values}, or for each sample, {samples}. "
                f"Received: sample_weight.shape={weights}, y_pred.shape={y_pred_shape}"
            )


def _fit(weights: Shape, values: Shape) -> bool:
    """Return whether Keras makes weights of the values' rank that then broadcast."""
    shapes = [weights]
    if weights[-1:] == (1,):
        shapes.append(weights[:-1])
    if values[-1:] == (1,):
        shapes.append((*weights, 1))
    return any(
        _checks.shapes_agree([None if size == 1 else size for size in shape], values)
        for shape in shapes
    )
