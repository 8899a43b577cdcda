"""Cost volume: how alike two feature maps are at neighboring positions."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._images import (
    channel_axis,
    filled,
    image_channels,
    part,
    resolve_data_format,
    spatial_axes,
)
from keras_ext._types import Config, DataFormat, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_ext")
class CorrelationCost(keras.layers.Layer):
    """Compares every position of a feature map with its neighborhood in another.

    For optical flow and stereo: where a patch of the first image has moved to is where
    the second is most like it. The layer has no weights. With `s` for `stride_2` and
    `r = max_displacement // s`, there is an output channel for each displacement
    `(s * p, s * q)`, `p` and `q` from `-r` to `r`, counted row by row:

    `cost[p, q] = mean over u, v, c of a[y + u, x + v, c] * b[y + u + s * p, ...]`

    `u` and `v` are the positions in a window of `kernel_size` around `(y, x)`, which is
    one of every `stride_1` positions of the first map, along height and width. Both
    maps are padded with `pad` zeros on each side, and an output has only the positions
    whose window can be displaced by `max_displacement` in there:
    `pad = max_displacement + kernel_size // 2` gives all of them.

    Reference: A. Dosovitskiy, P. Fischer, E. Ilg, P. Häusser, C. Hazırbaş, V. Golkov,
    P. van der Smagt, D. Cremers, T. Brox, "FlowNet: Learning Optical Flow with
    Convolutional Networks", 2015, https://arxiv.org/abs/1504.06852: equation 1, divided
    by the number of its terms.

    Args:
        kernel_size: Positive odd integer. Height and width of the patches compared.
        max_displacement: Non-negative integer. Largest displacement along an axis.
        stride_1: Positive integer. Step between positions. Default: 1.
        stride_2: Positive integer. Step between displacements. Default: 1.
        pad: Non-negative integer. Zeros around both maps. Default: 0.
        data_format: `"channels_last"` or `"channels_first"`. Default: `None`, which
            means `keras.config.image_data_format()`.
        **kwargs: `name`, `dtype` of `keras.layers.Layer`.

    Call arguments:
        inputs: List of two float tensors of the same shape: `a` and `b`.

    Input shape:
        `(batch, height, width, channels)` each, or `(batch, channels, height, width)`
        with `data_format="channels_first"`. `channels` must be known.

    Output shape:
        `(batch, new_height, new_width, (2 * r + 1)^2)`, or with the channels first. A
        `size` becomes `size + 2 * pad - 2 * (max_displacement + kernel_size // 2)`,
        divided by `stride_1` and rounded up.

    Raises:
        ValueError: If an argument is out of range; on build, if there are not two
            inputs of rank 4 with the same shape and a known number of channels, or if
            they are too small for one position.

    Example:

    >>> import numpy as np
    >>> from keras_ext.layers import CorrelationCost
    >>> layer = CorrelationCost(1, max_displacement=1, pad=1)
    >>> first = np.zeros((1, 4, 4, 2), "float32")
    >>> second = np.zeros((1, 4, 4, 2), "float32")
    >>> first[0, 1, 1] = second[0, 1, 2] = 1.0  # has moved to the right
    >>> costs = np.array(layer([first, second]))
    >>> costs[0, 1, 1].reshape(3, 3).tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]

    FlowNet compares features of an eighth of the image's size, with
    `CorrelationCost(1, 20, 1, 2, pad=20)`.

    Masks are not used. Half-precision inputs are computed in float32.
    """

    def __init__(
        self,
        kernel_size: int,
        max_displacement: int,
        stride_1: int = 1,
        stride_2: int = 1,
        pad: int = 0,
        *,
        data_format: DataFormat | None = None,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.kernel_size = _checks.odd_int("kernel_size", kernel_size)
        self.max_displacement = _checks.non_negative_int(
            "max_displacement", max_displacement
        )
        self.stride_1 = _checks.positive_int("stride_1", stride_1)
        self.stride_2 = _checks.positive_int("stride_2", stride_2)
        self.pad = _checks.non_negative_int("pad", pad)
        self.data_format = resolve_data_format(data_format)

    def build(self, input_shape: Sequence[Shape]) -> None:
        """Check the two shapes."""
        self.compute_output_shape(input_shape)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the cost volume of two batches of feature maps."""
        self._check([tuple(one.shape) for one in inputs])
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        first, second = (self._padded(ops.cast(one, dtype)) for one in inputs)
        far, step = self.max_displacement, self.stride_2
        reach = far // step
        for axis in (1, 2):
            first = part(first, axis, far, _from_end(far))
        rows = []
        for down in range(-step * reach, step * reach + 1, step):
            row = part(second, 1, far + down, _from_end(far - down))
            # All pairs of a row are one product of matrices: many times faster than a
            # product for each displacement.
            near = _diagonals(ops.matmul(first, ops.swapaxes(row, -1, -2)))
            rows.append(near[..., far - step * reach : far + step * reach + 1 : step])
        costs = ops.concatenate(rows, axis=-1) / first.shape[-1]
        for axis in (1, 2):
            costs = self._windows(costs, axis)
        costs = ops.reshape(costs, (*ops.shape(costs)[:3], (2 * reach + 1) ** 2))
        if self.data_format == "channels_first":
            costs = ops.moveaxis(costs, -1, 1)
        return ops.cast(costs, self.compute_dtype)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        """Return the shape of the cost volume.

        Raises:
            ValueError: If the inputs do not fit each other, or are too small.
        """
        self._check(input_shape)
        output = list(input_shape[0])
        reach = self.max_displacement // self.stride_2
        margin = self.max_displacement + self.kernel_size // 2 - self.pad
        for axis in spatial_axes(self.data_format):
            size = output[axis]
            if size is not None and size <= 2 * margin:
                raise ValueError(
                    f"{self.name} has no position whose window can be displaced. "
                    f"Expected: more than {2 * margin} along axis {axis}. Received: "
                    f"shape={tuple(input_shape[0])}. Use a larger `pad`."
                )
            output[axis] = (
                None if size is None else -(-(size - 2 * margin) // self.stride_1)
            )
        output[channel_axis(self.data_format)] = (2 * reach + 1) ** 2
        return tuple(output)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "max_displacement": self.max_displacement,
            "stride_1": self.stride_1,
            "stride_2": self.stride_2,
            "pad": self.pad,
            "data_format": self.data_format,
        }

    def _check(self, shapes: Sequence[Shape]) -> None:
        """Raise unless the shapes are those of two equal batches of images."""
        lists = [shape for shape in shapes if isinstance(shape, (list, tuple))]
        if len(lists) != 2 or len(shapes) != 2 or not _checks.shapes_agree(*lists):
            raise ValueError(
                f"{self.name} expects a list of two tensors of the same shape. "
                f"Received: shapes {[*shapes]}"
            )
        for shape in shapes:
            image_channels(self.name, shape, self.data_format)

    def _padded(self, x: Tensor) -> Tensor:
        """Return the maps with zeros around them, the channels last."""
        if self.data_format == "channels_first":
            x = ops.moveaxis(x, 1, -1)
        return filled(filled(x, 1, self.pad, self.pad), 2, self.pad, self.pad)

    def _windows(self, x: Tensor, axis: int) -> Tensor:
        """Return the means of the windows along an axis, at every `stride_1`."""
        last = self.kernel_size - 1
        if last:
            parts = [part(x, axis, i, _from_end(last - i)) for i in range(last + 1)]
            x = sum(parts[1:], parts[0]) / self.kernel_size
        return x[(slice(None),) * axis + (slice(None, None, self.stride_1),)]


def _diagonals(x: Tensor) -> Tensor:
    """Return row `i` of the last two axes from its entry `i` on, as row `i`.

    The ends of the rows, for which there is no entry, hold others.
    """
    batch, height, rows, columns = ops.shape(x)
    # Read as rows that are longer by one, each begins one entry later.
    flat = ops.reshape(filled(x, 2, 0, 1), (batch, height, (rows + 1) * columns))
    flat = part(flat, 2, None, rows * (columns + 1))
    return ops.reshape(flat, (batch, height, rows, columns + 1))


def _from_end(count: int) -> int | None:
    """Return where a slice stops that leaves out the last `count`."""
    return -count or None
