"""Convolution and pooling of NHWC images, one output value at a time."""

import numpy as np


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """Return `value` as (along the height, along the width)."""
    if isinstance(value, int):
        return value, value
    height, width = value
    return int(height), int(width)


def _same_padding(length: int, window: int, stride: int) -> tuple[int, int]:
    """Return the padding before and after one axis, TensorFlow's SAME rule.

    The output has ceil(n / s) positions, which need (ceil(n / s) - 1) * s + k
    inputs; what is missing is split in two, the smaller half coming first.
    """
    output = -(-length // stride)
    missing = max((output - 1) * stride + window - length, 0)
    before = missing // 2
    return before, missing - before


def _pad(
    x: np.ndarray,
    window: tuple[int, int],
    strides: tuple[int, int],
    padding: str,
    value: float,
) -> np.ndarray:
    """Pad the two spatial axes of `x` with `value`."""
    if padding == "valid":
        return x
    if padding != "same":
        raise ValueError(f"unknown padding {padding!r}")
    rows = _same_padding(x.shape[1], window[0], strides[0])
    columns = _same_padding(x.shape[2], window[1], strides[1])
    widths = ((0, 0), rows, columns, (0, 0))
    return np.pad(x, widths, constant_values=value)


def _positions(length: int, window: int, stride: int) -> int:
    """Count the places of a window along a (padded) axis."""
    return (length - window) // stride + 1


def conv2d(
    x: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray | None = None,
    strides: int | tuple[int, int] = 1,
    padding: str = "same",
    dilation: int | tuple[int, int] = 1,
) -> np.ndarray:
    """Convolve as deep learning does, i.e. correlate, without flipping the kernel.

    y[n, i, j, o] = b[o] + sum_{a, b, c} x[n, i s + a d, j s + b d, c] k[a, b, c, o]

    `kernel` has the shape (height, width, channels in, channels out); zeros pad.
    The dilation d is the rate r of Chen et al. 2017, section 3.1, equation 1,
    https://arxiv.org/abs/1706.05587.
    """
    x = np.asarray(x, dtype=np.float64)
    kernel = np.asarray(kernel, dtype=np.float64)
    kernel_height, kernel_width, in_channels, out_channels = kernel.shape
    if x.shape[3] != in_channels:
        raise ValueError(f"{x.shape[3]} channels for a kernel of {in_channels}")
    down, across = _pair(strides)
    row_step, column_step = _pair(dilation)
    window = ((kernel_height - 1) * row_step + 1, (kernel_width - 1) * column_step + 1)
    padded = _pad(x, window, (down, across), padding, 0.0)
    height = _positions(padded.shape[1], window[0], down)
    width = _positions(padded.shape[2], window[1], across)
    output = np.zeros((x.shape[0], height, width, out_channels))
    for n in range(x.shape[0]):
        for i in range(height):
            for j in range(width):
                top, left = i * down, j * across
                bottom, right = top + window[0], left + window[1]
                patch = padded[n, top:bottom:row_step, left:right:column_step, :]
                for o in range(out_channels):
                    output[n, i, j, o] = np.sum(patch * kernel[:, :, :, o])
                    if bias is not None:
                        output[n, i, j, o] += bias[o]
    return output


def depthwise_conv2d(
    x: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray | None = None,
    strides: int | tuple[int, int] = 1,
    padding: str = "same",
) -> np.ndarray:
    """Convolve every channel with a filter of its own.

    y[n, i, j, c] = b[c] + sum_{a, b} x[n, i s + a, j s + b, c] k[a, b, c, 0]

    `kernel` has the shape (height, width, channels, 1); zeros pad.
    """
    x = np.asarray(x, dtype=np.float64)
    kernel = np.asarray(kernel, dtype=np.float64)
    kernel_height, kernel_width, channels, multiplier = kernel.shape
    if x.shape[3] != channels or multiplier != 1:
        raise ValueError(f"kernel {kernel.shape} for an image {x.shape}")
    down, across = _pair(strides)
    window = (kernel_height, kernel_width)
    padded = _pad(x, window, (down, across), padding, 0.0)
    height = _positions(padded.shape[1], kernel_height, down)
    width = _positions(padded.shape[2], kernel_width, across)
    output = np.zeros((x.shape[0], height, width, channels))
    for n in range(x.shape[0]):
        for i in range(height):
            for j in range(width):
                for c in range(channels):
                    total = 0.0 if bias is None else float(bias[c])
                    for a in range(kernel_height):
                        for b in range(kernel_width):
                            value = padded[n, i * down + a, j * across + b, c]
                            total += value * kernel[a, b, c, 0]
                    output[n, i, j, c] = total
    return output


def max_pool2d(
    x: np.ndarray,
    size: int | tuple[int, int],
    strides: int | tuple[int, int],
    padding: str = "same",
) -> np.ndarray:
    """Take the maximum of every window, which the padding never is."""
    x = np.asarray(x, dtype=np.float64)
    window = _pair(size)
    down, across = _pair(strides)
    padded = _pad(x, window, (down, across), padding, -np.inf)
    height = _positions(padded.shape[1], window[0], down)
    width = _positions(padded.shape[2], window[1], across)
    output = np.zeros((x.shape[0], height, width, x.shape[3]))
    for n in range(x.shape[0]):
        for i in range(height):
            for j in range(width):
                top, left = i * down, j * across
                bottom, right = top + window[0], left + window[1]
                for c in range(x.shape[3]):
                    output[n, i, j, c] = padded[n, top:bottom, left:right, c].max()
    return output


def global_average_pool(x: np.ndarray) -> np.ndarray:
    """Average every channel over the image: (batch, channels)."""
    x = np.asarray(x, dtype=np.float64)
    batch, height, width, channels = x.shape
    output = np.zeros((batch, channels))
    for n in range(batch):
        for c in range(channels):
            output[n, c] = x[n, :, :, c].sum() / (height * width)
    return output
