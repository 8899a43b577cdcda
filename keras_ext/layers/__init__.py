"""Layers: reusable blocks, attention over channels, regularisation."""

from keras_ext.layers.conv_norm_act import ConvNormAct
from keras_ext.layers.inception_module import InceptionModule
from keras_ext.layers.inverted_residual import InvertedResidual
from keras_ext.layers.squeeze_excite import SqueezeExcite
from keras_ext.layers.stochastic_depth import StochasticDepth

__all__ = [
    "ConvNormAct",
    "InceptionModule",
    "InvertedResidual",
    "SqueezeExcite",
    "StochasticDepth",
]
