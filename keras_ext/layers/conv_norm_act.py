"""Convolution, normalization and activation: the unit that networks repeat."""

from typing import Literal

import keras
import numpy as np

from keras_ext import _checks
from keras_ext._images import image_channels, image_shape_after, image_spec
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
from keras_ext.layers._options import (
    ConvOptions,
    built_norm,
    fresh_initializer,
    sublayer_options,
)


@keras.saving.register_keras_serializable(package="keras_ext")
class ConvNormAct(ConvOptions):
    """Convolution, normalization and activation in one layer.

    The three lines that convolutional networks repeat, with the bias where it belongs:
    batch normalization subtracts the mean of every channel, so a bias before it has no
    effect; its own offset takes its place. With `normalization=None` the convolution
    has a bias.

    `output = act(norm(W * input))` or `act(W * input + b)`

    Reference: S. Ioffe, C. Szegedy, "Batch Normalization: Accelerating Deep Network
    Training by Reducing Internal Covariate Shift", 2015, section 3.2,
    https://arxiv.org/abs/1502.03167.

    Args:
        filters: Positive integer. Number of output channels.
        kernel_size: Positive integer, or a pair for height and width. Default: 1.
        strides: Positive integer, or a pair for height and width. Default: 1.
        padding: `"same"` or `"valid"`, as in `keras.layers.Conv2D`.
            Default: `"same"`.
        dilation_rate: Positive integer, or a pair for height and width: the spacing of
            the kernel's pixels. Default: 1.
        activation: Activation of the output, `None` for linear. Default: `"relu"`.
        normalization: `"batch"` for `keras.layers.BatchNormalization` with Keras's
            defaults, a Keras layer that the convolution gets a copy of (such as
            `keras.layers.BatchNormalization(momentum=0.9)`), or `None`. The copy is
            made from the layer's configuration, with this layer's `dtype`. Default:
            `"batch"`.
        data_format: `"channels_last"` or `"channels_first"`. Default: `None`, which
            means `keras.config.image_data_format()`.
        kernel_initializer: Initializer of the kernel. Default: `"glorot_uniform"`.
        kernel_regularizer: Regularizer of the kernel. Default: `None`.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor, a batch of images of any size.
        training: Boolean. Whether batch normalization uses the moments of the batch
            (and updates its moving ones) or its moving moments. Default: `None`, which
            follows the calling layer or model.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)`
        with `data_format="channels_first"`. `channels` must be known.

    Output shape:
        `(batch, ceil(height / strides), ceil(width / strides), filters)`, or with
        the channels first. With `"valid"` padding, the kernel's extent minus one is
        subtracted from height and width before the division.

    Raises:
        ValueError: If an argument is out of range, or both `strides` and
            `dilation_rate` are greater than 1; on build, if the input is not of rank 4
            or its number of channels is unknown, or if `normalization` changes the
            shape.

    Example:

    >>> import numpy as np
    >>> from keras_ext.layers import ConvNormAct
    >>> layer = ConvNormAct(16, kernel_size=3, strides=2)
    >>> tuple(layer(np.ones((2, 8, 8, 3), "float32")).shape)
    (2, 4, 4, 16)
    >>> [weight.name for weight in layer.weights]
    ['kernel', 'gamma', 'beta', 'moving_mean', 'moving_variance']

    As always with Keras's defaults, batch normalization needs a few hundred steps
    before its moving averages are good enough for inference; on small datasets,
    validation looks bad until then. Freeze the layer as a whole: `trainable` of its
    individual parts is not saved.

    Masks are not used. Under a mixed-precision policy batch normalization takes its
    moments in float32, as Keras's layer does.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int] = 1,
        *,
        strides: int | tuple[int, int] = 1,
        padding: Literal["same", "valid"] = "same",
        dilation_rate: int | tuple[int, int] = 1,
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
        self.kernel_size = _checks.int_or_pair("kernel_size", kernel_size)
        self.strides = _checks.int_or_pair("strides", strides)
        self.padding = _checks.one_of("padding", padding, ("same", "valid"))
        self.dilation_rate = _checks.int_or_pair("dilation_rate", dilation_rate)
        if np.max(self.strides) > 1 and np.max(self.dilation_rate) > 1:
            raise ValueError(
                "`strides` and `dilation_rate` must not both be greater than 1. "
                f"Received: strides={strides!r}, dilation_rate={dilation_rate!r}"
            )

    def build(self, input_shape: Shape) -> None:
        """Create the convolution and the normalization."""
        channels = image_channels(self.name, input_shape, self.data_format)
        self.input_spec = image_spec(channels, self.data_format)
        self.conv = keras.layers.Conv2D(
            self.filters,
            self.kernel_size,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
            use_bias=self.normalization is None,
            kernel_initializer=fresh_initializer(self.kernel_initializer),
            kernel_regularizer=self.kernel_regularizer,
            name="conv",
            **sublayer_options(self),
        )
        self.conv.build(input_shape)
        self.norm = built_norm(self, self.compute_output_shape(input_shape), "norm")

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Return the activations of the normalized convolution."""
        outputs = self.conv(inputs)
        if self.norm is not None:
            outputs = self.norm(outputs, training=training)
        return self.activation(outputs)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the convolution's output."""
        reach = np.subtract(self.kernel_size, 1) * self.dilation_rate
        height, width = np.broadcast_to(reach if self.padding == "valid" else 0, 2)
        return image_shape_after(
            input_shape,
            self.filters,
            self.strides,
            self.data_format,
            valid=(int(height) + 1, int(width) + 1),
        )

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "dilation_rate": self.dilation_rate,
        }
