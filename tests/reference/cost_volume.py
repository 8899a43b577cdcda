"""The cost volume of two feature maps, one pair of patches at a time."""

import numpy as np


def correlation_cost(
    a: np.ndarray,
    b: np.ndarray,
    kernel_size: int,
    max_displacement: int,
    stride_1: int = 1,
    stride_2: int = 1,
    pad: int = 0,
) -> np.ndarray:
    """c(x1, x2) = sum over o in [-k, k]^2 of <f1(x1 + o), f2(x2 + o)>, as a mean.

    Dosovitskiy et al. 2015, https://arxiv.org/abs/1504.06852, equation 1. `x1` is one
    of every `stride_1` places of the maps with `pad` zeros around them, far enough from
    their edges for every `x2`; `x2 - x1` is a multiple of `stride_2`, and at most
    `max_displacement` along each axis. Of (batch, height, width, channels).
    """
    k, d = kernel_size // 2, max_displacement
    samples, height, width, channels = a.shape
    offsets = [o for o in range(-d, d + 1) if o % stride_2 == 0]
    rows = range(d + k - pad, height + pad - d - k, stride_1)
    columns = range(d + k - pad, width + pad - d - k, stride_1)

    def feature(maps, n, y, x):
        if 0 <= y < height and 0 <= x < width:
            return maps[n, y, x].astype("float64")
        return np.zeros(channels)

    costs = np.zeros((samples, len(rows), len(columns), len(offsets) ** 2))
    for n, i, j in np.ndindex(*costs.shape[:3]):
        y, x = rows[i], columns[j]
        for channel in range(costs.shape[3]):
            down, right = (offsets[place] for place in divmod(channel, len(offsets)))
            total = 0.0
            for u in range(-k, k + 1):
                for v in range(-k, k + 1):
                    one = feature(a, n, y + u, x + v)
                    other = feature(b, n, y + down + u, x + right + v)
                    total += float(one @ other)
            costs[n, i, j, channel] = total / (kernel_size**2 * channels)
    return costs
