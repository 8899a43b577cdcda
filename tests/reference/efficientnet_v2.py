"""The fused inverted residual of EfficientNetV2, in its inference form."""

from typing import Any

import numpy as np

from .blocks import squeeze_excite as squeeze_excite_reference
from .conv_unit import Unit, conv_unit


def fused_inverted_residual(
    x: np.ndarray,
    *,
    expand: Unit | None,
    squeeze_excite: tuple[Any, ...] | None,
    project: Unit,
    strides: int,
    residual: bool,
    activation: str = "silu",
    epsilon: float = 1e-3,
) -> np.ndarray:
    """Expand by a k x k convolution, project by a 1x1 one without activation.

    y = BN(project(squeeze_excite(f(BN(expand(x)))))) [+ x]
    y = f(BN(project(squeeze_excite(x)))) [+ x] if `expand` is None

    The first convolution has the stride.  `squeeze_excite` is the four weights that
    the function of this name takes, and then its activations if they are not this
    block's `activation` and the sigmoid.  Tan & Le 2021,
    https://arxiv.org/abs/2104.00298, figure 2, and keras.applications.
    """
    x = np.asarray(x, dtype=np.float64)
    y = x
    if expand is not None:
        y = conv_unit(y, expand, activation, strides=strides, epsilon=epsilon)
    if squeeze_excite is not None:
        weights, activations = squeeze_excite[:4], squeeze_excite[4:]
        y = squeeze_excite_reference(y, *weights, *(activations or (activation,)))
    if expand is not None:
        y = conv_unit(y, project, "linear", epsilon=epsilon)
    else:
        y = conv_unit(y, project, activation, strides=strides, epsilon=epsilon)
    return y + x if residual else y
