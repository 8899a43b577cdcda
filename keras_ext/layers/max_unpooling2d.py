"""Max unpooling: every value back where the maximum was, zeros elsewhere."""

import keras
import numpy as np
from keras import ops

from keras_ext import _checks
from keras_ext._images import (
    check_images,
    fitted,
    resolve_data_format,
    sides,
    spatial_axes,
)
from keras_ext._types import Config, DataFormat, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_ext")
class MaxUnpooling2D(keras.layers.Layer):
    """Puts values where `MaxPoolingWithArgmax2D` found its maxima.

    Every value becomes a window of zeros with the value at the position given by
    `argmax`. In a decoder this restores edges to the pixel, with no weights: pool in
    the encoder, keep `argmax`, and unpool at the same level of the decoder, followed by
    convolutions that fill the gaps.

    `output[p * i + row, p * j + column] = input[i, j]` where
    `argmax[i, j] = row * pool_width + column`, and 0 elsewhere

    Reference: V. Badrinarayanan, A. Kendall, R. Cipolla, "SegNet: A Deep Convolutional
    Encoder-Decoder Architecture for Image Segmentation", 2015,
    https://arxiv.org/abs/1511.00561. The idea is from M. Zeiler, R. Fergus,
    "Visualizing and Understanding Convolutional Networks", 2013,
    https://arxiv.org/abs/1311.2901.

    Args:
        pool_size: Positive integer, or a pair for height and width. The `pool_size` of
            the pooling. Default: 2.
        data_format: `"channels_last"` or `"channels_first"`. Default: `None`, which
            means `keras.config.image_data_format()`.
        **kwargs: `name`, `dtype` of `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor, a batch of images.
        argmax: Integer tensor of the same shape: positions in the windows, counted row
            by row from 0. A value whose position lies outside its window is lost.
        like: Tensor whose height and width the output gets, such as the input of the
            pooling, which need not be multiples of `pool_size`: what `"same"` padding
            added is cut off, what `"valid"` left out is filled with zeros. Default:
            `None`, for multiples of `pool_size`.

    Input shape:
        `(batch, height, width, channels)` each, or `(batch, channels, height, width)`
        with `data_format="channels_first"`. `like` may have a different number of
        channels.

    Output shape:
        `(batch, height * pool_height, width * pool_width, channels)`, or with the
        channels first; with the height and width of `like` if it is given.

    Raises:
        ValueError: If an argument is out of range; on build, if a tensor is not of rank
            4, or `argmax` or `like` does not fit the input.
        TypeError: On call, if `argmax` does not hold integers.

    Example:

    >>> import numpy as np
    >>> from keras_ext.layers import MaxPoolingWithArgmax2D, MaxUnpooling2D
    >>> image = np.array([[5.0, 1, 0, 2], [3, 4, 7, 6]]).reshape(1, 2, 4, 1)
    >>> pooled, argmax = MaxPoolingWithArgmax2D()(image)
    >>> np.array(MaxUnpooling2D()(pooled, argmax))[0, ..., 0].tolist()
    [[5.0, 0.0, 0.0, 0.0], [0.0, 0.0, 7.0, 0.0]]

    Masks are not used. No precision is lost under any policy.
    """

    def __init__(
        self,
        pool_size: int | tuple[int, int] = 2,
        *,
        data_format: DataFormat | None = None,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.pool_size = _checks.int_or_pair("pool_size", pool_size)
        self.data_format = resolve_data_format(data_format)

    def build(
        self, inputs_shape: Shape, argmax_shape: Shape, like_shape: Shape | None = None
    ) -> None:
        """Check that the inputs fit each other."""
        check_images(self.name, inputs_shape, self.data_format)
        self.input_spec = keras.InputSpec(ndim=4)
        self._check_argmax(argmax_shape, inputs_shape)
        if like_shape is not None:
            check_images(f"{self.name} (`like`)", like_shape, self.data_format)
        self.compute_output_shape(inputs_shape, argmax_shape, like_shape)

    def call(
        self, inputs: Tensor, argmax: Tensor, like: Tensor | None = None
    ) -> Tensor:
        """Return images of zeros with the values of `inputs` at their positions."""
        dtype = keras.backend.standardize_dtype(argmax.dtype)
        if "int" not in dtype:
            raise TypeError(
                f"{self.name} expects `argmax` to hold integers, as the second output "
                f"of MaxPoolingWithArgmax2D does. Received: dtype={dtype}"
            )
        self._check_argmax(argmax.shape, inputs.shape)
        row, column = spatial_axes(self.data_format)
        height, width = sides(self.pool_size)
        inner = (row + 1, column + 2)  # the axes of a window
        window = [1] * 6
        window[row + 1], window[column + 2] = height, width
        # Narrow integers could not count the positions of a large window.
        positions = np.arange(height * width, dtype="int32").reshape(window)
        argmax = ops.cast(argmax, "int32")
        here = ops.equal(ops.expand_dims(argmax, inner), positions)
        outputs = ops.where(here, ops.expand_dims(inputs, inner), 0)
        shape = [*ops.shape(inputs)]
        shape[row], shape[column] = shape[row] * height, shape[column] * width
        outputs = ops.reshape(outputs, shape)
        if like is not None:
            self.compute_output_shape(inputs.shape, argmax.shape, like.shape)
            for axis, pool in ((row, height), (column, width)):
                outputs = fitted(outputs, axis, ops.shape(like)[axis], pool - 1)
        return outputs

    def compute_output_shape(
        self, inputs_shape: Shape, argmax_shape: Shape, like_shape: Shape | None = None
    ) -> Shape:
        """Return the shape of the unpooled images.

        Raises:
            ValueError: If no pooling turns the size of `like` into that of the input.
        """
        output = list(inputs_shape)
        pools = sides(self.pool_size)
        for axis, pool in zip(spatial_axes(self.data_format), pools, strict=True):
            size = inputs_shape[axis]
            output[axis] = None if size is None else size * pool
            if like_shape is not None:
                output[axis] = self._checked(axis, size, pool, like_shape)
        return tuple(output)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "data_format": self.data_format,
        }

    def _checked(
        self, axis: int, size: int | None, pool: int, like: Shape
    ) -> int | None:
        """Return the size of `like`, or raise if no pooling turns it into `size`."""
        wanted = like[axis]
        if size is None or wanted is None:
            return wanted
        low, high = (size - 1) * pool, (size + 1) * pool
        if not low < wanted < high:
            raise ValueError(
                f"{self.name} with pool_size={self.pool_size} turns axis {axis}, of "
                f"size {size}, into more than {low} and less than {high}. Received: "
                f"`like` of shape {tuple(like)}. Pass the input of the pooling."
            )
        return wanted

    def _check_argmax(self, argmax_shape: Shape, inputs_shape: Shape) -> None:
        if not _checks.shapes_agree(argmax_shape, inputs_shape):
            raise ValueError(
                f"{self.name} expects `argmax` to have the shape of the input. "
                f"Received: argmax of shape {tuple(argmax_shape)}, input of shape "
                f"{tuple(inputs_shape)}"
            )
