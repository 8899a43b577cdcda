"""EfficientNet-B0: inverted residuals with squeeze-and-excitation, found by search."""

import keras

from keras_ext._images import channel_axis
from keras_ext._types import Activation, Shape
from keras_ext.models._efficientnet import efficientnet
from keras_ext.models._parts import (
    Pooling,
    check_ending,
    check_weights,
    image_input,
)

# Fused or not, expansion, kernel, channels, repetitions, stride of the stages 2 to 8.
_TABLE_1 = [
    (False, 1, 3, 16, 1, 1),
    (False, 6, 3, 24, 2, 2),
    (False, 6, 5, 40, 2, 2),
    (False, 6, 3, 80, 3, 2),
    (False, 6, 5, 112, 3, 1),
    (False, 6, 5, 192, 4, 2),
    (False, 6, 3, 320, 1, 1),
]


def EfficientNetB0(
    input_shape: Shape | None = None,
    *,
    include_top: bool = True,
    include_preprocessing: bool = True,
    pooling: Pooling = None,
    classes: int = 1000,
    dropout_rate: float = 0.2,
    drop_connect_rate: float = 0.2,
    classifier_activation: Activation = "softmax",
    weights: None = None,
    name: str = "efficientnet_b0",
) -> keras.Model:
    """Return an EfficientNet-B0: 16 inverted residuals between two convolutions.

    Same network, parameters and numbers as `keras.applications.EfficientNetB0`, whose
    weights `load_applications_weights` transfers. Without a fixed size, the two pad
    differently if a side is not a multiple of 32.

    Reference: M. Tan, Q. Le, "EfficientNet: Rethinking Model Scaling for Convolutional
    Neural Networks", 2019, table 1, https://arxiv.org/abs/1905.11946.

    Args:
        input_shape: `(height, width, channels)` of one image, or `(channels, height,
            width)` if Keras's image data format is `"channels_first"`. Sides of at
            least 32 pixels, `None` for any. Default: `None`, which means `(224, 224,
            3)`, or `(None, None, 3)` without a classifier.
        include_top: Whether the model has a classifier. Default: `True`.
        include_preprocessing: Whether the model itself divides pixels by 255 and
            normalizes their channels, by moments that are weights: load them, or call
            `model.get_layer("normalization").adapt(images / 255)`. Default: `True`.
        pooling: Without a classifier: `"avg"` or `"max"` over all pixels, or `None`
            for the feature maps. Default: `None`.
        classes: Positive integer. Number of classes. Default: 1000.
        dropout_rate: Float in [0, 1). Dropout before the classifier. Default: 0.2.
        drop_connect_rate: Float in [0, 1). Final rate of the stochastic depth, to which
            the blocks' rates grow from 0. Default: 0.2.
        classifier_activation: Activation of the classifier, `None` for logits.
            Default: `"softmax"`.
        weights: `None`, the only option: random initialization. To use weights trained
            by `keras.applications`, call `load_applications_weights`. Default: `None`.
        name: Name of the model. Default: `"efficientnet_b0"`.

    Input shape:
        `(batch, height, width, channels)`, with values in [0, 255]; of mean 0 and
        variance 1 without `include_preprocessing`.

    Output shape:
        `(batch, classes)`; without a classifier `(batch, ceil(height / 32),
        ceil(width / 32), 1280)`, or `(batch, 1280)` with `pooling`.

    Raises:
        ValueError: If an argument is out of range, or `pooling` is given for a model
            with a classifier.

    Example:

    >>> from keras_ext.models import EfficientNetB0
    >>> EfficientNetB0((64, 64, 3), classes=10).output_shape
    (None, 10)
    """
    check_weights(weights)
    check_ending(
        include_top=include_top,
        pooling=pooling,
        classes=classes,
        dropout_rate=dropout_rate,
        drop_connect_rate=drop_connect_rate,
    )
    inputs = image_input(input_shape, size=224, include_top=include_top, smallest=32)
    x = inputs
    if include_preprocessing:
        x = keras.layers.Rescaling(1 / 255, name="rescaling")(x)
        x = keras.layers.Normalization(axis=channel_axis(), name="normalization")(x)
    x = efficientnet(
        x,
        _TABLE_1,
        normalization="batch",
        include_top=include_top,
        pooling=pooling,
        classes=classes,
        dropout_rate=dropout_rate,
        drop_connect_rate=drop_connect_rate,
        classifier_activation=classifier_activation,
    )
    return keras.Model(inputs, x, name=name)
