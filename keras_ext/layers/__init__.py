"""Layers: blocks of networks, attention, pooling, normalization, regularization."""

from keras_ext.layers.atrous_spatial_pyramid_pooling import AtrousSpatialPyramidPooling
from keras_ext.layers.blur_pool2d import BlurPool2D
from keras_ext.layers.cbam import CBAM
from keras_ext.layers.conv_norm_act import ConvNormAct
from keras_ext.layers.correlation_cost import CorrelationCost
from keras_ext.layers.crf import CRF
from keras_ext.layers.drop_block2d import DropBlock2D
from keras_ext.layers.eca import ECA
from keras_ext.layers.factorized_inception import FactorizedInception
from keras_ext.layers.feature_pyramid import FeaturePyramid
from keras_ext.layers.filter_response_normalization import FilterResponseNormalization
from keras_ext.layers.fused_inverted_residual import FusedInvertedResidual
from keras_ext.layers.global_response_normalization import GlobalResponseNormalization
from keras_ext.layers.inception_module import InceptionModule
from keras_ext.layers.interpolate_spline import interpolate_spline
from keras_ext.layers.inverted_residual import InvertedResidual
from keras_ext.layers.layer_norm_lstm_cell import LayerNormLSTMCell
from keras_ext.layers.layer_scale import LayerScale
from keras_ext.layers.max_pooling_with_argmax2d import MaxPoolingWithArgmax2D
from keras_ext.layers.max_unpooling2d import MaxUnpooling2D
from keras_ext.layers.maxout import Maxout
from keras_ext.layers.median_filter2d import MedianFilter2D
from keras_ext.layers.nas_cell import NASCell
from keras_ext.layers.noisy_dense import NoisyDense
from keras_ext.layers.peephole_lstm_cell import PeepholeLSTMCell
from keras_ext.layers.rotation2d import Rotation2D
from keras_ext.layers.snake import Snake, snake
from keras_ext.layers.sparse_image_warp import SparseImageWarp
from keras_ext.layers.sparsemax import Sparsemax, sparsemax
from keras_ext.layers.spatial_pyramid_pooling import SpatialPyramidPooling
from keras_ext.layers.squeeze_excite import SqueezeExcite
from keras_ext.layers.stochastic_depth import StochasticDepth
from keras_ext.layers.tlu import TLU
from keras_ext.layers.viterbi_decode import viterbi_decode
from keras_ext.layers.viterbi_decoder import ViterbiDecoder
from keras_ext.layers.weight_normalization import WeightNormalization
from keras_ext.layers.weight_standardized_conv2d import WeightStandardizedConv2D

__all__ = [
    "CBAM",
    "CRF",
    "ECA",
    "TLU",
    "AtrousSpatialPyramidPooling",
    "BlurPool2D",
    "ConvNormAct",
    "CorrelationCost",
    "DropBlock2D",
    "FactorizedInception",
    "FeaturePyramid",
    "FilterResponseNormalization",
    "FusedInvertedResidual",
    "GlobalResponseNormalization",
    "InceptionModule",
    "InvertedResidual",
    "LayerNormLSTMCell",
    "LayerScale",
    "MaxPoolingWithArgmax2D",
    "MaxUnpooling2D",
    "Maxout",
    "MedianFilter2D",
    "NASCell",
    "NoisyDense",
    "PeepholeLSTMCell",
    "Rotation2D",
    "Snake",
    "SparseImageWarp",
    "Sparsemax",
    "SpatialPyramidPooling",
    "SqueezeExcite",
    "StochasticDepth",
    "ViterbiDecoder",
    "WeightNormalization",
    "WeightStandardizedConv2D",
    "interpolate_spline",
    "snake",
    "sparsemax",
    "viterbi_decode",
]
