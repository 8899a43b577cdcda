"""The unit which networks since 2015 are made of: convolve, normalise, activate."""

import numpy as np

from .blocks import ACTIVATIONS, BatchNorm, batch_norm
from .convolution import conv2d

Unit = tuple[np.ndarray, np.ndarray | None, BatchNorm | None]
"""Kernel, bias and (gamma, beta, moving mean, moving variance)."""


def conv_unit(
    x: np.ndarray,
    unit: Unit,
    activation: str,
    *,
    strides: int | tuple[int, int] = 1,
    padding: str = "same",
    dilation: int | tuple[int, int] = 1,
    epsilon: float = 1e-3,
) -> np.ndarray:
    """Return activation(BN(conv(x) + bias)), without what the unit has not.

    Ioffe & Szegedy 2015, https://arxiv.org/abs/1502.03167, section 3.2.
    """
    kernel, bias, normalisation = unit
    y = conv2d(x, kernel, bias, strides, padding, dilation)
    if normalisation is not None:
        y = batch_norm(y, *normalisation, epsilon=epsilon)
    return ACTIVATIONS[activation](y)
