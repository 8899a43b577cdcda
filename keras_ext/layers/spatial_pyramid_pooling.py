"""Spatial pyramid pooling: a vector of fixed length from an image of any size."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._images import (
    channel_axis,
    check_images,
    part,
    resolve_data_format,
    spatial_axes,
)
from keras_ext._types import Config, DataFormat, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_ext")
class SpatialPyramidPooling(keras.layers.Layer):
    """Pools an image over grids of cells, coarse and fine, into one vector.

    The image is divided into `n` by `n` cells for every `n` in `bins`, and each cell is
    pooled separately. The number of cells does not depend on the size of the image.
    Place it between the last convolution and the first dense layer, which can then
    handle images of any size and still learn where in the image something is:

    Cell `i` of `n` along an axis of length `L` covers the pixels from
    `floor(i * L / n)` up to but not including `ceil((i + 1) * L / n)`; neighbors may
    overlap by one pixel, and no cell is empty.

    Reference: K. He, X. Zhang, S. Ren, J. Sun, "Spatial Pyramid Pooling in Deep
    Convolutional Networks for Visual Recognition", 2014,
    https://arxiv.org/abs/1406.4729.

    Args:
        bins: Nonempty sequence of positive integers. Cells along each axis, level by
            level. Default: `(1, 2, 4)`.
        pooling: `"max"` or `"average"`. Default: `"max"`, as in the paper.
        data_format: `"channels_last"` or `"channels_first"`. Default: `None`, which
            means `keras.config.image_data_format()`.
        **kwargs: `name`, `dtype` of `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor, a batch of images of any size from 1 by 1.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)`
        with `data_format="channels_first"`.

    Output shape:
        `(batch, channels * sum(n * n for n in bins))`: the levels in the order of
        `bins`, within each the cells row by row, within each cell the channels. Both
        data formats give the same vector.

    Raises:
        ValueError: If an argument is out of range; on build, if the input is not of
            rank 4.

    Example:

    >>> import numpy as np
    >>> from keras_ext.layers import SpatialPyramidPooling
    >>> layer = SpatialPyramidPooling((1, 2))
    >>> [int(value) for value in layer(np.arange(20.0).reshape(1, 4, 5, 1))[0]]
    [19, 7, 9, 17, 19]
    >>> tuple(layer(np.ones((2, 13, 10, 3), "float32")).shape)
    (2, 15)

    Masks are not used. Under a mixed-precision policy averages are taken in the compute
    dtype, as Keras's `GlobalAveragePooling2D` takes them.
    """

    def __init__(
        self,
        bins: Sequence[int] = (1, 2, 4),
        *,
        pooling: Literal["max", "average"] = "max",
        data_format: DataFormat | None = None,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.bins = _checks.positive_ints("bins", bins)
        self.pooling = _checks.one_of("pooling", pooling, ("max", "average"))
        self.data_format = resolve_data_format(data_format)

    def build(self, input_shape: Shape) -> None:
        """Check the rank of the input."""
        check_images(self.name, input_shape, self.data_format)
        self.input_spec = keras.InputSpec(ndim=4)

    def call(self, inputs: Tensor) -> Tensor:
        """Return the cells of all levels in one vector per image."""
        grids: dict[int, Tensor] = {}
        for bins in sorted(set(self.bins), reverse=True):
            grids[bins] = self._grid(self._source(inputs, grids, bins), bins)
        return ops.concatenate([self._vector(grids[n]) for n in self.bins], axis=1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of one vector per image."""
        channels = input_shape[channel_axis(self.data_format)]
        cells = sum(n * n for n in self.bins)
        return (input_shape[0], None if channels is None else channels * cells)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "bins": self.bins,
            "pooling": self.pooling,
            "data_format": self.data_format,
        }

    def _source(self, inputs: Tensor, grids: dict[int, Tensor], bins: int) -> Tensor:
        """Return the smallest tensor from which the cells of a level can be pooled.

        A cell covers what the finer cells in it cover, whether they overlap or not,
        which is enough for a maximum.
        """
        finer = [n for n in grids if n % bins == 0]
        return grids[min(finer)] if finer and self.pooling == "max" else inputs

    def _grid(self, x: Tensor, bins: int) -> Tensor:
        """Return `x` pooled into `bins` by `bins` cells."""
        axes = spatial_axes(self.data_format)
        sizes = [ops.shape(x)[axis] for axis in axes]
        known = all(isinstance(size, int) and size % bins == 0 for size in sizes)
        if known and self.pooling == "max":
            window = tuple(size // bins for size in sizes)
            return ops.max_pool(x, window, window, data_format=self.data_format)
        for axis, size in zip(axes, sizes, strict=True):
            x = self._cells(x, axis, size, bins)
        return x

    def _cells(self, x: Tensor, axis: int, size: Any, bins: int) -> Tensor:
        """Return `x` with `axis`, of `size`, pooled into `bins` cells."""
        pool = ops.max if self.pooling == "max" else ops.mean
        if isinstance(size, int) and size % bins == 0:
            shape = [*ops.shape(x)]
            shape[axis : axis + 1] = [bins, size // bins]
            return pool(ops.reshape(x, shape), axis=axis + 1)
        starts = [i * size // bins for i in range(bins)]
        stops = [-(-(i + 1) * size // bins) for i in range(bins)]
        cells = [
            pool(part(x, axis, start, stop), axis=axis)
            for start, stop in zip(starts, stops, strict=True)
        ]
        return ops.stack(cells, axis=axis)

    def _vector(self, grid: Tensor) -> Tensor:
        """Return the cells of a grid row by row, with the channels of each."""
        if self.data_format == "channels_first":
            grid = ops.transpose(grid, (0, 2, 3, 1))
        batch, rows, columns, channels = ops.shape(grid)
        return ops.reshape(grid, (batch, rows * columns * channels))
