"""The Inception module: one image seen through filters of several sizes."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._images import (
    channel_axis,
    image_channels,
    image_shape_after,
    image_spec,
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
from keras_ext.layers.conv_norm_act import ConvNormAct


@keras.saving.register_keras_serializable(package="keras_ext")
class InceptionModule(ConvBlock):
    """Concatenates 1x1, 3x3 and 5x5 convolutions and a max pooling of the same image.

    The network need not choose the size of its filters: it gets all of them. In the
    naive module (figure 2a of the paper) every convolution sees all input channels;
    with dimension reduction (figure 2b) a 1x1 convolution first reduces their number,
    which makes deep stacks of modules affordable:

    `output = concat(c1(x), c3(r3(x)), c5(r5(x)), p(maxpool3x3(x)))`

    where each letter stands for a `ConvNormAct`, and `r3`, `r5` and `p` are optional.

    Reference: C. Szegedy, W. Liu, Y. Jia, P. Sermanet, S. Reed, D. Anguelov, D.
    Erhan, V. Vanhoucke, A. Rabinovich, "Going Deeper with Convolutions", 2015,
    https://arxiv.org/abs/1409.4842.

    Args:
        filters_1x1: Positive integer. Output channels of the 1x1 branch.
        filters_3x3: Positive integer, the output channels of the 3x3 branch; or a
            pair `(reduced, filters)`, which reduces the input to `reduced` channels
            before the 3x3 convolution.
        filters_5x5: Likewise for the 5x5 branch.
        filters_pool: Positive integer, the channels onto which the pooled input is
            projected; or `None`, which leaves it unchanged.
        activation: Activation of every convolution, including the reductions. Default:
            `"relu"`.
        normalization: `"batch"`, a Keras layer that every convolution gets a copy of,
            or `None`. Default: `None`, as in the paper.
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
        Same as the input, with the channels of the four branches, in the order 1x1,
        3x3, 5x5, pool.

    Raises:
        ValueError: If an argument is out of range; on build, if the input is not of
            rank 4 or its number of channels is unknown.

    Example:

    The first module of GoogLeNet, "inception (3a)":

    >>> import numpy as np
    >>> from keras_ext.layers import InceptionModule
    >>> module = InceptionModule(64, (96, 128), (16, 32), 32)
    >>> tuple(module(np.ones((1, 28, 28, 192), "float32")).shape)
    (1, 28, 28, 256)
    >>> module.count_params()
    163696

    Freeze the layer as a whole: `trainable` of its individual parts is not saved.

    Masks are not used. Under a mixed-precision policy every convolution computes in the
    compute dtype.
    """

    def __init__(
        self,
        filters_1x1: int,
        filters_3x3: int | tuple[int, int],
        filters_5x5: int | tuple[int, int],
        filters_pool: int | None,
        *,
        activation: Activation = "relu",
        normalization: Normalization = None,
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
        self.filters_1x1 = _checks.positive_int("filters_1x1", filters_1x1)
        self.filters_3x3 = _checks.int_or_pair("filters_3x3", filters_3x3)
        self.filters_5x5 = _checks.int_or_pair("filters_5x5", filters_5x5)
        self.filters_pool = _checks.optional(
            _checks.positive_int, "filters_pool", filters_pool
        )

    def build(self, input_shape: Shape) -> None:
        """Create the convolutions of the four branches."""
        channels = image_channels(self.name, input_shape, self.data_format)
        self.input_spec = image_spec(channels, self.data_format)
        self.conv_1x1 = self._conv(self.filters_1x1, name="conv_1x1")
        self.conv_1x1.build(input_shape)
        self.reduce_3x3, self.conv_3x3 = self._branch(self.filters_3x3, 3, input_shape)
        self.reduce_5x5, self.conv_5x5 = self._branch(self.filters_5x5, 5, input_shape)
        self.project_pool = None
        if self.filters_pool is not None:
            self.project_pool = self._conv(self.filters_pool, name="project_pool")
            self.project_pool.build(input_shape)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Return the outputs of the four branches, concatenated over the channels."""
        pooled = ops.max_pool(
            inputs, 3, strides=1, padding="same", data_format=self.data_format
        )
        branches = [
            _chain(inputs, [self.conv_1x1], training),
            _chain(inputs, [self.reduce_3x3, self.conv_3x3], training),
            _chain(inputs, [self.reduce_5x5, self.conv_5x5], training),
            _chain(pooled, [self.project_pool], training),
        ]
        return ops.concatenate(branches, axis=channel_axis(self.data_format))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape with the channels of all branches."""
        pooled = self.filters_pool or image_channels(
            self.name, input_shape, self.data_format
        )
        branches = [self.filters_1x1, self.filters_3x3, self.filters_5x5, pooled]
        filters = sum(n[1] if isinstance(n, tuple) else n for n in branches)
        return image_shape_after(input_shape, filters, 1, self.data_format)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "filters_1x1": self.filters_1x1,
            "filters_3x3": self.filters_3x3,
            "filters_5x5": self.filters_5x5,
            "filters_pool": self.filters_pool,
        }

    def _branch(
        self, filters: int | tuple[int, int], size: int, input_shape: Shape
    ) -> tuple[ConvNormAct | None, ConvNormAct]:
        """Return the reduction, if there is one, and the convolution of a branch."""
        reduce = None
        if not isinstance(filters, int):
            reduced, filters = filters
            reduce = self._conv(reduced, name=f"reduce_{size}x{size}")
            reduce.build(input_shape)
            input_shape = reduce.compute_output_shape(input_shape)
        conv = self._conv(filters, size, name=f"conv_{size}x{size}")
        conv.build(input_shape)
        return reduce, conv


def _chain(
    inputs: Tensor, layers: Sequence[ConvNormAct | None], training: bool | None
) -> Tensor:
    for layer in layers:
        if layer is not None:
            inputs = layer(inputs, training=training)
    return inputs
