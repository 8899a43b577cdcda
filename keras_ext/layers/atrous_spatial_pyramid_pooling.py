"""Atrous spatial pyramid pooling: one image at several scales, as DeepLab sees it."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._images import (
    channel_axis,
    image_channels,
    image_shape_after,
    image_spec,
    spatial_axes,
)
from keras_ext._types import (
    Activation,
    Config,
    DataFormat,
    Initializer,
    Normalization,
    Regularizer,
    Shape,
    Tensor,
)
from keras_ext.layers._conv_block import ConvBlock


@keras.saving.register_keras_serializable(package="keras_ext")
class AtrousSpatialPyramidPooling(ConvBlock):
    """Concatenates dilated convolutions of several rates and the image's average.

    For dense prediction: the head of DeepLabV3, after a network whose output is 8 or 16
    times smaller than the image. Each dilation rate sees the surroundings of a pixel at
    another scale, without losing resolution; the average of all pixels gives the
    context of the whole image.

    `output = project(concat(c1x1(x), c3x3_rate1(x), ..., c3x3_raten(x), image(x)))`

    where `image` is the average over all pixels, a 1x1 convolution, and the same value
    at every pixel; each convolution is followed by normalization and activation.

    Reference: L. Chen, G. Papandreou, F. Schroff, H. Adam, "Rethinking Atrous
    Convolution for Semantic Image Segmentation", 2017, section 3.3,
    https://arxiv.org/abs/1706.05587.

    Args:
        filters: Positive integer. Output channels of every convolution.
            Default: 256.
        dilation_rates: Nonempty sequence of positive integers. The paper uses
            `(6, 12, 18)` for an output 16 times smaller than the image, and twice these
            for one 8 times smaller. Default: `(6, 12, 18)`.
        activation: Activation of every convolution. Default: `"relu"`.
        normalization: `"batch"`, a Keras layer that every convolution gets a copy of,
            or `None`. Default: `"batch"`.
        data_format: `"channels_last"` or `"channels_first"`. Default: `None`, which
            means `keras.config.image_data_format()`.
        kernel_initializer: Initializer of the kernels. Default: `"glorot_uniform"`.
        kernel_regularizer: Regularizer of the kernels. Default: `None`.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor, a batch of images of any size.
        training: Boolean, for batch normalization. Default: `None`, which follows the
            calling layer or model.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)`
        with `data_format="channels_first"`. `channels` must be known.

    Output shape:
        Same as the input, with `filters` channels.

    Raises:
        ValueError: If an argument is out of range; on build, if the input is not of
            rank 4 or its number of channels is unknown.

    Example:

    >>> import numpy as np
    >>> from keras_ext.layers import AtrousSpatialPyramidPooling
    >>> head = AtrousSpatialPyramidPooling(32, dilation_rates=(2, 4))
    >>> tuple(head(np.ones((1, 16, 16, 8), "float32")).shape)
    (1, 16, 16, 32)

    Freeze the layer as a whole: `trainable` of its individual parts is not saved.

    The image's average has a single pixel per sample: with batch normalization and a
    batch of one, training would normalize it to zero, so use larger batches.

    Masks are not used. Under a mixed-precision policy the average is taken in the
    compute dtype, as Keras's `GlobalAveragePooling2D` takes it.
    """

    def __init__(
        self,
        filters: int = 256,
        *,
        dilation_rates: Sequence[int] = (6, 12, 18),
        activation: Activation = "relu",
        normalization: Normalization = "batch",
        data_format: DataFormat | None = None,
        kernel_initializer: Initializer = "glorot_uniform",
        kernel_regularizer: Regularizer = None,
        **kwargs: object,
    ) -> None:
        super().__init__(
            activation=activation,
            normalization=normalization,
            data_format=data_format,
            kernel_initializer=kernel_initializer,
            kernel_regularizer=kernel_regularizer,
            **kwargs,
        )
        self.filters = _checks.positive_int("filters", filters)
        self.dilation_rates = _checks.positive_ints("dilation_rates", dilation_rates)

    def build(self, input_shape: Shape) -> None:
        """Create the convolutions of all scales and the one that joins them."""
        channels = image_channels(self.name, input_shape, self.data_format)
        self.input_spec = image_spec(channels, self.data_format)
        self.conv_1x1 = self._conv(self.filters, name="conv_1x1")
        self.dilated = [
            self._conv(self.filters, 3, dilation_rate=rate, name=f"dilated_{rate}")
            for rate in self.dilation_rates
        ]
        self.image = self._conv(self.filters, name="image")
        for conv in (self.conv_1x1, *self.dilated, self.image):
            conv.build(input_shape)
        width = (len(self.dilation_rates) + 2) * self.filters
        self.project = self._conv(self.filters, name="project")
        self.project.build(image_shape_after(input_shape, width, 1, self.data_format))

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Return all scales and the image's average, joined by a 1x1 convolution."""
        branches = [
            conv(inputs, training=training) for conv in (self.conv_1x1, *self.dilated)
        ]
        spatial = spatial_axes(self.data_format)
        image = ops.mean(inputs, axis=spatial, keepdims=True)
        image = self.image(image, training=training)
        branches.append(ops.broadcast_to(image, ops.shape(branches[0])))
        joined = ops.concatenate(branches, axis=channel_axis(self.data_format))
        return self.project(joined, training=training)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape with `filters` channels."""
        return image_shape_after(input_shape, self.filters, 1, self.data_format)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "dilation_rates": self.dilation_rates,
        }
