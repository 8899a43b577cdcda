"""Inverted residuals: the block of MobileNetV2, MobileNetV3 and EfficientNet."""

import keras

from keras_ext._images import image_channels, image_shape_after, image_spec
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
from keras_ext.layers._options import (
    built_norm,
    fresh_initializer,
    sublayer_options,
)


@keras.saving.register_keras_serializable(package="keras_ext")
class InvertedResidual(ExpandingBlock):
    """Expands the channels, filters each separately, projects back, adds the input.

    The mobile networks' block: wide inside, where a depthwise convolution is cheap,
    and narrow outside, where the residual connection runs. The projection has no
    activation, since it would destroy information in so few channels.

    `output = project(se(act(depthwise(act(expand(x))))))`

    plus `x` if `strides` is 1 and the input has `filters` channels. Each of the three
    convolutions is normalized; `expand` is left out if `expansion` is 1.

    Reference: M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L. Chen, "MobileNetV2:
    Inverted Residuals and Linear Bottlenecks", 2018,
    https://arxiv.org/abs/1801.04381. With squeeze-and-excitation: A. Howard et al.,
    "Searching for MobileNetV3", 2019, https://arxiv.org/abs/1905.02244; M. Tan, Q.
    Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
    2019, https://arxiv.org/abs/1905.11946.

    Args:
        filters: Positive integer. Number of output channels.
        expansion: Float of at least 1. The block is `expansion * channels`
            channels wide inside, with halves rounded up. Default: 6.
        kernel_size: Positive integer. Size of the depthwise kernel. Default: 3.
        strides: Positive integer, of the depthwise convolution. Default: 1.
        activation: Activation after the first two convolutions. Default: `"relu6"`.
        normalization: `"batch"`, a Keras layer that every convolution gets a copy of,
            or `None`, which gives the convolutions biases. Default: `"batch"`.
        squeeze_excite: Layer that is applied to the expanded channels before the
            projection and preserves their shape, such as `SqueezeExcite`. Each block
            needs its own layer, which keeps its own `dtype`. Default: `None`.
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
    >>> from keras_ext.layers import InvertedResidual, SqueezeExcite
    >>> x = np.ones((2, 8, 8, 24), "float32")
    >>> tuple(InvertedResidual(32, strides=2)(x).shape)
    (2, 4, 4, 32)

    A block of MobileNetV3 has `"hard_sigmoid"` gates; it squeezes to a quarter of the
    expanded channels, rounded to a multiple of 8, here 240 to 64:

    >>> x = np.ones((2, 8, 8, 40), "float32")
    >>> block = InvertedResidual(
    ...     40,
    ...     expansion=6,
    ...     kernel_size=5,
    ...     activation="hard_silu",
    ...     squeeze_excite=SqueezeExcite(filters=64, gate_activation="hard_sigmoid"),
    ... )
    >>> tuple(block(x).shape)
    (2, 8, 8, 40)

    A block of EfficientNet uses the activation `"silu"` throughout, and stochastic
    depth; it squeezes to a quarter of the block's input channels, here 40 to 10:

    >>> block = InvertedResidual(
    ...     40,
    ...     expansion=6,
    ...     kernel_size=5,
    ...     activation="silu",
    ...     squeeze_excite=SqueezeExcite(filters=10, activation="silu"),
    ...     drop_rate=0.05,
    ... )
    >>> tuple(block(x).shape)
    (2, 8, 8, 40)

    Freeze the layer as a whole: `trainable` of its individual parts is not saved.

    Masks are not used. Under a mixed-precision policy the convolutions compute in the
    compute dtype, and batch normalization takes its moments in float32.
    """

    def __init__(
        self,
        filters: int,
        *,
        expansion: float = 6,
        kernel_size: int = 3,
        strides: int = 1,
        activation: Activation = "relu6",
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
        """Create the three convolutions and the layers between them."""
        channels = image_channels(self.name, input_shape, self.data_format)
        self.input_spec = image_spec(channels, self.data_format)
        expanded = self._expanded(channels)
        shape = image_shape_after(input_shape, expanded, 1, self.data_format)
        self.expand = None
        if self.expansion != 1:
            self.expand = self._conv(expanded, name="expand")
            self.expand.build(input_shape)
        self.depthwise = self._depthwise()
        self.depthwise.build(shape)
        shape = image_shape_after(shape, expanded, self.strides, self.data_format)
        self.depthwise_norm = built_norm(self, shape, "depthwise_norm")
        self._build_squeeze_excite(shape)
        self.project = self._conv(self.filters, activation=None, name="project")
        self.project.build(shape)
        self._build_shortcut(channels)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Return the projection, plus `inputs` where the shapes agree."""
        x = inputs
        if self.expand is not None:
            x = self.expand(x, training=training)
        x = self.depthwise(x)
        if self.depthwise_norm is not None:
            x = self.depthwise_norm(x, training=training)
        x = self.activation(x)
        x = self.project(self._squeezed(x), training=training)
        return self._with_shortcut(inputs, x, training)

    def _depthwise(self) -> keras.Layer:
        return keras.layers.DepthwiseConv2D(
            self.kernel_size,
            strides=self.strides,
            padding="same",
            data_format=self.data_format,
            use_bias=self.normalization is None,
            depthwise_initializer=fresh_initializer(self.kernel_initializer),
            depthwise_regularizer=self.kernel_regularizer,
            name="depthwise",
            **sublayer_options(self),
        )
