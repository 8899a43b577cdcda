"""The options that all layers with convolutions share."""

from typing import Any

import keras

from keras_ext._types import (
    Activation,
    Config,
    DataFormat,
    Initializer,
    Normalization,
    Regularizer,
)
from keras_ext.layers._options import (
    resolve_activation,
    resolve_data_format,
    resolve_normalization,
)


class ConvOptions(keras.layers.Layer):
    """Holds what is between and on the convolutions, and where the channels are."""

    def __init__(
        self,
        *,
        activation: Activation,
        normalization: Normalization,
        data_format: DataFormat | None,
        kernel_initializer: Initializer,
        kernel_regularizer: Regularizer,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.activation = resolve_activation("activation", activation)
        self.data_format = resolve_data_format(data_format)
        self._pattern = _Pattern(resolve_normalization(normalization, self.data_format))
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    @property
    def normalization(self) -> Normalization:
        """`"batch"`, the layer of which every convolution gets a copy, or `None`."""
        return self._pattern.normalization

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "activation": keras.activations.serialize(self.activation),
            "normalization": self._pattern.config(),
            "data_format": self.data_format,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }


class _Pattern:
    """Holds a `normalization` where Keras does not take it for a part of the layer.

    It would freeze it, count its weights and refuse to quantise it.
    """

    def __init__(self, normalization: Normalization) -> None:
        self.normalization = normalization

    def config(self) -> str | Config | None:
        if not isinstance(self.normalization, keras.layers.Layer):
            return self.normalization
        return keras.saving.serialize_keras_object(self.normalization)
