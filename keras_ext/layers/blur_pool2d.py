"""Blur pooling: downsampling of an image that has been smoothed first."""

import keras
import numpy as np
from keras import ops

from keras_ext import _checks
from keras_ext._images import (
    channel_axis,
    image_channels,
    image_shape_after,
    image_spec,
    resolve_data_format,
    spatial_axes,
)
from keras_ext._types import Config, DataFormat, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_ext")
class BlurPool2D(keras.layers.Layer):
    """Downsamples an image with a strided binomial filter.

    A strided convolution or pooling evaluates only every second position, so that an
    image moved by one pixel can give a very different output. Smoothing first reduces
    this. Use the layer where the strides were: after a max pooling with `strides=1`,
    after the activation of a convolution with `strides=1`, or instead of an average
    pooling.

    `output[i, j] = sum over m, n of b[m] * b[n] * input[s * i + m - (k - 1) // 2, ...]`

    `b` is row `k - 1` of Pascal's triangle, divided by its sum: `[1, 2, 1] / 4` for
    `kernel_size=3`. Beyond its border the image is reflected, without the outermost
    pixel. Every channel is filtered separately.

    Reference: R. Zhang, "Making Convolutional Networks Shift-Invariant Again", 2019,
    https://arxiv.org/abs/1904.11486.

    Args:
        kernel_size: Integer from 1 to 7. Size of the filter; 1 does not smooth.
            Default: 3. The paper uses 2, 3 and 5.
        strides: Positive integer. Default: 2.
        data_format: `"channels_last"` or `"channels_first"`. Default: `None`, which
            means `keras.config.image_data_format()`.
        **kwargs: `name`, `dtype` of `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor, a batch of images, higher and wider than
            `kernel_size // 2`.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)`
        with `data_format="channels_first"`. `channels` must be known.

    Output shape:
        `(batch, ceil(height / strides), ceil(width / strides), channels)`, or with
        the channels first.

    Raises:
        ValueError: If an argument is out of range; on build, if the input is not of
            rank 4 or its number of channels is unknown; on build and on call, if an
            image is known to be too small to be reflected.

    Example:

    >>> import numpy as np
    >>> from keras_ext.layers import BlurPool2D
    >>> image = np.zeros((1, 6, 6, 1), "float32")
    >>> image[0, 2, 3, 0] = 16
    >>> np.array(BlurPool2D()(image))[0, ..., 0].astype(int).tolist()
    [[0, 0, 0], [0, 2, 2], [0, 0, 0]]

    Masks are not used. Under a mixed-precision policy the filter works in the compute
    dtype.
    """

    def __init__(
        self,
        kernel_size: int = 3,
        *,
        strides: int = 2,
        data_format: DataFormat | None = None,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        size = _checks.positive_int("kernel_size", kernel_size)
        self.kernel_size = _checks.one_of("kernel_size", size, range(1, 8))
        self.strides = _checks.positive_int("strides", strides)
        self.data_format = resolve_data_format(data_format)

    def build(self, input_shape: Shape) -> None:
        """Check the input."""
        channels = image_channels(self.name, input_shape, self.data_format)
        self.input_spec = image_spec(channels, self.data_format)
        self._check_size(input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        """Return the smoothed images, keeping one of every `strides` pixels."""
        self._check_size(inputs.shape)
        widths = [(0, 0)] * 4
        for axis in spatial_axes(self.data_format):
            widths[axis] = ((self.kernel_size - 1) // 2, self.kernel_size // 2)
        x = inputs if self.kernel_size == 1 else ops.pad(inputs, widths, "reflect")
        channels = inputs.shape[channel_axis(self.data_format)]
        kernel = np.repeat(_binomial(self.kernel_size)[..., None, None], channels, 2)
        return ops.depthwise_conv(
            x,
            ops.convert_to_tensor(kernel, dtype=x.dtype),
            self.strides,
            padding="valid",
            data_format=self.data_format,
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the smaller images."""
        channels = input_shape[channel_axis(self.data_format)]
        return image_shape_after(input_shape, channels, self.strides, self.data_format)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "data_format": self.data_format,
        }

    def _check_size(self, shape: Shape) -> None:
        """Raise `ValueError` if images cannot be reflected at their borders."""
        least = self.kernel_size // 2 + 1
        sizes = [shape[axis] for axis in spatial_axes(self.data_format)]
        if any(size is not None and size < least for size in sizes):
            raise ValueError(
                f"{self.name} with kernel_size={self.kernel_size} reflects "
                f"{least - 1} pixels at the border: it needs images of at least "
                f"{least} by {least}. Received: shape={tuple(shape)}. Use a smaller "
                "`kernel_size`."
            )


def _binomial(size: int) -> np.ndarray:
    """Return the outer product of a row of Pascal's triangle, of sum 1."""
    row = np.ones(1)
    for _ in range(size - 1):
        row = np.convolve(row, [0.5, 0.5])
    return np.outer(row, row).astype("float32")
