"""One row or more per layer: how to make it, and what to feed it.

`test_conformance.py` puts each through what holds for all layers. A layer without a row
fails. To add a layer, add a row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_ext import layers

_rng = np.random.default_rng(7)


def image(*shape: int) -> np.ndarray:
    """Return normal random numbers."""
    return _rng.normal(size=shape).astype("float32")


def _points(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points in a small image, and others near them."""
    points = _rng.uniform(0, 4, (*shape, 2)).astype("float32")
    return points, points + _rng.uniform(-0.4, 0.4, points.shape).astype("float32")


def _channel_axis() -> int:
    return -1 if keras.config.image_data_format() == "channels_last" else 1


@dataclass(frozen=True)
class LayerCase:
    """A layer, its input, and the parts of the contract that do not apply to it.

    Args:
        make: Returns a new layer.
        inputs: What it is called with; a tuple of arrays for several arguments.
        dynamic_axes: Axes of every input whose size it need not know.
        as_list: Whether several inputs are one argument, a list.
        has_states: Whether the inputs after the first are one argument, a list: it is
            a cell for `keras.layers.RNN`.
        id: Of the tests.
    """

    make: Callable[[], Any]
    inputs: np.ndarray | tuple[np.ndarray, ...]
    dynamic_axes: tuple[int, ...] = (0, 1, 2)
    as_list: bool = False
    has_states: bool = False
    id: str = ""

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The inputs, as a tuple."""
        return self.inputs if isinstance(self.inputs, tuple) else (self.inputs,)

    def arguments(self, each: Sequence[Any]) -> tuple[Any, ...]:
        """Return the arguments of a call, given something for each of the inputs."""
        if self.as_list:
            return ([*each],)
        return (each[0], [*each[1:]]) if self.has_states else tuple(each)

    def call(self, layer: Any, inputs: Any = None, **options: Any) -> list[Any]:
        """Call `layer`, and return its outputs as a list."""
        inputs = self.arrays if inputs is None else inputs
        return keras.tree.flatten(layer(*self.arguments(inputs), **options))


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
        lambda: layers.ConvNormAct(
            6,
            (2, 3),
            padding="valid",
            dilation_rate=(1, 2),
            normalization=keras.layers.GroupNormalization(2, axis=_channel_axis()),
        ),
        image(4, 6, 5, 8),
        id="ConvNormAct-group",
    ),
    LayerCase(
        lambda: layers.FactorizedInception(
            [[(2, 1)], [(3, 1), (4, (1, 3))], [(3, 1), [(2, (1, 3)), (3, (3, 1))]]],
            filters_pool=4,
        ),
        image(4, 6, 5, 8),
        id="FactorizedInception",
    ),
    LayerCase(
        lambda: layers.FactorizedInception(
            [[(3, 3)], [(3, 1), (4, 3)]], strides=2, normalization=None
        ),
        image(4, 6, 5, 8),
        id="FactorizedInception-strided",
    ),
    LayerCase(
        lambda: layers.FusedInvertedResidual(
            8, squeeze_excite=layers.SqueezeExcite(0.25), drop_rate=0.2
        ),
        image(4, 6, 5, 8),
        id="FusedInvertedResidual",
    ),
    LayerCase(
        lambda: layers.FusedInvertedResidual(
            6,
            expansion=1,
            strides=2,
            normalization=keras.layers.BatchNormalization(axis=_channel_axis()),
        ),
        image(4, 6, 5, 8),
        id="FusedInvertedResidual-strided",
    ),
    LayerCase(
        lambda: layers.AtrousSpatialPyramidPooling(6, dilation_rates=(1, 2)),
        image(4, 6, 5, 8),
        id="AtrousSpatialPyramidPooling",
    ),
    LayerCase(
        lambda: layers.FeaturePyramid(6),
        (image(4, 11, 8, 3), image(4, 6, 4, 5), image(4, 3, 2, 8)),
        as_list=True,
        id="FeaturePyramid",
    ),
    LayerCase(
        lambda: layers.CorrelationCost(3, 2, 1, 2, pad=2),
        (image(4, 6, 5, 8), image(4, 6, 5, 8)),
        as_list=True,
        id="CorrelationCost",
    ),
    LayerCase(
        lambda: layers.CorrelationCost(1, 1, stride_1=2),
        (image(4, 6, 5, 8), image(4, 6, 5, 8)),
        as_list=True,
        id="CorrelationCost-strided",
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
        id="InvertedResidual-squeezed",
    ),
    LayerCase(
        lambda: layers.StochasticDepth(0.5, seed=3),
        image(4, 6, 5, 8),
        id="StochasticDepth",
    ),
    LayerCase(
        lambda: layers.StochasticDepth(0.2),
        image(4, 3),
        dynamic_axes=(0,),
        id="StochasticDepth-vectors",
    ),
    LayerCase(lambda: layers.CRF(3), image(4, 6, 3), dynamic_axes=(0, 1), id="CRF"),
    # Keras's default for LSTM, orthogonal kernels, is not made in bfloat16.
    LayerCase(
        lambda: layers.LayerNormLSTMCell(3, recurrent_initializer="glorot_uniform"),
        (image(4, 5), image(4, 3), image(4, 3)),
        dynamic_axes=(0,),
        has_states=True,
        id="LayerNormLSTMCell",
    ),
    LayerCase(
        lambda: layers.LayerNormLSTMCell(
            3,
            "softsign",
            use_bias=False,
            recurrent_initializer="glorot_uniform",
            epsilon=0.01,
            normalize_carry=True,
        ),
        (image(4, 5), image(4, 3), image(4, 3)),
        dynamic_axes=(0,),
        has_states=True,
        id="LayerNormLSTMCell-carry",
    ),
    LayerCase(
        lambda: layers.PeepholeLSTMCell(3, recurrent_initializer="glorot_uniform"),
        (image(4, 5), image(4, 3), image(4, 3)),
        dynamic_axes=(0,),
        has_states=True,
        id="PeepholeLSTMCell",
    ),
    LayerCase(
        lambda: layers.NASCell(3, projection=2, use_bias=True),
        (image(4, 5), image(4, 2), image(4, 3)),
        dynamic_axes=(0,),
        has_states=True,
        id="NASCell",
    ),
    LayerCase(
        lambda: layers.NASCell(3),
        (image(4, 5), image(4, 3), image(4, 3)),
        dynamic_axes=(0,),
        has_states=True,
        id="NASCell-plain",
    ),
    LayerCase(
        lambda: layers.CRF(3, use_boundary=False, transition_initializer="zeros"),
        image(4, 6, 3),
        dynamic_axes=(0, 1),
        id="CRF-without-boundary",
    ),
    LayerCase(
        layers.ViterbiDecoder,
        image(4, 6, 3, 3),
        dynamic_axes=(0, 1),
        id="ViterbiDecoder",
    ),
    LayerCase(
        lambda: layers.ViterbiDecoder(unroll=True),
        image(4, 6, 3, 3),
        dynamic_axes=(0,),
        id="ViterbiDecoder-unroll",
    ),
    LayerCase(lambda: layers.Maxout(2), image(4, 6, 5, 8), id="Maxout"),
    LayerCase(
        lambda: layers.Maxout(3, axis=1),
        image(4, 6, 5, 8),
        dynamic_axes=(0, 2, 3),
        id="Maxout-axis",
    ),
    LayerCase(
        lambda: layers.NoisyDense(5, activation="tanh", seed=3),
        image(4, 6, 8),
        dynamic_axes=(0, 1),
        id="NoisyDense",
    ),
    LayerCase(
        lambda: layers.NoisyDense(5, sigma=0.1, factorized=False, use_bias=False),
        image(4, 8),
        dynamic_axes=(0,),
        id="NoisyDense-independent",
    ),
    LayerCase(
        layers.FilterResponseNormalization,
        image(4, 6, 5, 8),
        id="FilterResponseNormalization",
    ),
    LayerCase(
        lambda: layers.FilterResponseNormalization(epsilon=1e-5, learn_epsilon=True),
        image(4, 1, 1, 8),
        id="FilterResponseNormalization-pixels",
    ),
    LayerCase(layers.TLU, image(4, 6, 5, 8), id="TLU"),
    LayerCase(layers.TLU, image(4, 8), dynamic_axes=(0,), id="TLU-vectors"),
    LayerCase(
        layers.GlobalResponseNormalization,
        image(4, 6, 5, 8),
        id="GlobalResponseNormalization",
    ),
    LayerCase(lambda: layers.LayerScale(0.3), image(4, 6, 5, 8), id="LayerScale"),
    LayerCase(
        lambda: layers.LayerScale(0.3, axis=1),
        image(4, 6, 8),
        dynamic_axes=(0, 2),
        id="LayerScale-axis",
    ),
    LayerCase(
        lambda: layers.WeightStandardizedConv2D(6, 3, 2, "same", activation="tanh"),
        image(4, 6, 5, 8),
        id="WeightStandardizedConv2D",
    ),
    LayerCase(
        lambda: layers.WeightStandardizedConv2D(
            6, (3, 2), dilation_rate=2, groups=2, use_bias=False
        ),
        image(4, 6, 5, 8),
        id="WeightStandardizedConv2D-groups",
    ),
    LayerCase(
        lambda: layers.WeightNormalization(keras.layers.Dense(3, activation="tanh")),
        image(4, 6, 8),
        dynamic_axes=(0, 1),
        id="WeightNormalization",
    ),
    LayerCase(
        lambda: layers.WeightNormalization(
            keras.layers.Conv2D(6, 3, padding="same", use_bias=False), data_init=False
        ),
        image(4, 6, 5, 8),
        id="WeightNormalization-Conv2D",
    ),
    LayerCase(layers.ECA, image(4, 6, 5, 8), id="ECA"),
    LayerCase(lambda: layers.ECA(5), image(4, 6, 5, 8), id="ECA-kernel"),
    LayerCase(lambda: layers.CBAM(0.25), image(4, 6, 5, 8), id="CBAM"),
    LayerCase(
        lambda: layers.CBAM(kernel_size=3), image(4, 6, 5, 8), id="CBAM-small-kernel"
    ),
    LayerCase(
        layers.SpatialPyramidPooling, image(4, 6, 5, 8), id="SpatialPyramidPooling"
    ),
    LayerCase(
        lambda: layers.SpatialPyramidPooling((3, 1), pooling="average"),
        image(4, 6, 5, 8),
        id="SpatialPyramidPooling-average",
    ),
    LayerCase(layers.BlurPool2D, image(4, 6, 5, 8), id="BlurPool2D"),
    LayerCase(
        lambda: layers.BlurPool2D(6, strides=3), image(4, 6, 5, 8), id="BlurPool2D-wide"
    ),
    LayerCase(
        lambda: layers.BlurPool2D(1, strides=1), image(4, 6, 5, 8), id="BlurPool2D-none"
    ),
    # Eighths stay apart in half precision: the same maxima in every policy.
    LayerCase(
        layers.MaxPoolingWithArgmax2D,
        np.round(8 * image(4, 6, 5, 8)) / 8,
        id="MaxPoolingWithArgmax2D",
    ),
    LayerCase(
        lambda: layers.MaxPoolingWithArgmax2D((2, 3), padding="same"),
        np.round(8 * image(4, 6, 5, 8)) / 8,
        id="MaxPoolingWithArgmax2D-same",
    ),
    LayerCase(
        layers.MaxUnpooling2D,
        (image(4, 3, 2, 8), _rng.integers(0, 4, (4, 3, 2, 8), dtype="int32")),
        id="MaxUnpooling2D",
    ),
    LayerCase(
        lambda: layers.MaxUnpooling2D((3, 2)),
        (
            image(4, 3, 2, 8),
            _rng.integers(0, 6, (4, 3, 2, 8), dtype="int32"),
            _rng.integers(0, 255, (4, 7, 5, 3), dtype="int32"),
        ),
        id="MaxUnpooling2D-like",
    ),
    LayerCase(
        lambda: layers.DropBlock2D(0.2, 3, seed=3),
        image(4, 6, 5, 8),
        id="DropBlock2D",
    ),
    LayerCase(
        lambda: layers.DropBlock2D(0.1, (2, 7)),
        image(4, 6, 5, 8),
        id="DropBlock2D-pair",
    ),
    LayerCase(
        layers.Snake,
        image(4, 6, 5, 8),
        dynamic_axes=(0, 1, 2, 3),
        id="Snake",
    ),
    LayerCase(
        layers.Sparsemax,
        image(4, 6, 5, 8),
        dynamic_axes=(0, 1, 2, 3),
        id="Sparsemax",
    ),
    LayerCase(
        lambda: layers.Sparsemax(axis=1),
        image(4, 6, 5, 8),
        id="Sparsemax-axis",
    ),
    LayerCase(
        layers.Rotation2D,
        (image(4, 6, 5, 8), np.array([0.3, -2.0, 0.0, 7.5], "float32")),
        as_list=True,
        id="Rotation2D",
    ),
    LayerCase(
        lambda: layers.Rotation2D("nearest", fill_mode="wrap"),
        (image(4, 6, 5, 8), np.array([0.3, -2.0, 0.0, 7.5], "float32")),
        as_list=True,
        id="Rotation2D-nearest",
    ),
    # Eighths, as for the pooling above.
    LayerCase(
        layers.MedianFilter2D,
        np.round(8 * image(4, 6, 5, 8)) / 8,
        id="MedianFilter2D",
    ),
    LayerCase(
        lambda: layers.MedianFilter2D((2, 5), padding="constant", constant_values=0.5),
        np.round(8 * image(4, 6, 5, 8)) / 8,
        id="MedianFilter2D-even",
    ),
    LayerCase(
        lambda: layers.SparseImageWarp(num_boundary_points=2),
        (image(4, 6, 5, 8), *_points(4, 3)),
        dynamic_axes=(0, 1),
        as_list=True,
        id="SparseImageWarp",
    ),
    LayerCase(
        lambda: layers.SparseImageWarp(
            interpolation_order=1, regularization_weight=0.1, return_flow=True
        ),
        (image(4, 6, 5, 8), *_points(4, 5)),
        dynamic_axes=(0, 1),
        as_list=True,
        id="SparseImageWarp-flow",
    ),
]
