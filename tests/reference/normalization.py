"""Normalisation of activations and of weights, one channel at a time."""

import math

import numpy as np


def filter_response_normalization(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, epsilon: float
) -> np.ndarray:
    """gamma x / sqrt(nu^2 + epsilon) + beta, nu^2 = sum x^2 / N of a channel's image.

    Singh & Krishnan 2019, https://arxiv.org/abs/1911.09737, section 3.1.
    """
    x = np.asarray(x, dtype=np.float64)
    batch, height, width, channels = x.shape
    output = np.zeros(x.shape)
    for n in range(batch):
        for c in range(channels):
            image = x[n, :, :, c]
            nu2 = float(np.sum(image * image)) / (height * width)
            output[n, :, :, c] = gamma[c] * image / math.sqrt(nu2 + epsilon) + beta[c]
    return output


def tlu(x: np.ndarray, tau: np.ndarray) -> np.ndarray:
    """max(x, tau), one tau per entry of the last axis.

    Singh & Krishnan 2019, https://arxiv.org/abs/1911.09737, section 3.2.
    """
    x = np.asarray(x, dtype=np.float64)
    output = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        output[index] = max(x[index], float(tau[index[-1]]))
    return output


def global_response_normalization(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, epsilon: float
) -> np.ndarray:
    """gamma x n + beta + x, n = g / (mean_c g + epsilon), g = the channel's L2 norm.

    Woo et al. 2023, https://arxiv.org/abs/2301.00808, section 4 and algorithm 1.
    """
    x = np.asarray(x, dtype=np.float64)
    batch, _, _, channels = x.shape
    output = np.zeros(x.shape)
    for n in range(batch):
        norms = [math.sqrt(float(np.sum(x[n, :, :, c] ** 2))) for c in range(channels)]
        mean = sum(norms) / channels
        for c in range(channels):
            image = x[n, :, :, c]
            ratio = norms[c] / (mean + epsilon)
            output[n, :, :, c] = gamma[c] * (image * ratio) + beta[c] + image
    return output


def layer_scale(x: np.ndarray, gamma: np.ndarray, axis: int) -> np.ndarray:
    """diag(gamma) x: every entry of `axis` is multiplied by a number of its own.

    Touvron et al. 2021, https://arxiv.org/abs/2103.17239, section 2 (LayerScale).
    """
    x = np.asarray(x, dtype=np.float64)
    if len(gamma) != x.shape[axis]:
        raise ValueError(f"{len(gamma)} factors for axis {axis} of {x.shape}")
    output = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        output[index] = x[index] * float(gamma[index[axis]])
    return output


def standardized_kernel(kernel: np.ndarray, epsilon: float) -> np.ndarray:
    """(w - mean) / sqrt(variance + epsilon) over (height, width, in) of every filter.

    Qiao et al. 2019, https://arxiv.org/abs/1903.10520, "Weight Standardization".
    """
    kernel = np.asarray(kernel, dtype=np.float64)
    height, width, in_channels, out_channels = kernel.shape
    count = height * width * in_channels
    output = np.zeros(kernel.shape)
    for o in range(out_channels):
        weights = kernel[:, :, :, o]
        mean = float(np.sum(weights)) / count
        variance = float(np.sum((weights - mean) ** 2)) / count
        output[:, :, :, o] = (weights - mean) / math.sqrt(variance + epsilon)
    return output


def normalized_weights(v: np.ndarray, g: np.ndarray) -> np.ndarray:
    """g v / ||v||, the norm over all axes but the last, which holds the outputs.

    Salimans & Kingma 2016, https://arxiv.org/abs/1602.07868, equation 2.
    """
    v = np.asarray(v, dtype=np.float64)
    output = np.zeros(v.shape)
    for o in range(v.shape[-1]):
        norm = math.sqrt(float(np.sum(v[..., o] ** 2)))
        output[..., o] = float(g[o]) * v[..., o] / norm
    return output


def data_dependent_start(preactivations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """g = 1 / sigma[t] and b = -mu[t] / sigma[t], t = v x / ||v||, per last axis entry.

    Salimans & Kingma 2016, https://arxiv.org/abs/1602.07868, section 3, equation 6.
    """
    t = np.asarray(preactivations, dtype=np.float64)
    outputs = t.shape[-1]
    count = t.size // outputs
    g, b = np.zeros(outputs), np.zeros(outputs)
    for o in range(outputs):
        mean = float(np.sum(t[..., o])) / count
        variance = float(np.sum((t[..., o] - mean) ** 2)) / count
        g[o] = 1.0 / math.sqrt(variance)
        b[o] = -mean / math.sqrt(variance)
    return g, b
