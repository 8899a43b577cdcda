"""Batches of images: their axes and shapes, and slices along an axis."""

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import DataFormat, Shape, Tensor


def resolve_data_format(data_format: DataFormat | None) -> DataFormat:
    """Return `data_format`, or Keras's global setting for `None`."""
    if data_format is None:
        return keras.config.image_data_format()
    return _checks.one_of(
        "data_format", data_format, ("channels_last", "channels_first")
    )


def channel_axis(data_format: DataFormat | None = None) -> int:
    """Return the axis of the channels; `None` stands for Keras's global setting."""
    data_format = resolve_data_format(data_format)
    return 1 if data_format == "channels_first" else -1


def spatial_axes(data_format: DataFormat) -> tuple[int, int]:
    """Return the axes that hold the height and the width of a batch of images."""
    return (2, 3) if data_format == "channels_first" else (1, 2)


def check_images(layer: str, shape: Shape, data_format: DataFormat) -> None:
    """Raise if `shape` is not that of a batch of images."""
    axes = {
        "channels_first": "(batch, channels, height, width)",
        "channels_last": "(batch, height, width, channels)",
    }
    _checks.rank(layer, shape, 4, axes[data_format])


def image_channels(layer: str, shape: Shape, data_format: DataFormat) -> int:
    """Return the number of channels, or raise if `shape` is not that of images."""
    check_images(layer, shape, data_format)
    return _checks.known_channels(layer, shape, channel_axis(data_format))


def image_spec(channels: int, data_format: DataFormat) -> keras.InputSpec:
    """Return the `input_spec` of a layer that was built for `channels` channels."""
    return keras.InputSpec(ndim=4, axes={channel_axis(data_format): channels})


def sides(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return the values of `size` for height and width."""
    return (size, size) if isinstance(size, int) else size


def image_shape_after(
    shape: Shape,
    filters: int | None,
    strides: int | tuple[int, int],
    data_format: DataFormat,
    *,
    valid: int | tuple[int, int] = 1,
) -> Shape:
    """Return the output shape of a convolution.

    Args:
        shape: Shape of the input.
        filters: Number of output channels.
        strides: Strides of the convolution.
        data_format: Position of the channel axis.
        valid: Number of pixels that the kernel spans, with `"valid"` padding; 1 is
            equivalent to `"same"` padding with any kernel.
    """
    output = list(shape)
    axes = spatial_axes(data_format)
    for axis, stride, span in zip(axes, sides(strides), sides(valid), strict=True):
        size = output[axis]
        output[axis] = None if size is None else -(-(size - span + 1) // stride)
    output[channel_axis(data_format)] = filters
    return tuple(output)


def part(x: Tensor, axis: int, start: Tensor | None, stop: Tensor | None) -> Tensor:
    """Return the slice from `start` up to but not including `stop` along `axis`."""
    return x[(slice(None),) * axis + (slice(start, stop),)]


def filled(
    x: Tensor, axis: int, before: int, after: int, value: float | None = None
) -> Tensor:
    """Return `x` padded with `value`, or zeros, on both sides of `axis`."""
    widths = [(0, 0)] * len(x.shape)
    widths[axis] = (before, after)
    return ops.pad(x, widths, constant_values=value)


def fitted(
    x: Tensor, axis: int, size: Tensor, margin: int, value: float | None = None
) -> Tensor:
    """Return `x` with `size` entries along `axis`, cut or padded at the end.

    Args:
        x: Tensor.
        axis: Non-negative integer.
        size: Integer, or an integer tensor if it is known only at run time.
        margin: Most entries that may have to be added in the latter case.
        value: Value to pad with. Default: `None`, for zeros.
    """
    present = ops.shape(x)[axis]
    if isinstance(present, int) and isinstance(size, int):
        margin = max(size - present, 0)
        if size >= present:
            return filled(x, axis, 0, margin, value) if margin else x
    elif margin:
        x = filled(x, axis, 0, margin, value)
    return part(x, axis, None, size)
