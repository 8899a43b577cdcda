"""MobileNetV2: inverted residuals with linear bottlenecks."""

import keras

from keras_ext import _checks
from keras_ext._images import channel_axis
from keras_ext._types import Activation, Shape
from keras_ext.layers import ConvNormAct, InvertedResidual
from keras_ext.models._parts import (
    Pooling,
    check_ending,
    check_weights,
    classified,
    image_input,
    pooled,
    rounded,
)

# Expansion, channels, repetitions and stride of the bottlenecks.
_TABLE_2 = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]


def MobileNetV2(
    input_shape: Shape | None = None,
    *,
    alpha: float = 1.0,
    include_top: bool = True,
    pooling: Pooling = None,
    classes: int = 1000,
    classifier_activation: Activation = "softmax",
    weights: None = None,
    name: str = "mobilenet_v2",
) -> keras.Model:
    """Return a MobileNetV2: a convolution, 17 inverted residuals, a convolution.

    Same network, parameters and numbers as `keras.applications.MobileNetV2`, whose
    weights `load_applications_weights` transfers; it has 22 layers instead of 156.
    Without a fixed size, the two pad differently if a side is not a multiple of 32.

    Reference: M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L. Chen, "MobileNetV2:
    Inverted Residuals and Linear Bottlenecks", 2018, table 2,
    https://arxiv.org/abs/1801.04381.

    Args:
        input_shape: `(height, width, channels)` of one image, or `(channels, height,
            width)` if Keras's image data format is `"channels_first"`. Sides of at
            least 32 pixels, `None` for any. Default: `None`, which means `(224, 224,
            3)`, or `(None, None, 3)` without a classifier.
        alpha: Positive float. Width multiplier: all numbers of channels are multiplied
            by it and rounded to multiples of 8; the last convolution has at least 1280.
            Default: 1.
        include_top: Whether the model has a classifier. Default: `True`.
        pooling: Without a classifier: `"avg"` or `"max"` over all pixels, or `None`
            for the feature maps. Default: `None`.
        classes: Positive integer. Number of classes. Default: 1000.
        classifier_activation: Activation of the classifier, `None` for logits.
            Default: `"softmax"`.
        weights: `None`, the only option: random initialization. To use weights trained
            by `keras.applications`, call `load_applications_weights`. Default: `None`.
        name: Name of the model. Default: `"mobilenet_v2"`.

    Input shape:
        `(batch, height, width, channels)`, with values in [-1, 1] for weights that
        `keras.applications` has trained.

    Output shape:
        `(batch, classes)`; without a classifier `(batch, ceil(height / 32),
        ceil(width / 32), 1280)`, or `(batch, 1280)` with `pooling`; more than 1280 with
        `alpha` above 1.

    Raises:
        ValueError: If an argument is out of range, or `pooling` is given for a model
            with a classifier.

    Example:

    >>> from keras_ext.models import MobileNetV2
    >>> model = MobileNetV2((96, 96, 3), alpha=0.35, classes=10)
    >>> model.output_shape
    (None, 10)
    >>> MobileNetV2(alpha=0.35, include_top=False, pooling="avg").output_shape
    (None, 1280)
    """
    check_weights(weights)
    _checks.number("alpha", alpha, low=0, open_low=True)
    check_ending(include_top=include_top, pooling=pooling, classes=classes)
    inputs = image_input(input_shape, size=224, include_top=include_top, smallest=32)
    normalization = keras.layers.BatchNormalization(
        axis=channel_axis(), momentum=0.999, name="pattern"
    )
    shared = {"activation": "relu6", "normalization": normalization}
    x = ConvNormAct(rounded(32 * alpha), 3, strides=2, name="stem", **shared)(inputs)
    index = 0
    for expansion, filters, repetitions, strides in _TABLE_2:
        for repetition in range(repetitions):
            x = InvertedResidual(
                rounded(int(filters * alpha)),
                expansion=expansion,
                strides=strides if repetition == 0 else 1,
                name=f"block_{index}",
                **shared,
            )(x)
            index += 1
    x = ConvNormAct(rounded(1280 * max(alpha, 1.0)), name="head", **shared)(x)
    if include_top:
        x = classified(x, classes, classifier_activation)
    else:
        x = pooled(x, pooling)
    return keras.Model(inputs, x, name=name)
