"""Filter response normalization: every image separately, without moving moments."""

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
class FilterResponseNormalization(keras.layers.Layer):
    """Divides every channel of every image by its root mean square over the image.

    A replacement for batch normalization where batches are small: a sample does not
    depend on the others in its batch, and training and inference are the same. The mean
    is not subtracted, so outputs may be far from 0; place `TLU` after the layer instead
    of a ReLU, as the paper does:

    `output = gamma * input / sqrt(mean(input^2) + epsilon) + beta`

    Reference: S. Singh, S. Krishnan, "Filter Response Normalization Layer: Eliminating
    Batch Dependence in the Training of Deep Neural Networks", 2019,
    https://arxiv.org/abs/1911.09737.

    Args:
        epsilon: Positive float. Keeps the square root away from 0. Default: 1e-6.
        learn_epsilon: Boolean. Whether the magnitude of a trained number, which starts
            at 1e-4, is added to `epsilon`. The paper does so for images that may
            consist of one pixel, which would otherwise be normalized to its sign.
            Default: `False`.
        data_format: `"channels_last"` or `"channels_first"`. Default: `None`, which
            means `keras.config.image_data_format()`.
        beta_initializer: Initializer of the offset of every channel. Default:
            `"zeros"`.
        gamma_initializer: Initializer of the scale of every channel. Default: `"ones"`.
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
    >>> from keras_ext.layers import FilterResponseNormalization
    >>> layer = FilterResponseNormalization()
    >>> image = np.array([3.0, -4.0], "float32").reshape(1, 1, 2, 1)
    >>> [float(value) for value in np.ravel(layer(image))]  # 3 and -4 over sqrt(12.5)
    [0.8485, -1.1313]

    Masks are not used. Under a mixed-precision policy the layer computes in float32, as
    Keras's `BatchNormalization` does, so that squares do not overflow.
    """

    def __init__(
        self,
        *,
        epsilon: float = 1e-6,
        learn_epsilon: bool = False,
        data_format: DataFormat | None = None,
        beta_initializer: Initializer = "zeros",
        gamma_initializer: Initializer = "ones",
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.epsilon = _checks.number("epsilon", epsilon, low=0, open_low=True)
        self.learn_epsilon = _checks.one_of(
            "learn_epsilon", learn_epsilon, (True, False)
        )
        self.data_format = resolve_data_format(data_format)
        self.beta_initializer = keras.initializers.get(beta_initializer)
        self.gamma_initializer = keras.initializers.get(gamma_initializer)

    def build(self, input_shape: Shape) -> None:
        """Create a scale and an offset for every channel of the input."""
        channels = image_channels(self.name, input_shape, self.data_format)
        self.input_spec = image_spec(channels, self.data_format)
        self.gamma = self._weight("gamma", (channels,), self.gamma_initializer)
        self.beta = self._weight("beta", (channels,), self.beta_initializer)
        if self.learn_epsilon:
            start = keras.initializers.Constant(1e-4)
            self.learned_epsilon = self._weight("learned_epsilon", (), start)

    def call(self, inputs: Tensor) -> Tensor:
        """Return the normalized images, scaled and shifted."""
        spatial = spatial_axes(self.data_format)
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        images = ops.cast(inputs, dtype)
        power = ops.mean(ops.square(images), axis=spatial) + self.epsilon
        if self.learn_epsilon:
            power = power + ops.abs(ops.cast(self.learned_epsilon, dtype))
        scale = ops.cast(self.gamma, dtype) * ops.rsqrt(power)
        beta = ops.expand_dims(ops.cast(self.beta, dtype), axis=(0, *spatial))
        outputs = images * ops.expand_dims(scale, axis=spatial) + beta
        return ops.cast(outputs, self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        return input_shape

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "epsilon": self.epsilon,
            "learn_epsilon": self.learn_epsilon,
            "data_format": self.data_format,
            "beta_initializer": keras.initializers.serialize(self.beta_initializer),
            "gamma_initializer": keras.initializers.serialize(self.gamma_initializer),
        }

    def _weight(self, name: str, shape: Shape, initializer: Initializer) -> Tensor:
        return self.add_weight(
            name=name, shape=shape, initializer=initializer, autocast=False
        )
