"""The Inception module with factorised convolutions, in its inference form."""

from collections.abc import Sequence

import numpy as np

from .conv_unit import Unit, conv_unit
from .convolution import max_pool2d

Stage = Unit | list[Unit]
"""One unit, or a list of units side by side: on the same input, concatenated."""


def _average_pool_3x3(x: np.ndarray) -> np.ndarray:
    """Average every pixel with those of its eight neighbours which there are."""
    output = np.zeros_like(x)
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            top, left = max(i - 1, 0), max(j - 1, 0)
            window = x[:, top : i + 2, left : j + 2, :]
            output[:, i, j, :] = window.mean(axis=(1, 2))
    return output


def factorized_inception(
    x: np.ndarray,
    branches: Sequence[Sequence[Stage]],
    *,
    strides: int = 1,
    pool: Unit | None = None,
    activation: str = "relu",
    epsilon: float = 1e-3,
) -> np.ndarray:
    """Concatenate branches of convolutions and, last, a pooled view of the image.

    A branch is a list of stages, applied in order.  With stride 1 (figures 5 to 7 of
    the paper) all have "same" padding, and the pooled view is an average over 3x3 and
    then, unless None, the 1x1 unit `pool`.  With stride 2 (figure 10) the last stage
    of every branch has the stride and "valid" padding, as has the maximum over 3x3.

    Szegedy et al. 2015, https://arxiv.org/abs/1512.00567.
    """
    x = np.asarray(x, dtype=np.float64)
    if strides != 1 and pool is not None:
        raise ValueError("the pooled view of a grid reduction is not projected")
    outputs = []
    for branch in branches:
        y = x
        for place, stage in enumerate(branch, start=1):
            units = stage if isinstance(stage, list) else [stage]
            strided = strides != 1 and place == len(branch)
            y = np.concatenate(
                [
                    conv_unit(
                        y,
                        unit,
                        activation,
                        strides=strides if strided else 1,
                        padding="valid" if strided else "same",
                        epsilon=epsilon,
                    )
                    for unit in units
                ],
                axis=3,
            )
        outputs.append(y)
    if strides != 1:
        outputs.append(max_pool2d(x, size=3, strides=strides, padding="valid"))
    else:
        pooled = _average_pool_3x3(x)
        if pool is not None:
            pooled = conv_unit(pooled, pool, activation, epsilon=epsilon)
        outputs.append(pooled)
    return np.concatenate(outputs, axis=3)
