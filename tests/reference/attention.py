"""Attention over channels and over positions."""

import math

import numpy as np

from .blocks import relu, sigmoid
from .convolution import conv2d, global_average_pool

# Efficient channel attention -----------------------------------------------------


def eca_kernel_size(channels: int) -> int:
    """Return the odd number nearest to log2(C) / 2 + 1 / 2, of two the larger.

    Wang et al. 2019, https://arxiv.org/abs/1910.03151, section 3.2.3, with
    gamma = 2 and b = 1, rounded as the authors' code does.
    """
    size = int(abs((math.log2(channels) + 1) / 2))
    return size if size % 2 == 1 else size + 1


def eca(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Scale every channel by a gate of the averages of its k nearest channels.

    z = average of x over the image
    s[n, c] = sigmoid(sum_{a < k} kernel[a] z[n, c + a - (k - 1) / 2])
    y[n, i, j, c] = s[n, c] x[n, i, j, c]

    Beyond the first and the last channel z is 0.  Wang et al. 2019,
    https://arxiv.org/abs/1910.03151, section 3.2.2.
    """
    x = np.asarray(x, dtype=np.float64)
    channels = x.shape[3]
    size = len(kernel)
    if size % 2 == 0:
        raise ValueError(f"a kernel of {size} has no middle")
    averages = global_average_pool(x)
    output = np.zeros_like(x)
    for n in range(x.shape[0]):
        for c in range(channels):
            total = 0.0
            for a in range(size):
                neighbour = c + a - (size - 1) // 2
                if 0 <= neighbour < channels:
                    total += float(kernel[a]) * averages[n, neighbour]
            output[n, :, :, c] = sigmoid(np.array(total)) * x[n, :, :, c]
    return output


# Convolutional block attention module --------------------------------------------


def _channel_gate(
    image: np.ndarray,
    mlp: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> np.ndarray:
    """Return the gates (channels,) of one image: equation 2 of Woo et al. 2018."""
    w1, b1, w2, b2 = mlp
    channels = image.shape[2]
    average = np.zeros(channels)
    maximum = np.zeros(channels)
    for c in range(channels):
        average[c] = image[:, :, c].mean()
        maximum[c] = image[:, :, c].max()
    from_average = relu(average @ w1 + b1) @ w2 + b2
    from_maximum = relu(maximum @ w1 + b1) @ w2 + b2
    return sigmoid(from_average + from_maximum)


def _spatial_gate(image: np.ndarray, spatial_kernel: np.ndarray) -> np.ndarray:
    """Return the gates (height, width) of one image: equation 3 of Woo et al. 2018."""
    height, width, _ = image.shape
    described = np.zeros((1, height, width, 2))
    for i in range(height):
        for j in range(width):
            described[0, i, j, 0] = image[i, j].mean()
            described[0, i, j, 1] = image[i, j].max()
    return sigmoid(conv2d(described, spatial_kernel)[0, :, :, 0])


def cbam(
    x: np.ndarray,
    mlp: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    spatial_kernel: np.ndarray,
) -> np.ndarray:
    """Scale the channels by their gates, then the positions of the result by theirs.

    s_c = sigmoid(mlp(average over the image) + mlp(maximum over the image))
    s_p = sigmoid(conv([average over the channels, maximum over the channels]))

    `mlp` is (w1, b1, w2, b2), w1 (channels, hidden) and w2 (hidden, channels), with
    relu between; `spatial_kernel` has the shape (k, k, 2, 1) and no bias.
    Woo et al. 2018, https://arxiv.org/abs/1807.06521, equations 1 to 3.
    """
    x = np.asarray(x, dtype=np.float64)
    output = np.zeros_like(x)
    for n in range(x.shape[0]):
        refined = x[n] * _channel_gate(x[n], mlp)[np.newaxis, np.newaxis, :]
        output[n] = refined * _spatial_gate(refined, spatial_kernel)[:, :, np.newaxis]
    return output
