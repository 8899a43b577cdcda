"""Convolutional block attention: which channels matter, then which positions."""

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._images import (
    channel_axis,
    image_channels,
    image_spec,
    resolve_data_format,
    spatial_axes,
)
from keras_ext._numerics import highest
from keras_ext._types import Activation, Config, DataFormat, Initializer, Shape, Tensor
from keras_ext.layers._options import (
    dtype_config,
    fresh_initializer,
    sublayer_options,
)


@keras.saving.register_keras_serializable(package="keras_ext")
class CBAM(keras.layers.Layer):
    """Scales every channel by a gate, and then every pixel by another.

    The gates of the channels come from their averages and their maxima over the
    image, each of which goes through the same two dense layers, the first of them
    narrow. The gates of the pixels come from a convolution over two maps: the average
    and the maximum over the channels. Place it at the end of a residual branch:

    `x = input * sigmoid(mlp(mean(input)) + mlp(max(input)))`, over height and width

    `output = x * sigmoid(W * [mean(x), max(x)])`, over the channels

    with `mlp(v) = W2 · relu(W1 · v + b1) + b2`.

    Reference: S. Woo, J. Park, J.-Y. Lee, I. S. Kweon, "CBAM: Convolutional Block
    Attention Module", 2018, https://arxiv.org/abs/1807.06521.

    Args:
        ratio: Float in (0, 1]. Width of the narrow layer as a fraction of the input
            channels, rounded down, at least 1. Default: 1/16, as in the paper.
        kernel_size: Positive odd integer. Size of the convolution. Default: 7, as in
            the paper.
        data_format: `"channels_last"` or `"channels_first"`. Default: `None`, which
            means `keras.config.image_data_format()`.
        kernel_initializer: Initializer of the dense layers and of the convolution.
            Default: `"glorot_uniform"`.
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
    >>> from keras_ext.layers import CBAM
    >>> layer = CBAM(ratio=0.25)
    >>> tuple(layer(np.ones((2, 8, 8, 32), "float32")).shape)
    (2, 8, 8, 32)
    >>> [tuple(weight.shape) for weight in layer.weights]
    [(32, 8), (8,), (8, 32), (32,), (7, 7, 2, 1)]

    The convolution has no bias. The authors' code adds batch normalization after it,
    which the paper does not mention; this layer has none. Freeze the layer as a whole:
    `trainable` of its individual parts is not saved.

    Masks are not used. Under a mixed-precision policy the averages are taken in the
    compute dtype, as Keras's `GlobalAveragePooling2D` takes them.
    """

    def __init__(
        self,
        ratio: float = 0.0625,
        *,
        kernel_size: int = 7,
        data_format: DataFormat | None = None,
        kernel_initializer: Initializer = "glorot_uniform",
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.ratio = _checks.number("ratio", ratio, low=0, high=1, open_low=True)
        self.kernel_size = _checks.odd_int("kernel_size", kernel_size)
        self.data_format = resolve_data_format(data_format)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: Shape) -> None:
        """Create the two dense layers and the convolution."""
        channels = image_channels(self.name, input_shape, self.data_format)
        self.input_spec = image_spec(channels, self.data_format)
        narrow = max(1, int(channels * self.ratio + 1e-6))
        self.reduce = self._dense(narrow, "relu", "reduce")
        self.expand = self._dense(channels, None, "expand")
        self.spatial = keras.layers.Conv2D(
            1,
            self.kernel_size,
            padding="same",
            data_format=self.data_format,
            activation="sigmoid",
            use_bias=False,
            kernel_initializer=fresh_initializer(self.kernel_initializer),
            name="spatial",
            **sublayer_options(self),
        )
        self.reduce.build((None, channels))
        self.expand.build((None, narrow))
        maps = list(input_shape)
        maps[channel_axis(self.data_format)] = 2
        self.spatial.build(tuple(maps))

    def call(self, inputs: Tensor) -> Tensor:
        """Return `inputs` with every channel and every pixel gated."""
        spatial = spatial_axes(self.data_format)
        averages = self.expand(self.reduce(ops.mean(inputs, axis=spatial)))
        maxima = self.expand(self.reduce(highest(inputs, axis=spatial)))
        gates = ops.sigmoid(averages + maxima)
        x = inputs * ops.expand_dims(gates, axis=spatial)
        axis = channel_axis(self.data_format)
        maps = [
            ops.mean(x, axis=axis, keepdims=True),
            highest(x, axis=axis, keepdims=True),
        ]
        return x * self.spatial(ops.concatenate(maps, axis=axis))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        return input_shape

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "dtype": dtype_config(self),
            "ratio": self.ratio,
            "kernel_size": self.kernel_size,
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
