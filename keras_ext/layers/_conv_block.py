"""What the blocks that are made of `ConvNormAct` have in common."""

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
    fresh_initializer,
    normalization_config,
    resolve_activation,
    resolve_data_format,
    resolve_normalization,
    sublayer_options,
)
from keras_ext.layers.conv_norm_act import ConvNormAct


class ConvBlock(keras.layers.Layer):
    """A block that hands the options of its convolutions down to them."""

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
        self.normalization = resolve_normalization(normalization, self.data_format)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "activation": keras.activations.serialize(self.activation),
            "normalization": normalization_config(self.normalization),
            "data_format": self.data_format,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }

    def _conv(
        self,
        filters: int,
        kernel_size: int | tuple[int, int] = 1,
        **options: Any,
    ) -> ConvNormAct:
        """Return a convolution with the block's options, or with other `options`."""
        shared = {
            "activation": self.activation,
            "normalization": self.normalization,
            "data_format": self.data_format,
            "kernel_initializer": fresh_initializer(self.kernel_initializer),
            "kernel_regularizer": self.kernel_regularizer,
            **sublayer_options(self),
        }
        return ConvNormAct(filters, kernel_size, **{**shared, **options})
