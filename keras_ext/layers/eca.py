"""Efficient channel attention: gates from neighboring channels, with few weights."""

import math

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._images import (
    image_channels,
    image_spec,
    resolve_data_format,
    spatial_axes,
)
from keras_ext._types import Config, DataFormat, Initializer, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_ext")
class ECA(keras.layers.Layer):
    """Scales every channel by a gate computed from the averages of its neighbors.

    Each channel is averaged over the image; one small convolution that runs along the
    channels turns the averages into one gate per channel; the input is multiplied by
    the gates. It does what `SqueezeExcite` does at the cost of `kernel_size` weights:

    `output = input * sigmoid(w * mean(input))`, with zeros beyond the outer channels

    Reference: Q. Wang, B. Wu, P. Zhu, P. Li, W. Zuo, Q. Hu, "ECA-Net: Efficient
    Channel Attention for Deep Convolutional Neural Networks", 2019,
    https://arxiv.org/abs/1910.03151.

    Args:
        kernel_size: Positive odd integer. How many neighboring channels determine a
            gate. Default: `None`, which grows with the number of channels as in the
            paper: `(log2(channels) + 1) / 2`, rounded down, plus 1 if that is even.
        data_format: `"channels_last"` or `"channels_first"`. Default: `None`, which
            means `keras.config.image_data_format()`.
        kernel_initializer: Initializer of the kernel. Default: `"glorot_uniform"`.
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
    >>> from keras_ext.layers import ECA
    >>> layer = ECA()
    >>> tuple(layer(np.ones((2, 8, 8, 256), "float32")).shape)
    (2, 8, 8, 256)
    >>> tuple(layer.kernel.shape)
    (5, 1, 1)

    Masks are not used. Under a mixed-precision policy the average is taken in the
    compute dtype, as Keras's `GlobalAveragePooling2D` takes it.
    """

    def __init__(
        self,
        kernel_size: int | None = None,
        *,
        data_format: DataFormat | None = None,
        kernel_initializer: Initializer = "glorot_uniform",
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.kernel_size = _checks.optional(_checks.odd_int, "kernel_size", kernel_size)
        self.data_format = resolve_data_format(data_format)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: Shape) -> None:
        """Create the kernel, whose size may depend on the number of channels."""
        channels = image_channels(self.name, input_shape, self.data_format)
        self.input_spec = image_spec(channels, self.data_format)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size or _kernel_size(channels), 1, 1),
            initializer=self.kernel_initializer,
        )

    def call(self, inputs: Tensor) -> Tensor:
        """Return `inputs` with every channel multiplied by its gate."""
        spatial = spatial_axes(self.data_format)
        means = ops.expand_dims(ops.mean(inputs, axis=spatial), axis=-1)
        gates = ops.sigmoid(
            ops.conv(means, self.kernel, padding="same", data_format="channels_last")
        )
        return inputs * ops.expand_dims(ops.squeeze(gates, axis=-1), axis=spatial)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        return input_shape

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "data_format": self.data_format,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def _kernel_size(channels: int) -> int:
    """Return the odd size that the paper's authors give a kernel for `channels`."""
    size = int((math.log2(channels) + 1) / 2)
    return size if size % 2 else size + 1
