"""Fused inverted residuals: the block of EfficientNetV2's early stages."""

from typing import Any

import keras

from keras_ext._images import image_channels, image_spec
from keras_ext._types import (
    Activation,
    DataFormat,
    Initializer,
    Normalization,
    Regularizer,
    Shape,
    Tensor,
)
from keras_ext.layers._conv_block import ExpandingBlock


@keras.saving.register_keras_serializable(package="keras_ext")
class FusedInvertedResidual(ExpandingBlock):
    """Expands the channels with a full convolution, projects back, adds the input.

    `InvertedResidual` with its expansion and its depthwise convolution fused into one
    regular convolution: more multiplications, but of a kind that accelerators perform
    fast. It pays off where there are few channels, in the first stages of a network.

    `output = project(se(act(expand(x))))`

    plus `x` if `strides` is 1 and the input has `filters` channels. Both convolutions
    are normalized; the projection is 1x1 and has no activation. With `expansion=1` the
    expansion is left out: the projection is then the strided convolution with
    `kernel_size`, and has the activation.

    Reference: M. Tan, Q. Le, "EfficientNetV2: Smaller Models and Faster Training",
    2021, https://arxiv.org/abs/2104.00298. S. Gupta, B. Akin, "Accelerator-aware
    Neural Network Design using AutoML", 2020, https://arxiv.org/abs/2003.02838.

    Args:
        filters: Positive integer. Number of output channels.
        expansion: Float of at least 1. The block is `expansion * channels`
            channels wide inside, with halves rounded up. Default: 4.
        kernel_size: Positive integer. Size of the expansion's kernel. Default: 3.
        strides: Positive integer, of the same convolution. Default: 1.
        activation: Activation after that convolution. Default: `"silu"`.
        normalization: `"batch"`, a Keras layer that every convolution gets a copy of,
            or `None`, which gives the convolutions biases. Default: `"batch"`.
        squeeze_excite: Layer that is applied before the projection and preserves the
            shape, such as `SqueezeExcite`. Each block needs its own layer, which keeps
            its own `dtype`. Default: `None`.
        drop_rate: Float in [0, 1). Rate of the `StochasticDepth` before the
            addition; without an addition nothing is dropped. Default: 0.
        data_format: `"channels_last"` or `"channels_first"`. Default: `None`, which
            means `keras.config.image_data_format()`.
        kernel_initializer: Initializer of the kernels. Default: `"glorot_uniform"`.
        kernel_regularizer: Regularizer of the kernels. Default: `None`.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor, a batch of images of any size.
        training: Boolean, for batch normalization and stochastic depth. Default:
            `None`, which follows the calling layer or model.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)`
        with `data_format="channels_first"`. `channels` must be known.

    Output shape:
        `(batch, ceil(height / strides), ceil(width / strides), filters)`, or with
        the channels first.

    Raises:
        TypeError: If `squeeze_excite` is not a Keras layer.
        ValueError: If an argument is out of range; on build, if the input is not of
            rank 4 or its number of channels is unknown, or if `squeeze_excite` is
            another block's or changes the shape.

    Example:

    >>> import numpy as np
    >>> from keras_ext.layers import FusedInvertedResidual
    >>> block = FusedInvertedResidual(32, expansion=4, strides=2)
    >>> tuple(block(np.ones((2, 8, 8, 16), "float32")).shape)
    (2, 4, 4, 32)
    >>> block.expand.filters
    64

    Freeze the layer as a whole: `trainable` of its individual parts is not saved.

    Masks are not used. Under a mixed-precision policy the convolutions compute in the
    compute dtype, and batch normalization takes its moments in float32.
    """

    def __init__(
        self,
        filters: int,
        *,
        expansion: float = 4,
        kernel_size: int = 3,
        strides: int = 1,
        activation: Activation = "silu",
        normalization: Normalization = "batch",
        squeeze_excite: keras.layers.Layer | None = None,
        drop_rate: float = 0.0,
        data_format: DataFormat | None = None,
        kernel_initializer: Initializer = "glorot_uniform",
        kernel_regularizer: Regularizer = None,
        **kwargs: object,
    ) -> None:
        super().__init__(
            filters,
            expansion=expansion,
            kernel_size=kernel_size,
            strides=strides,
            activation=activation,
            normalization=normalization,
            squeeze_excite=squeeze_excite,
            drop_rate=drop_rate,
            data_format=data_format,
            kernel_initializer=kernel_initializer,
            kernel_regularizer=kernel_regularizer,
            **kwargs,
        )

    def build(self, input_shape: Shape) -> None:
        """Create the two convolutions and the layers between them."""
        channels = image_channels(self.name, input_shape, self.data_format)
        self.input_spec = image_spec(channels, self.data_format)
        full: dict[str, Any] = {
            "kernel_size": self.kernel_size,
            "strides": self.strides,
        }
        shape = input_shape
        self.expand = None
        if self.expansion != 1:
            expanded = self._expanded(channels)
            self.expand = self._conv(expanded, **full, name="expand")
            self.expand.build(shape)
            shape = self.expand.compute_output_shape(shape)
            full = {"activation": None}
        self._build_squeeze_excite(shape)
        self.project = self._conv(self.filters, **full, name="project")
        self.project.build(shape)
        self._build_shortcut(channels)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Return the projection, plus `inputs` where the shapes agree."""
        x = inputs
        if self.expand is not None:
            x = self.expand(x, training=training)
        x = self.project(self._squeezed(x), training=training)
        return self._with_shortcut(inputs, x, training)
