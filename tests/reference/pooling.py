"""Pooling, unpooling and dropped blocks of NHWC images."""

import math
from collections.abc import Sequence

import numpy as np

from .convolution import _pair

# Spatial pyramid pooling ---------------------------------------------------------


def _bin(index: int, bins: int, length: int) -> slice:
    """Return what a bin covers: from floor(i L / n) to before ceil((i + 1) L / n)."""
    return slice((index * length) // bins, -((-(index + 1) * length) // bins))


def spatial_pyramid_pooling(
    x: np.ndarray, bins: Sequence[int], pooling: str = "max"
) -> np.ndarray:
    """Pool over n x n bins of the image for every n: (batch, channels * sum(n^2)).

    Level by level, row by row, column by column, and the channels vary fastest.
    He et al. 2014, https://arxiv.org/abs/1406.4729, section 2.2 and appendix A.
    """
    x = np.asarray(x, dtype=np.float64)
    pool = {"max": np.max, "average": np.mean}[pooling]
    batch, height, width, channels = x.shape
    output = []
    for sample in range(batch):
        values = []
        for n in bins:
            for row in range(n):
                for column in range(n):
                    rows, columns = _bin(row, n, height), _bin(column, n, width)
                    for c in range(channels):
                        values.append(pool(x[sample, rows, columns, c]))
        output.append(values)
    return np.array(output)


# Blur pooling --------------------------------------------------------------------


def _reflected(index: int, length: int) -> int:
    """Return where a position lies, reflected at the first and the last pixel."""
    if length == 1:
        return 0
    period = 2 * (length - 1)
    index %= period
    return index if index < length else period - index


def blur_pool2d(x: np.ndarray, kernel_size: int, strides: int = 2) -> np.ndarray:
    """Blur every channel by binomial weights, keep every `strides`-th position.

    w[a] = binomial(k - 1, a) / 2^(k - 1)
    y[n, i, j, c] = sum_{a, b} w[a] w[b] x[n, i s + a - p, j s + b - p, c]

    with p = floor((k - 1) / 2) and x reflected at its border, without repeating it.
    Zhang 2019, https://arxiv.org/abs/1904.11486, section 3 and the authors' code.
    """
    x = np.asarray(x, dtype=np.float64)
    weights = [
        math.comb(kernel_size - 1, a) / 2 ** (kernel_size - 1)
        for a in range(kernel_size)
    ]
    before = (kernel_size - 1) // 2
    batch, height, width, channels = x.shape
    output = np.zeros((batch, -(-height // strides), -(-width // strides), channels))
    for n, i, j, c in np.ndindex(output.shape):
        for a in range(kernel_size):
            for b in range(kernel_size):
                row = _reflected(i * strides + a - before, height)
                column = _reflected(j * strides + b - before, width)
                output[n, i, j, c] += weights[a] * weights[b] * x[n, row, column, c]
    return output


# Maximum with its position, and back ---------------------------------------------


def max_pool2d_with_argmax(
    x: np.ndarray, pool_size: int | tuple[int, int], padding: str
) -> tuple[np.ndarray, np.ndarray]:
    """Take every window's maximum and the position of the first one in the window.

    Windows do not overlap; a position is row * (window's width) + column.  Of the
    last windows, "valid" drops what is incomplete and "same" takes what is there.

    The switches of Zeiler & Fergus 2013, https://arxiv.org/abs/1311.2901, section
    2.1, and the indices of Badrinarayanan et al. 2015,
    https://arxiv.org/abs/1511.00561, section 3.
    """
    x = np.asarray(x, dtype=np.float64)
    pool_height, pool_width = _pair(pool_size)
    batch, height, width, channels = x.shape
    if padding == "valid":
        rows, columns = height // pool_height, width // pool_width
    elif padding == "same":
        rows, columns = -(-height // pool_height), -(-width // pool_width)
    else:
        raise ValueError(f"unknown padding {padding!r}")
    pooled = np.zeros((batch, rows, columns, channels))
    argmax = np.zeros(pooled.shape, dtype=np.int32)
    for n, i, j, c in np.ndindex(pooled.shape):
        best, position = -np.inf, 0
        for a in range(pool_height):
            for b in range(pool_width):
                row, column = i * pool_height + a, j * pool_width + b
                inside = row < height and column < width
                if inside and x[n, row, column, c] > best:
                    best, position = x[n, row, column, c], a * pool_width + b
        pooled[n, i, j, c] = best
        argmax[n, i, j, c] = position
    return pooled, argmax


def max_unpool2d(
    pooled: np.ndarray,
    argmax: np.ndarray,
    pool_size: int | tuple[int, int],
    size: tuple[int, int] | None = None,
) -> np.ndarray:
    """Put every value at its position in its window, and zeros everywhere else.

    `size` is the (height, width) of the result: what lies outside is dropped, what
    no window covers is zero.  Zeiler & Fergus 2013, https://arxiv.org/abs/1311.2901,
    section 2.1; Badrinarayanan et al. 2015, https://arxiv.org/abs/1511.00561,
    section 3.
    """
    pooled = np.asarray(pooled, dtype=np.float64)
    pool = _pair(pool_size)
    batch, rows, columns, channels = pooled.shape
    if size is None:
        size = rows * pool[0], columns * pool[1]
    for length, window, windows in zip(size, pool, (rows, columns), strict=True):
        if not (windows - 1) * window < length < (windows + 1) * window:
            raise ValueError(f"{windows} windows of {window} for a size of {length}")
    output = np.zeros((batch, size[0], size[1], channels))
    for n, i, j, c in np.ndindex(pooled.shape):
        a, b = divmod(int(argmax[n, i, j, c]), pool[1])
        row, column = i * pool[0] + a, j * pool[1] + b
        if row < size[0] and column < size[1]:
            output[n, row, column, c] = pooled[n, i, j, c]
    return output


# DropBlock -----------------------------------------------------------------------


def drop_block_gamma(
    rate: float, block_size: int | tuple[int, int], height: int, width: int
) -> float:
    """Return the probability that a position is the corner of a dropped block.

    gamma = rate / (b_h b_w) * H W / ((H - b_h + 1) (W - b_w + 1))

    A block is at most as large as the image.  Ghiasi et al. 2018,
    https://arxiv.org/abs/1810.12890, equation 1, with rate = 1 - keep_prob.
    """
    block_height, block_width = _pair(block_size)
    block_height, block_width = min(block_height, height), min(block_width, width)
    corners = (height - block_height + 1) * (width - block_width + 1)
    return rate / (block_height * block_width) * (height * width) / corners


def drop_block_kept(
    corners: np.ndarray, block_size: int | tuple[int, int]
) -> np.ndarray:
    """Return which positions (height, width) of one channel lie in no dropped block.

    `corners` (height - b_h + 1, width - b_w + 1) says where the top left corner of a
    dropped block is; the blocks fit, `block_size` is what is left after capping.
    Ghiasi et al. 2018, https://arxiv.org/abs/1810.12890, algorithm 1.
    """
    block_height, block_width = _pair(block_size)
    rows, columns = corners.shape
    kept = np.ones((rows + block_height - 1, columns + block_width - 1), dtype=bool)
    for i in range(rows):
        for j in range(columns):
            if corners[i, j]:
                kept[i : i + block_height, j : j + block_width] = False
    return kept


def drop_block_scale(kept: np.ndarray) -> float:
    """Return count / count kept over one sample (height, width, channels).

    0 if nothing is kept.  Ghiasi et al. 2018, https://arxiv.org/abs/1810.12890,
    algorithm 1, its last step.
    """
    count_kept = int(np.count_nonzero(kept))
    return kept.size / count_kept if count_kept else 0.0
