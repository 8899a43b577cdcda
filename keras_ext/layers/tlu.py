"""Thresholded linear unit: a ReLU whose threshold is learned."""

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._images import channel_axis, resolve_data_format
from keras_ext._types import Config, DataFormat, Initializer, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_ext")
class TLU(keras.layers.Layer):
    """Clips every channel from below at a learned threshold.

    The activation to use after `FilterResponseNormalization`, which does not center its
    outputs: the location of a channel's values is learned together with the threshold
    at which they are clipped.

    `output = max(input, tau)`

    Reference: S. Singh, S. Krishnan, "Filter Response Normalization Layer: Eliminating
    Batch Dependence in the Training of Deep Neural Networks", 2019, section 3.2,
    https://arxiv.org/abs/1911.09737.

    Args:
        data_format: `"channels_last"` or `"channels_first"`. Default: `None`, which
            means `keras.config.image_data_format()`.
        tau_initializer: Initializer of the threshold of every channel. Default:
            `"zeros"`, which makes it start as a ReLU.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor of any rank from 2, such as an image of any spatial size.

    Input shape:
        `(batch, ..., channels)`, or `(batch, channels, ...)` with
        `data_format="channels_first"`. `channels` must be known.

    Output shape:
        Same as the input.

    Raises:
        ValueError: If `data_format` is not one of the two; on build, if the input has
            no channels or their number is unknown.

    Example:

    >>> import numpy as np
    >>> from keras_ext.layers import TLU
    >>> layer = TLU(tau_initializer=keras.initializers.Constant(-1.0))
    >>> image = np.array([-3.0, -0.5, 2.0], "float32").reshape(1, 1, 3, 1)
    >>> [float(value) for value in np.ravel(layer(image))]
    [-1.0, -0.5, 2.0]

    Masks are not used.
    """

    def __init__(
        self,
        *,
        data_format: DataFormat | None = None,
        tau_initializer: Initializer = "zeros",
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = resolve_data_format(data_format)
        self.tau_initializer = keras.initializers.get(tau_initializer)

    def build(self, input_shape: Shape) -> None:
        """Create a threshold for every channel of the input."""
        axis = channel_axis(self.data_format)
        if len(input_shape) < 2:
            raise ValueError(
                f"{self.name} expects an input of at least rank 2, with a batch axis "
                f"and channels. Received: shape={tuple(input_shape)}"
            )
        channels = _checks.known_channels(self.name, input_shape, axis)
        self.input_spec = keras.InputSpec(min_ndim=2, axes={axis: channels})
        self.tau = self.add_weight(
            name="tau", shape=(channels,), initializer=self.tau_initializer
        )

    def call(self, inputs: Tensor) -> Tensor:
        """Return `inputs` where they exceed their threshold, else the threshold."""
        first = self.data_format == "channels_first"
        after = len(inputs.shape) - 2 if first else 0
        return ops.maximum(inputs, ops.reshape(self.tau, (-1,) + (1,) * after))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        return input_shape

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "data_format": self.data_format,
            "tau_initializer": keras.initializers.serialize(self.tau_initializer),
        }
