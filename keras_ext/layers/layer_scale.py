"""Layer scale: residual branches that start small."""

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Config, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_ext")
class LayerScale(keras.layers.Layer):
    """Multiplies every channel by a learned number that starts near 0.

    Place it at the end of a residual branch, before the addition. Every block of a deep
    network then starts near the identity, and each channel of each branch grows as far
    as is useful. Deep image transformers and ConvNeXt use it:

    `output = inputs * gamma`

    Reference: H. Touvron, M. Cord, A. Sablayrolles, G. Synnaeve, H. Jégou, "Going
    deeper with Image Transformers", 2021, https://arxiv.org/abs/2103.17239.

    Args:
        initial_value: Float. Initial value of `gamma`. The paper uses 0.1 for up to 18
            blocks, 1e-5 for 24 and 1e-6 for more; ConvNeXt uses 1e-6. Default: 1e-5.
        axis: Integer, not that of the batch. The axis whose entries have their own
            number; 1 for images with the channels first. Default: -1.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor of any rank from 2, the output of a residual branch.

    Input shape:
        `(batch, ..., channels)`, or with the channels at `axis`. `channels` must be
        known.

    Output shape:
        Same as the input.

    Raises:
        ValueError: If an argument is out of range; on build, if the input has no such
            axis or its size is unknown.

    Example:

    >>> import numpy as np
    >>> from keras_ext.layers import LayerScale
    >>> layer = LayerScale(0.1)
    >>> [float(value) for value in layer(np.array([[1.0, -2.0]], "float32"))[0]]
    [0.1, -0.2]

    Masks pass through. In float16 numbers below 6e-5 lose digits, and those below
    3e-8 are 0; bfloat16 and float32 hold every sensible `initial_value`.
    """

    def __init__(
        self, initial_value: float = 1e-5, *, axis: int = -1, **kwargs: object
    ) -> None:
        super().__init__(**kwargs)
        self.initial_value = _checks.number("initial_value", initial_value)
        self.axis = _checks.integer("axis", axis)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        """Create a number for every entry of the axis."""
        rank = len(input_shape)
        if not -rank <= self.axis < rank or self.axis % rank == 0:
            raise ValueError(
                f"`axis` of {self.name} must be an axis of the input other than the "
                f"batch axis. Received: axis={self.axis}, shape={tuple(input_shape)}"
            )
        channels = _checks.known_channels(self.name, input_shape, self.axis)
        self.input_spec = keras.InputSpec(
            min_ndim=max(2, 1 - self.axis), axes={self.axis: channels}
        )
        self.gamma = self.add_weight(
            name="gamma",
            shape=(channels,),
            initializer=keras.initializers.Constant(self.initial_value),
        )

    def call(self, inputs: Tensor) -> Tensor:
        """Return `inputs` with every channel multiplied by its number."""
        rank = len(inputs.shape)
        behind = rank - 1 - self.axis % rank
        return inputs * ops.reshape(self.gamma, (-1,) + (1,) * behind)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        return input_shape

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "initial_value": self.initial_value,
            "axis": self.axis,
        }
