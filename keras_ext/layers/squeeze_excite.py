"""Squeeze-and-excitation: channels weighted by what the whole image shows."""

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._images import (
    image_channels,
    image_spec,
    resolve_data_format,
    spatial_axes,
)
from keras_ext._types import Activation, Config, DataFormat, Initializer, Shape, Tensor
from keras_ext.layers._options import (
    dtype_config,
    fresh_initializer,
    resolve_activation,
    sublayer_options,
)


@keras.saving.register_keras_serializable(package="keras_ext")
class SqueezeExcite(keras.layers.Layer):
    """Scales every channel by a gate computed from the global average of all.

    Each channel is averaged over the image ("squeeze"); two dense layers, the first of
    them narrow, turn the averages into one gate per channel ("excite"); the input is
    multiplied by the gates. Place it after a convolution whose channels should react to
    the whole image, at a cost of `2 * channels * squeezed` weights:

    `output = input * gate(W2 · act(W1 · mean(input) + b1) + b2)`

    Reference: J. Hu, L. Shen, G. Sun, "Squeeze-and-Excitation Networks", 2018,
    https://arxiv.org/abs/1709.01507.

    Args:
        ratio: Float in (0, 1]. Width of the narrow layer as a fraction of the input
            channels, rounded down, at least 1. Default: 1/16, as in the paper.
        filters: Positive integer. Width of the narrow layer as a number of channels; if
            given, `ratio` is not used. Default: `None`.
        activation: Activation of the narrow layer. Default: `"relu"`.
        gate_activation: Activation of the gates. `"hard_sigmoid"` is MobileNetV3's.
            Default: `"sigmoid"`.
        data_format: `"channels_last"` or `"channels_first"`. Default: `None`, which
            means `keras.config.image_data_format()`.
        kernel_initializer: Initializer of both dense layers. Default:
            `"glorot_uniform"`.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor, an image of any spatial size.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)`
        with `data_format="channels_first"`. `channels` must be known.

    Output shape:
        Same as the input.

    Raises:
        ValueError: If an argument is out of range; on build, if the input is not of
            rank 4 or its number of channels is unknown.

    Example:

    >>> import numpy as np
    >>> from keras_ext.layers import SqueezeExcite
    >>> layer = SqueezeExcite(ratio=0.25)
    >>> tuple(layer(np.ones((2, 8, 8, 32), "float32")).shape)
    (2, 8, 8, 32)
    >>> [tuple(weight.shape) for weight in layer.weights]
    [(32, 8), (8,), (8, 32), (32,)]

    Freeze the layer as a whole: `trainable` of its individual parts is not saved.

    Masks are not used. Under a mixed-precision policy the average is taken in the
    compute dtype, as Keras's `GlobalAveragePooling2D` takes it.
    """

    def __init__(
        self,
        ratio: float = 0.0625,
        *,
        filters: int | None = None,
        activation: Activation = "relu",
        gate_activation: Activation = "sigmoid",
        data_format: DataFormat | None = None,
        kernel_initializer: Initializer = "glorot_uniform",
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.ratio = _checks.number("ratio", ratio, low=0, high=1, open_low=True)
        self.filters = _checks.optional(_checks.positive_int, "filters", filters)
        self.activation = resolve_activation("activation", activation)
        self.gate_activation = resolve_activation("gate_activation", gate_activation)
        self.data_format = resolve_data_format(data_format)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: Shape) -> None:
        """Create the two dense layers for the input's number of channels."""
        channels = image_channels(self.name, input_shape, self.data_format)
        self.input_spec = image_spec(channels, self.data_format)
        squeezed = self.filters or max(1, int(channels * self.ratio + 1e-6))
        self.reduce = self._dense(squeezed, self.activation, "reduce")
        self.expand = self._dense(channels, self.gate_activation, "expand")
        self.reduce.build((None, channels))
        self.expand.build((None, squeezed))

    def call(self, inputs: Tensor) -> Tensor:
        """Return `inputs` with every channel multiplied by its gate."""
        spatial = spatial_axes(self.data_format)
        gates = self.expand(self.reduce(ops.mean(inputs, axis=spatial)))
        return inputs * ops.expand_dims(gates, axis=spatial)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        return input_shape

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "dtype": dtype_config(self),
            "ratio": self.ratio,
            "filters": self.filters,
            "activation": keras.activations.serialize(self.activation),
            "gate_activation": keras.activations.serialize(self.gate_activation),
            "data_format": self.data_format,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }

    def _dense(self, units: int, activation: Activation, name: str) -> keras.Layer:
        return keras.layers.Dense(
            units,
            activation=activation,
            kernel_initializer=fresh_initializer(self.kernel_initializer),
            name=name,
            **sublayer_options(self, name),
        )
