"""Losses of TensorFlow Addons as losses of Keras 3."""

from typing import Any

import keras

from keras_ext._types import Tensor
from keras_ext.addons._config import Adapted, check_kind

_REDUCTIONS = {"auto": "sum_over_batch_size"}


@keras.saving.register_keras_serializable(package="keras_ext")
class AddonsLoss(Adapted, keras.losses.Loss):
    """A loss of Keras 3 around one of Keras 2; `addons.loss` makes it.

    Args:
        legacy: Loss or function of TensorFlow Addons or tf_keras.
    """

    def __init__(self, legacy: Any) -> None:
        import tf_keras

        check_kind(legacy, "loss", tf_keras.losses.Loss, functions="losses")
        is_loss = isinstance(legacy, tf_keras.losses.Loss)
        reduction = str(legacy.reduction) if is_loss else "auto"
        name = legacy.name if is_loss else legacy.__name__
        super().__init__(name=name, reduction=_REDUCTIONS.get(reduction, reduction))
        self.legacy = legacy
        self._function = legacy.call if is_loss else legacy

    def __call__(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Return the loss, weighed, masked and reduced by Keras 3.

        Raises:
            ValueError: If samples have weights, and the loss one value for all of them.
        """
        value = super().__call__(y_true, y_pred, sample_weight)
        if self._is_of_batch and sample_weight is not None:
            raise ValueError(
                f"{self.name} of TensorFlow Addons returns one value for a batch, "
                "which no weights of samples apply to. Received: `sample_weight` of "
                f"shape {keras.ops.shape(sample_weight)}. Leave it out, or use the "
                "loss of keras_ext that replaces it, which has a value for each sample."
            )
        return value

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the values of the loss, as TensorFlow Addons computes them."""
        values = self._function(y_true, y_pred)
        self._is_of_batch = keras.ops.ndim(values) == 0
        return values


def loss(legacy: Any) -> AddonsLoss:
    """Make a Keras 3 loss of one of TensorFlow Addons.

    TensorFlow Addons computes the values, and Keras 3 weighs, masks and reduces them:
    `sum_over_batch_size` for the reduction `AUTO` of Keras 2, otherwise the same. With
    `NONE`, the default of `SigmoidFocalCrossEntropy`, `Model.fit` follows the gradient
    of the sum, as Keras 2 did; a `Trainer` wants one number: pass a `reduction` there.

    Args:
        legacy: Loss of TensorFlow Addons or tf_keras, or a function of `tfa.losses`.

    Returns:
        A `keras.losses.Loss`, for `compile`, `add_loss` and `.keras` files.

    Raises:
        TypeError: If it is neither.

    Example:

    >>> from keras_ext import addons
    >>> loss = addons.loss(addons.tfa.losses.GIoULoss())
    >>> float(loss([[4.0, 3.0, 7.0, 5.0]], [[3.0, 4.0, 6.0, 8.0]]))
    1.075
    """
    return AddonsLoss(legacy)
