"""Max pooling that also says where in its window each maximum was."""

from typing import Literal

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._images import (
    channel_axis,
    check_images,
    fitted,
    image_shape_after,
    resolve_data_format,
    sides,
    spatial_axes,
)
from keras_ext._types import Config, DataFormat, Shape, Tensor

_LOWEST = -(2.0**128 - 2.0**120)  # of bfloat16, and enough for float32 and float64


@keras.saving.register_keras_serializable(package="keras_ext")
class MaxPoolingWithArgmax2D(keras.layers.Layer):
    """Returns the maximum of every window, and its position in the window.

    The windows do not overlap. Positions are counted row by row from 0, so that the one
    at `row, column` of its window is `row * pool_width + column`; of several equal
    maxima, the first counts, and only it receives the gradient. Use it in the encoder
    of a network whose decoder puts values back where they were, with `MaxUnpooling2D`.

    Reference: V. Badrinarayanan, A. Kendall, R. Cipolla, "SegNet: A Deep Convolutional
    Encoder-Decoder Architecture for Image Segmentation", 2015,
    https://arxiv.org/abs/1511.00561.

    Args:
        pool_size: Positive integer, or a pair for height and width. Size of the
            windows, and the stride. Default: 2.
        padding: `"valid"` leaves out incomplete windows, `"same"` completes them,
            always at the bottom and on the right. Default: `"valid"`.
        data_format: `"channels_last"` or `"channels_first"`. Default: `None`, which
            means `keras.config.image_data_format()`.
        **kwargs: `name`, `dtype` of `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor, a batch of images of any size.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)`
        with `data_format="channels_first"`.

    Output shape:
        A tuple of two: the maxima, and their positions in int32. Each is
        `(batch, height / pool_height, width / pool_width, channels)`, rounded down for
        `"valid"` and up for `"same"`, or with the channels first.

    Raises:
        ValueError: If an argument is out of range; on build, if the input is not of
            rank 4.

    Example:

    >>> import numpy as np
    >>> from keras_ext.layers import MaxPoolingWithArgmax2D
    >>> image = np.array([[5.0, 1, 0, 2], [3, 4, 7, 6]]).reshape(1, 2, 4, 1)
    >>> pooled, argmax = MaxPoolingWithArgmax2D()(image)
    >>> np.array(pooled).ravel().tolist(), np.array(argmax).ravel().tolist()
    ([5.0, 7.0], [0, 2])

    Masks are not used. If a window contains a NaN, its maximum is NaN. Half precision
    affects only the values themselves.
    """

    def __init__(
        self,
        pool_size: int | tuple[int, int] = 2,
        *,
        padding: Literal["valid", "same"] = "valid",
        data_format: DataFormat | None = None,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.pool_size = _checks.int_or_pair("pool_size", pool_size)
        self.padding = _checks.one_of("padding", padding, ("valid", "same"))
        self.data_format = resolve_data_format(data_format)

    def build(self, input_shape: Shape) -> None:
        """Check the rank of the input."""
        check_images(self.name, input_shape, self.data_format)
        self.input_spec = keras.InputSpec(ndim=4)

    def call(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the maxima and their positions."""
        # What fills up the last windows, and never wins. Not -inf: converters to ONNX
        # write `where` as products, and 0 * -inf is NaN.
        lowest = -65504.0 if self.compute_dtype == "float16" else _LOWEST
        positions = self._positions(inputs, lowest)
        best = positions[0]
        argmax = ops.zeros_like(best, dtype="int32")
        for index, values in enumerate(positions[1:], start=1):
            better = values > ops.maximum(best, lowest)
            better = ops.logical_or(better, ops.isnan(values))
            best = ops.where(better, values, best)
            argmax = ops.where(better, index, argmax)
        return best, argmax

    def compute_output_shape(self, input_shape: Shape) -> tuple[Shape, Shape]:
        """Return the shapes of the maxima and of their positions."""
        shape = image_shape_after(
            input_shape,
            input_shape[channel_axis(self.data_format)],
            self.pool_size,
            self.data_format,
            valid=self.pool_size if self.padding == "valid" else 1,
        )
        return shape, shape

    def compute_output_spec(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return symbolic outputs: floats, and int32."""
        values, positions = self.compute_output_shape(inputs.shape)
        return (
            keras.KerasTensor(values, self.compute_dtype),
            keras.KerasTensor(positions, "int32"),
        )

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "padding": self.padding,
            "data_format": self.data_format,
        }

    def _positions(self, inputs: Tensor, padding: float) -> list[Tensor]:
        """Return, for each position, the values of all windows there."""
        row, column = spatial_axes(self.data_format)
        height, width = sides(self.pool_size)
        x, shape = inputs, [*ops.shape(inputs)]
        for axis, size in ((row, height), (column, width)):
            rest = size - 1 if self.padding == "same" else 0
            shape[axis] = (shape[axis] + rest) // size
            x = fitted(x, axis, shape[axis] * size, rest, padding)
        shape[column : column + 1] = [shape[column], width]
        shape[row : row + 1] = [shape[row], height]
        rows = ops.unstack(ops.reshape(x, shape), height, axis=row + 1)
        return [v for part in rows for v in ops.unstack(part, width, axis=column + 1)]
