"""One row or more per layer: how to make it, and what to feed it.

`test_conformance.py` puts each through what holds for all layers. A layer without a row
fails. To add a layer, add a row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_ext import layers

_rng = np.random.default_rng(7)


def image(*shape: int) -> np.ndarray:
    """Return normal random numbers."""
    return _rng.normal(size=shape).astype("float32")


@dataclass(frozen=True)
class LayerCase:
    """A layer, its input, and the parts of the contract that do not apply to it.

    Args:
        make: Returns a new layer.
        inputs: What it is called with; a tuple of arrays for several arguments.
        dynamic_axes: Axes of every input whose size it need not know.
        random: Whether it draws random numbers in training.
        as_list: Whether several inputs are one argument, a list.
        id: Of the tests.
    """

    make: Callable[[], Any]
    inputs: np.ndarray | tuple[np.ndarray, ...]
    dynamic_axes: tuple[int, ...] = (0, 1, 2)
    random: bool = False
    as_list: bool = False
    id: str = ""

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The inputs, as a tuple."""
        return self.inputs if isinstance(self.inputs, tuple) else (self.inputs,)

    def call(self, layer: Any, inputs: Any = None, **options: Any) -> list[Any]:
        """Call `layer`, and return its outputs as a list."""
        inputs = self.arrays if inputs is None else inputs
        outputs = (
            layer([*inputs], **options) if self.as_list else layer(*inputs, **options)
        )
        return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]


LAYERS = [
    LayerCase(
        lambda: layers.SqueezeExcite(ratio=0.25), image(4, 6, 5, 8), id="SqueezeExcite"
    ),
    LayerCase(
        lambda: layers.SqueezeExcite(
            filters=3, activation="silu", gate_activation="hard_sigmoid"
        ),
        image(4, 6, 5, 8),
        id="SqueezeExcite-filters",
    ),
    LayerCase(
        lambda: layers.ConvNormAct(6, 3, strides=2),
        image(4, 6, 5, 8),
        id="ConvNormAct",
    ),
    LayerCase(
        lambda: layers.ConvNormAct(
            6, (1, 3), strides=(2, 1), activation="silu", normalization=None
        ),
        image(4, 6, 5, 8),
        id="ConvNormAct-bias",
    ),
    LayerCase(
        lambda: layers.InceptionModule(2, (3, 4), (2, 3), 7),
        image(4, 6, 5, 8),
        id="InceptionModule",
    ),
    LayerCase(
        lambda: layers.InceptionModule(2, 3, 4, None, normalization="batch"),
        image(4, 6, 5, 8),
        id="InceptionModule-naive",
    ),
    LayerCase(
        lambda: layers.InvertedResidual(8, kernel_regularizer="l2"),
        image(4, 6, 5, 8),
        id="InvertedResidual",
    ),
    LayerCase(
        lambda: layers.InvertedResidual(
            8, expansion=1, strides=2, activation="relu", normalization=None
        ),
        image(4, 6, 5, 8),
        id="InvertedResidual-strided",
    ),
    LayerCase(
        lambda: layers.InvertedResidual(
            8,
            expansion=2.5,
            kernel_size=5,
            activation="hard_silu",
            squeeze_excite=layers.SqueezeExcite(0.25, gate_activation="hard_sigmoid"),
            drop_rate=0.2,
        ),
        image(4, 6, 5, 8),
        random=True,
        id="InvertedResidual-squeezed",
    ),
    LayerCase(
        lambda: layers.StochasticDepth(0.5, seed=3),
        image(4, 6, 5, 8),
        random=True,
        id="StochasticDepth",
    ),
    LayerCase(
        lambda: layers.StochasticDepth(0.2),
        image(4, 3),
        dynamic_axes=(0,),
        random=True,
        id="StochasticDepth-vectors",
    ),
]
