"""MobileNetV3: inverted residuals with squeeze-and-excitation, found by search."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_ext import _checks
from keras_ext._images import channel_axis
from keras_ext._types import Activation, Shape
from keras_ext.layers import ConvNormAct, InvertedResidual, SqueezeExcite
from keras_ext.models._parts import (
    Pooling,
    check_ending,
    check_weights,
    image_input,
    pooled,
    rounded,
)

_Table = Sequence[tuple[int, int, int, bool, str, int]]

# Kernel, expanded channels, channels, squeeze-and-excitation, activation and stride
# of the bottlenecks, for a width of 1. Where the paper's table and the authors' code
# (and `keras.applications`) differ, these follow the code.
_TABLE_1: _Table = [
    (3, 16, 16, False, "relu", 1),
    (3, 64, 24, False, "relu", 2),
    (3, 72, 24, False, "relu", 1),
    (5, 72, 40, True, "relu", 2),
    (5, 120, 40, True, "relu", 1),
    (5, 120, 40, True, "relu", 1),
    (3, 240, 80, False, "hard_silu", 2),
    (3, 200, 80, False, "hard_silu", 1),
    (3, 184, 80, False, "hard_silu", 1),
    (3, 184, 80, False, "hard_silu", 1),
    (3, 480, 112, True, "hard_silu", 1),
    (3, 672, 112, True, "hard_silu", 1),
    (5, 672, 160, True, "hard_silu", 2),
    (5, 960, 160, True, "hard_silu", 1),
    (5, 960, 160, True, "hard_silu", 1),
]
_TABLE_2: _Table = [
    (3, 16, 16, True, "relu", 2),
    (3, 72, 24, False, "relu", 2),
    (3, 88, 24, False, "relu", 1),
    (5, 96, 40, True, "hard_silu", 2),
    (5, 240, 40, True, "hard_silu", 1),
    (5, 240, 40, True, "hard_silu", 1),
    (5, 120, 48, True, "hard_silu", 1),
    (5, 144, 48, True, "hard_silu", 1),
    (5, 288, 96, True, "hard_silu", 2),
    (5, 576, 96, True, "hard_silu", 1),
    (5, 576, 96, True, "hard_silu", 1),
]


def MobileNetV3Large(
    input_shape: Shape | None = None,
    *,
    alpha: float = 1.0,
    include_top: bool = True,
    include_preprocessing: bool = True,
    pooling: Pooling = None,
    classes: int = 1000,
    dropout_rate: float = 0.2,
    classifier_activation: Activation = "softmax",
    weights: None = None,
    name: str = "mobilenet_v3_large",
) -> keras.Model:
    """Return a large MobileNetV3: 15 inverted residuals between two convolutions.

    Same network, parameters and numbers as `keras.applications.MobileNetV3Large`,
    whose weights `load_applications_weights` transfers. Without a fixed size, the two
    pad differently if a side is not a multiple of 32.

    Reference: A. Howard, M. Sandler, G. Chu, L. Chen, B. Chen, M. Tan, W. Wang, Y.
    Zhu, R. Pang, V. Vasudevan, Q. Le, H. Adam, "Searching for MobileNetV3", 2019,
    table 1, https://arxiv.org/abs/1905.02244.

    Args:
        input_shape: `(height, width, channels)` of one image, or `(channels, height,
            width)` if Keras's image data format is `"channels_first"`. Sides of at
            least 32 pixels, `None` for any. Default: `None`, which means `(224, 224,
            3)`, or `(None, None, 3)` without a classifier.
        alpha: Positive float. Width multiplier: the channels of the blocks are
            multiplied by it and rounded to multiples of 8, the last convolution has six
            times those of the last block, and the layer before the classifier grows
            only above 1. Default: 1.
        include_top: Whether the model has a classifier. Default: `True`.
        include_preprocessing: Whether the model itself rescales pixels from [0, 255] to
            [-1, 1]. Default: `True`.
        pooling: Without a classifier: `"avg"` or `"max"` over all pixels, or `None`
            for the feature maps. Default: `None`.
        classes: Positive integer. Number of classes. Default: 1000.
        dropout_rate: Float in [0, 1). Dropout before the classifier. Default: 0.2.
        classifier_activation: Activation of the classifier, `None` for logits.
            Default: `"softmax"`.
        weights: `None`, the only option: random initialization. To use weights trained
            by `keras.applications`, call `load_applications_weights`. Default: `None`.
        name: Name of the model. Default: `"mobilenet_v3_large"`.

    Input shape:
        `(batch, height, width, channels)`, with values in [0, 255]; in [-1, 1] without
        `include_preprocessing`.

    Output shape:
        `(batch, classes)`; without a classifier `(batch, ceil(height / 32),
        ceil(width / 32), 960)`, or `(batch, 960)` with `pooling`; about 960 times
        `alpha`.

    Raises:
        ValueError: If an argument is out of range, or `pooling` is given for a model
            with a classifier.

    Example:

    >>> from keras_ext.models import MobileNetV3Large
    >>> MobileNetV3Large((64, 64, 3), alpha=0.25, classes=10).output_shape
    (None, 10)
    """
    check_weights(weights)
    return _mobilenet_v3(
        _TABLE_1,
        1280,
        input_shape,
        alpha=alpha,
        include_top=include_top,
        include_preprocessing=include_preprocessing,
        pooling=pooling,
        classes=classes,
        dropout_rate=dropout_rate,
        classifier_activation=classifier_activation,
        name=name,
    )


def MobileNetV3Small(
    input_shape: Shape | None = None,
    *,
    alpha: float = 1.0,
    include_top: bool = True,
    include_preprocessing: bool = True,
    pooling: Pooling = None,
    classes: int = 1000,
    dropout_rate: float = 0.2,
    classifier_activation: Activation = "softmax",
    weights: None = None,
    name: str = "mobilenet_v3_small",
) -> keras.Model:
    """Return a small MobileNetV3: 11 inverted residuals between two convolutions.

    Same network, parameters and numbers as `keras.applications.MobileNetV3Small`,
    whose weights `load_applications_weights` transfers. Without a fixed size, the two
    pad differently if a side is not a multiple of 32.

    Reference: A. Howard et al., "Searching for MobileNetV3", 2019, table 2,
    https://arxiv.org/abs/1905.02244.

    Args:
        input_shape: As for `MobileNetV3Large`, like the other arguments.
        alpha: Positive float. Width multiplier. Default: 1.
        include_top: Whether the model has a classifier. Default: `True`.
        include_preprocessing: Whether the model itself rescales pixels from [0, 255] to
            [-1, 1]. Default: `True`.
        pooling: Without a classifier: `"avg"`, `"max"` or `None`. Default: `None`.
        classes: Positive integer. Number of classes. Default: 1000.
        dropout_rate: Float in [0, 1). Dropout before the classifier. Default: 0.2.
        classifier_activation: Activation of the classifier, `None` for logits.
            Default: `"softmax"`.
        weights: `None`, the only option: random initialization. To use weights trained
            by `keras.applications`, call `load_applications_weights`. Default: `None`.
        name: Name of the model. Default: `"mobilenet_v3_small"`.

    Input shape:
        `(batch, height, width, channels)`, with values in [0, 255]; in [-1, 1] without
        `include_preprocessing`.

    Output shape:
        `(batch, classes)`; without a classifier `(batch, ceil(height / 32),
        ceil(width / 32), 576)`, or `(batch, 576)` with `pooling`; about 576 times
        `alpha`.

    Raises:
        ValueError: If an argument is out of range, or `pooling` is given for a model
            with a classifier.

    Example:

    >>> from keras_ext.models import MobileNetV3Small
    >>> MobileNetV3Small((64, 64, 3), alpha=0.25, classes=10).output_shape
    (None, 10)
    """
    check_weights(weights)
    return _mobilenet_v3(
        _TABLE_2,
        1024,
        input_shape,
        alpha=alpha,
        include_top=include_top,
        include_preprocessing=include_preprocessing,
        pooling=pooling,
        classes=classes,
        dropout_rate=dropout_rate,
        classifier_activation=classifier_activation,
        name=name,
    )


def _mobilenet_v3(
    table: _Table,
    features: int,
    input_shape: Shape | None,
    *,
    alpha: float,
    include_top: bool,
    include_preprocessing: bool,
    pooling: Pooling,
    classes: int,
    dropout_rate: float,
    classifier_activation: Activation,
    name: str,
) -> keras.Model:
    _checks.number("alpha", alpha, low=0, open_low=True)
    check_ending(
        include_top=include_top,
        pooling=pooling,
        classes=classes,
        dropout_rate=dropout_rate,
    )
    inputs = image_input(input_shape, size=224, include_top=include_top, smallest=32)
    normalization = keras.layers.BatchNormalization(
        axis=channel_axis(), momentum=0.999, name="pattern"
    )
    hard: dict[str, Any] = {"activation": "hard_silu", "normalization": normalization}
    x = inputs
    if include_preprocessing:
        x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling")(x)
    x = ConvNormAct(16, 3, strides=2, name="stem", **hard)(x)
    width = 16
    for index, row in enumerate(table):
        kernel_size, expanded, filters, squeezes, activation, strides = row
        # The table's channels are those for width 1: their expansion factor is fixed.
        before = table[index - 1][2] if index else 16
        expanded = rounded(expanded / before * width) if index else width
        squeeze = SqueezeExcite(
            filters=rounded(expanded / 4),
            gate_activation="hard_sigmoid",
            name="squeeze_excite",
        )
        x = InvertedResidual(
            rounded(filters * alpha),
            expansion=expanded / width,
            kernel_size=kernel_size,
            strides=strides,
            activation=activation,
            normalization=normalization,
            squeeze_excite=squeeze if squeezes else None,
            name=f"block_{index}",
        )(x)
        width = rounded(filters * alpha)
    x = ConvNormAct(rounded(6 * width), name="head", **hard)(x)
    if include_top:
        x = keras.layers.GlobalAveragePooling2D(keepdims=True, name="avg_pool")(x)
        hard["normalization"] = None
        x = ConvNormAct(rounded(features * max(alpha, 1.0)), name="features", **hard)(x)
        if dropout_rate > 0:
            x = keras.layers.Dropout(dropout_rate, name="dropout")(x)
        x = ConvNormAct(classes, activation=None, normalization=None, name="logits")(x)
        x = keras.layers.Flatten(name="flatten")(x)
        x = keras.layers.Activation(classifier_activation, name="predictions")(x)
    else:
        x = pooled(x, pooling)
    return keras.Model(inputs, x, name=name)
