"""Global response normalization: channels compete by their norms over the image."""

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._images import (
    image_channels,
    image_spec,
    resolve_data_format,
    spatial_axes,
)
from keras_ext._numerics import scale
from keras_ext._types import Config, DataFormat, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_ext")
class GlobalResponseNormalization(keras.layers.Layer):
    """Scales every channel by its norm relative to the norms of all channels.

    ConvNeXt V2 uses it after the wide activation of every block, where it keeps
    channels from becoming redundant or inactive. Each channel of an image is reduced to
    its norm over height and width; a channel whose norm is above the average is
    amplified, the others are weakened:

    `norm = sqrt(sum(input^2))`, `relative = norm / (mean(norm) + epsilon)`

    `output = gamma * (input * relative) + beta + input`

    The sum is over the pixels, the mean over the channels. `gamma` and `beta` start at
    0: the layer starts as the identity.

    Reference: S. Woo, S. Debnath, R. Hu, X. Chen, Z. Liu, I. S. Kweon, S. Xie,
    "ConvNeXt V2: Co-designing and Scaling ConvNets with Masked Autoencoders", 2023,
    https://arxiv.org/abs/2301.00808.

    Args:
        epsilon: Positive float. Keeps the division away from 0. Default: 1e-6.
        data_format: `"channels_last"` or `"channels_first"`. Default: `None`, which
            means `keras.config.image_data_format()`.
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
    >>> from keras_ext.layers import GlobalResponseNormalization
    >>> layer = GlobalResponseNormalization()
    >>> pixel = np.array([1.0, 3.0], "float32").reshape(1, 1, 1, 2)
    >>> _ = layer(pixel)
    >>> _ = layer.gamma.assign(np.ones(2))
    >>> [float(value) for value in np.ravel(layer(pixel))]  # relative: 0.5 and 1.5
    [1.5, 7.5]

    Masks are not used. Under a mixed-precision policy norms are computed in float32, so
    that squares do not overflow. The gradient of an image that is 0 is finite.
    """

    def __init__(
        self,
        *,
        epsilon: float = 1e-6,
        data_format: DataFormat | None = None,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.epsilon = _checks.number("epsilon", epsilon, low=0, open_low=True)
        self.data_format = resolve_data_format(data_format)

    def build(self, input_shape: Shape) -> None:
        """Create a scale and an offset for every channel of the input."""
        channels = image_channels(self.name, input_shape, self.data_format)
        self.input_spec = image_spec(channels, self.data_format)
        self.gamma = self.add_weight(
            name="gamma", shape=(channels,), initializer="zeros", autocast=False
        )
        self.beta = self.add_weight(name="beta", shape=(channels,), initializer="zeros")

    def call(self, inputs: Tensor) -> Tensor:
        """Return `inputs` with the channels of large norm amplified."""
        spatial = spatial_axes(self.data_format)
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        images = ops.cast(inputs, dtype)
        size = scale(images, spatial)
        squares = ops.sum(ops.square(images / size), axis=spatial)
        nothing = ops.equal(squares, 0.0)  # where the root has no gradient
        roots = ops.sqrt(ops.where(nothing, 1.0, squares))
        norms = ops.where(nothing, 0.0, ops.squeeze(size, spatial) * roots)
        mean = ops.mean(norms, axis=-1, keepdims=True)
        gain = 1 + ops.cast(self.gamma, dtype) * (norms / (mean + self.epsilon))
        gain = ops.expand_dims(ops.cast(gain, self.compute_dtype), axis=spatial)
        return inputs * gain + ops.expand_dims(self.beta, axis=(0, *spatial))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        return input_shape

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "epsilon": self.epsilon,
            "data_format": self.data_format,
        }
