"""Context and scales for predictions at every pixel."""

from collections.abc import Sequence

import numpy as np

from .conv_unit import Unit, conv_unit
from .convolution import conv2d, global_average_pool


def atrous_spatial_pyramid_pooling(
    x: np.ndarray,
    branches: Sequence[Unit],
    pooled: Unit,
    project: Unit,
    rates: Sequence[int],
    *,
    activation: str = "relu",
    epsilon: float = 1e-3,
) -> np.ndarray:
    """Concatenate views of growing width, the last of the whole image, and project.

    `branches` are the 1x1 unit and one unit for each of the dilation `rates`, in the
    order of the concatenation; `pooled` is the 1x1 unit of the image's average, which
    comes last, and `project` the 1x1 unit of them all.

    Chen et al. 2017, https://arxiv.org/abs/1706.05587, section 3.3 and figure 5.
    """
    x = np.asarray(x, dtype=np.float64)
    batch, height, width, _ = x.shape
    views = []
    for unit, rate in zip(branches, (1, *rates), strict=True):
        views.append(conv_unit(x, unit, activation, dilation=rate, epsilon=epsilon))
    average = global_average_pool(x)[:, np.newaxis, np.newaxis, :]
    features = conv_unit(average, pooled, activation, epsilon=epsilon)
    image_level = np.zeros((batch, height, width, features.shape[3]))
    for i in range(height):
        for j in range(width):
            image_level[:, i, j] = features[:, 0, 0]
    views.append(image_level)
    together = np.concatenate(views, axis=3)
    return conv_unit(together, project, activation, epsilon=epsilon)


def _upsampled(coarse: np.ndarray, height: int, width: int) -> np.ndarray:
    """Double by the nearest neighbour and crop: y[i, j] = x[i // 2, j // 2]."""
    batch, rows, columns, channels = coarse.shape
    if (rows, columns) != (-(-height // 2), -(-width // 2)):
        raise ValueError(f"({rows}, {columns}) is not half of ({height}, {width})")
    output = np.zeros((batch, height, width, channels))
    for i in range(height):
        for j in range(width):
            output[:, i, j] = coarse[:, i // 2, j // 2]
    return output


def feature_pyramid(
    maps: Sequence[np.ndarray],
    laterals: Sequence[tuple[np.ndarray, np.ndarray]],
    outputs: Sequence[tuple[np.ndarray, np.ndarray]],
) -> list[np.ndarray]:
    """Add to every map's lateral what the coarser maps know; finest first, all three.

    merged[last] = lateral(maps[last])
    merged[l] = lateral(maps[l]) + upsampled(merged[l + 1])
    result[l] = output(merged[l])

    A lateral is (1x1 kernel, bias), an output (3x3 kernel, bias); no activation.
    Lin et al. 2016, https://arxiv.org/abs/1612.03144, section 3 and figure 3.
    """
    merged: list[np.ndarray] = []
    for image, (kernel, bias) in zip(reversed(maps), reversed(laterals), strict=True):
        lateral = conv2d(image, kernel, bias)
        if merged:
            lateral += _upsampled(merged[0], lateral.shape[1], lateral.shape[2])
        merged.insert(0, lateral)
    return [
        conv2d(image, kernel, bias)
        for image, (kernel, bias) in zip(merged, outputs, strict=True)
    ]
