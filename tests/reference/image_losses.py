"""Losses of images and regressions, one pixel and window at a time."""

import math

import numpy as np


def charbonnier(
    y_true: np.ndarray, y_pred: np.ndarray, *, epsilon: float = 1e-3
) -> np.ndarray:
    """Average sqrt(error^2 + epsilon^2) over the last axis.

    Charbonnier et al. 1994, https://doi.org/10.1109/ICIP.1994.413553, in the form of
    Lai et al. 2017, https://arxiv.org/abs/1704.03915, section 3.3.
    """
    errors = np.asarray(y_pred, np.float64) - np.asarray(y_true, np.float64)
    values = np.zeros(errors.shape)
    for index in np.ndindex(*errors.shape):
        values[index] = math.sqrt(errors[index] ** 2 + epsilon**2)
    return values.sum(axis=-1) / values.shape[-1]


def ssim(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    *,
    max_value: float = 1.0,
    filter_size: int = 11,
    sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    data_format: str | None = None,
) -> np.ndarray:
    """Return 1 - the mean SSIM over all whole windows and channels of every image.

    Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861, equations 13 to 17.
    """
    true = np.asarray(y_true, np.float64)
    predicted = np.asarray(y_pred, np.float64)
    if true.shape != predicted.shape or true.ndim != 4:
        raise ValueError(f"images of the shapes {true.shape} and {predicted.shape}")
    if data_format == "channels_first":
        true = np.moveaxis(true, 1, -1)
        predicted = np.moveaxis(predicted, 1, -1)
    images, height, width, channels = true.shape
    if min(height, width) < filter_size:
        raise ValueError(f"{height} x {width} pixels, but windows of {filter_size}")
    window = gaussian_window(filter_size, sigma)
    values = np.zeros(images)
    for n in range(images):
        similarities = []
        for c in range(channels):
            for top in range(height - filter_size + 1):
                for left in range(width - filter_size + 1):
                    rows = slice(top, top + filter_size)
                    columns = slice(left, left + filter_size)
                    similarity = ssim_of_window(
                        true[n, rows, columns, c],
                        predicted[n, rows, columns, c],
                        window,
                        (k1 * max_value) ** 2,
                        (k2 * max_value) ** 2,
                    )
                    similarities.append(similarity)
        values[n] = 1.0 - sum(similarities) / len(similarities)
    return values


def gaussian_window(size: int, sigma: float) -> np.ndarray:
    """exp(-distance^2 / (2 sigma^2)) from the middle, divided by its sum."""
    window = np.zeros((size, size))
    middle = (size - 1) / 2.0
    for i in range(size):
        for j in range(size):
            squared = (i - middle) ** 2 + (j - middle) ** 2
            window[i, j] = math.exp(-squared / (2.0 * sigma**2))
    return window / window.sum()


def ssim_of_window(
    x: np.ndarray, y: np.ndarray, window: np.ndarray, c1: float, c2: float
) -> float:
    """(2 mx my + c1) (2 sxy + c2) / ((mx^2 + my^2 + c1) (sx^2 + sy^2 + c2)).

    Wang et al. 2004, equation 13, with the moments of equations 14 to 16.
    """
    mean_x = float(np.sum(window * x))
    mean_y = float(np.sum(window * y))
    variance_x = float(np.sum(window * (x - mean_x) ** 2))
    variance_y = float(np.sum(window * (y - mean_y) ** 2))
    covariance = float(np.sum(window * (x - mean_x) * (y - mean_y)))
    luminance = (2.0 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2.0 * covariance + c2) / (variance_x + variance_y + c2)
    return luminance * structure
