"""How a loss tells Keras which of its values count."""

import keras

from keras_ext._types import Tensor


class Masked(keras.layers.Layer):
    """Attaches a mask to a tensor: `Masked()(values, mask=mask)` returns `values`.

    A loss whose values carry a mask is averaged over the values that are kept. Keras
    attaches masks in layers only, as far as its public API goes.
    """

    def __init__(self, dtype: str) -> None:
        super().__init__(dtype=dtype, autocast=False)
        self.supports_masking = True

    def call(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return `values`; Keras hands the mask on."""
        return values
