"""Median filter: every pixel becomes the median of its neighborhood."""

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Literal

import keras
import numpy as np
from keras import ops

from keras_ext import _checks
from keras_ext._images import (
    check_images,
    part,
    resolve_data_format,
    sides,
    spatial_axes,
)
from keras_ext._types import Config, DataFormat, Shape, Tensor

_PADDINGS = ("reflect", "symmetric", "constant")


@keras.saving.register_keras_serializable(package="keras_ext")
class MedianFilter2D(keras.layers.Layer):
    """Replaces every pixel by the median of the window around it.

    Single wrong pixels disappear and edges remain sharp, which a mean blurs: a filter
    for noise that changes few pixels by much.

    `output[i, j] = median over m, n of input[i + m - (h - 1) // 2, ...]`

    for a window of `h` rows and `w` columns, `m < h` and `n < w`; the column is
    `j + n - (w - 1) // 2`. Every channel is filtered separately. The median of an even
    number of pixels is the mean of the two in the middle.

    Reference: T. S. Huang, G. J. Yang, G. Y. Tang, "A Fast Two-Dimensional Median
    Filtering Algorithm", 1979, https://doi.org/10.1109/TASSP.1979.1163188. The medians
    are found by the sorting network of K. E. Batcher, "Sorting Networks and Their
    Applications", 1968, https://doi.org/10.1145/1468075.1468121.

    Args:
        kernel_size: Positive integer, or a pair for height and width. Size of the
            window. Default: 3.
        padding: What is beyond the border of the image, as in `keras.ops.pad`:
            `"reflect"`, its mirror image without the outermost pixel; `"symmetric"`,
            with it; or `"constant"`. Default: `"reflect"`.
        constant_values: Float, for `padding="constant"`. Default: 0.
        data_format: `"channels_last"` or `"channels_first"`. Default: `None`, which
            means `keras.config.image_data_format()`.
        **kwargs: `name`, `dtype` of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor, a batch of images.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)`
        with `data_format="channels_first"`.

    Output shape:
        Same as the input.

    Raises:
        ValueError: If an argument is not valid; on build, if the input is not of rank
            4; on build and on call, if an image is known to be too small to be
            reflected.

    Example:

    >>> import numpy as np
    >>> from keras_ext.layers import MedianFilter2D
    >>> image = np.array([[1.0, 1, 9, 9], [1, 80, 9, 9], [1, 1, 9, 0]])
    >>> np.array(MedianFilter2D()(image.reshape(1, 3, 4, 1)))[0, ..., 0].tolist()
    [[1.0, 9.0, 9.0, 9.0], [1.0, 1.0, 9.0, 9.0], [1.0, 9.0, 9.0, 9.0]]

    The gradient goes to the pixel that is the median, or by halves to the two. A window
    with NaN can give anything. Masks are not used. Integers become the dtype of the
    layer. No precision is lost under any policy.
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int] = 3,
        *,
        padding: Literal["reflect", "symmetric", "constant"] = "reflect",
        constant_values: float = 0.0,
        data_format: DataFormat | None = None,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.kernel_size = _checks.int_or_pair("kernel_size", kernel_size)
        self.padding = _checks.one_of("padding", padding, _PADDINGS)
        self.constant_values = _checks.number("constant_values", constant_values)
        self.data_format = resolve_data_format(data_format)

    def build(self, input_shape: Shape) -> None:
        """Check the input."""
        check_images(self.name, input_shape, self.data_format)
        self.input_spec = keras.InputSpec(ndim=4)
        self._check_size(input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        """Return the filtered images."""
        self._check_size(inputs.shape)
        x = self._padded(ops.cast(inputs, self.compute_dtype))
        size, steps = ops.shape(inputs), _steps(ops.shape(x))
        # Here the medians are only found, and the gather below has the gradient. That
        # of the network would keep all of its images, hundreds for a large window.
        fixed = ops.stop_gradient(x)
        row, column = spatial_axes(self.data_format)
        pixels, offsets = [], []
        for m, n in np.ndindex(sides(self.kernel_size)):
            view = part(fixed, row, m, m + size[row])
            pixels.append(part(view, column, n, n + size[column]))
            offsets.append(m * steps[row] + n * steps[column])
        medians = _middle(pixels)
        flat, corner = ops.reshape(x, (-1,)), _places(size, steps)
        outputs = []
        for median in medians:
            offset = ops.cast(-1, "int32")
            for pixel, one in zip(pixels, offsets, strict=True):
                offset = ops.where(pixel == median, ops.cast(one, "int32"), offset)
            values = ops.take(flat, corner + ops.maximum(offset, 0), axis=0)
            outputs.append(ops.where(offset < 0, median, values))  # of NaN, none is
        return outputs[0] if len(outputs) == 1 else 0.5 * outputs[0] + 0.5 * outputs[1]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        return input_shape

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "padding": self.padding,
            "constant_values": self.constant_values,
            "data_format": self.data_format,
        }

    def _padded(self, x: Tensor) -> Tensor:
        """Return the images with what is beyond their borders."""
        widths = [(0, 0)] * 4
        axes = spatial_axes(self.data_format)
        for axis, span in zip(axes, sides(self.kernel_size), strict=True):
            widths[axis] = ((span - 1) // 2, span // 2)
        if self.padding == "constant":
            return ops.pad(x, widths, constant_values=self.constant_values)
        return ops.pad(x, widths, self.padding)

    def _check_size(self, shape: Shape) -> None:
        """Raise `ValueError` if images cannot be reflected at their borders."""
        if self.padding == "constant":
            return
        # What is reflected: without the outermost pixel, or with it.
        spare = 1 if self.padding == "reflect" else 0
        least = [span // 2 + spare for span in sides(self.kernel_size)]
        sizes = [shape[axis] for axis in spatial_axes(self.data_format)]
        if any(
            size is not None and size < low
            for size, low in zip(sizes, least, strict=True)
        ):
            raise ValueError(
                f"{self.name} with kernel_size={self.kernel_size} and "
                f"padding={self.padding!r} needs images of at least {least[0]} by "
                f"{least[1]}. Received: shape={tuple(shape)}. Use a smaller "
                "`kernel_size`, or padding='constant'."
            )


def _steps(shape: Sequence[Tensor]) -> list[Tensor]:
    """Return how far apart neighbors along each axis are in memory."""
    _, *inner = shape
    return [math.prod(inner[axis:]) for axis in range(4)]


def _places(shape: Sequence[Tensor], steps: Sequence[Tensor]) -> Tensor:
    """Return where each entry of `shape` is in a larger array, with its `steps`."""
    total = 0
    for axis, (size, step) in enumerate(zip(shape, steps, strict=True)):
        along = ops.arange(size, dtype="int32") * step
        total = total + ops.reshape(along, [size if i == axis else 1 for i in range(4)])
    return total


def _middle(values: Sequence[Tensor]) -> list[Tensor]:
    """Return the tensor of the medians; of an even number, the two around them."""
    row, count = [*values], len(values)
    wanted = sorted({(count - 1) // 2, count // 2})
    for low, high, has_low, has_high in _network(count, *wanted):
        one, other = row[low], row[high]
        if has_low:
            row[low] = ops.minimum(one, other)
        if has_high:
            row[high] = ops.maximum(one, other)
    return [row[place] for place in wanted]


@functools.cache
def _network(count: int, *wanted: int) -> list[tuple[int, int, bool, bool]]:
    """Return what to compare, in order, until the `wanted` places are sorted.

    Each entry has two places, of which the first gets the lower value, and whether
    each of the results is needed.
    """
    needed, kept = set(wanted), []
    for low, high in reversed([*_sorting_network(count)]):
        if low in needed or high in needed:
            kept.append((low, high, low in needed, high in needed))
            needed |= {low, high}
    return kept[::-1]


def _sorting_network(count: int) -> Iterator[tuple[int, int]]:
    """Yield the comparisons of Batcher's odd-even merge sort."""
    length = 1  # of the runs that are sorted
    while length < count:
        step = length
        while step:
            for start in range(step % length, count - step, 2 * step):
                for low in range(start, min(start + step, count - step)):
                    high = low + step
                    if low // (2 * length) == high // (2 * length):
                        yield low, high
            step //= 2
        length *= 2
