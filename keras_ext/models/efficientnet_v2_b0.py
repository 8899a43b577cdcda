"""EfficientNetV2-B0: fused inverted residuals, followed by inverted residuals."""

import keras
import numpy as np

from keras_ext._images import channel_axis
from keras_ext._types import Activation, Shape
from keras_ext.models._efficientnet import efficientnet
from keras_ext.models._parts import (
    Pooling,
    check_ending,
    check_weights,
    image_input,
)

# Fused or not, expansion, kernel, channels, repetitions, stride of the stages 1 to 6.
_STAGES = [
    (True, 1, 3, 16, 1, 1),
    (True, 4, 3, 32, 2, 2),
    (True, 4, 3, 48, 2, 2),
    (False, 4, 3, 96, 3, 2),
    (False, 6, 3, 112, 5, 1),
    (False, 6, 3, 192, 8, 2),
]

# For ImageNet's red, green and blue, between 0 and 1.
_MEAN = np.array([0.485, 0.456, 0.406])
_DEVIATION = np.array([0.229, 0.224, 0.225])


def EfficientNetV2B0(
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
    name: str = "efficientnet_v2_b0",
) -> keras.Model:
    """Return an EfficientNetV2-B0: 5 fused and 16 inverted residuals.

    Same network, parameters and numbers as `keras.applications.EfficientNetV2B0`,
    whose weights `load_applications_weights` transfers.

    Reference: M. Tan, Q. Le, "EfficientNetV2: Smaller Models and Faster Training",
    2021, https://arxiv.org/abs/2104.00298. Its table 4 is EfficientNetV2-S; B0 is the
    smallest of the networks that the authors' code scales from one base.

    Args:
        input_shape: `(height, width, channels)` of one image, or `(channels, height,
            width)` if Keras's image data format is `"channels_first"`. Sides of at
            least 32 pixels, `None` for any. Default: `None`, which means `(224, 224,
            3)`, or `(None, None, 3)` without a classifier.
        include_top: Whether the model has a classifier. Default: `True`.
        include_preprocessing: Whether the model itself divides pixels by 255 and
            normalizes their channels by ImageNet's moments; images with other than
            three channels are rescaled from [0, 255] to [-1, 1] instead. Default:
            `True`.
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
        name: Name of the model. Default: `"efficientnet_v2_b0"`.

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

    >>> from keras_ext.models import EfficientNetV2B0
    >>> EfficientNetV2B0((64, 64, 3), classes=10).output_shape
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
    axis = channel_axis()
    if include_preprocessing and inputs.shape[axis] == 3:
        # As one rescaling that names every axis of the image: Keras 3.12 aligns the
        # moments of a Normalization with the last axis, regardless of its `axis`.
        along = (3, 1, 1) if axis == 1 else (1, 1, 3)
        x = keras.layers.Rescaling(
            scale=(1 / (255 * _DEVIATION)).reshape(along).tolist(),
            offset=(-_MEAN / _DEVIATION).reshape(along).tolist(),
            name="rescaling",
        )(x)
    elif include_preprocessing:
        x = keras.layers.Rescaling(1 / 128, offset=-1.0, name="rescaling")(x)
    x = efficientnet(
        x,
        _STAGES,
        normalization=keras.layers.BatchNormalization(
            axis=axis, momentum=0.9, name="pattern"
        ),
        include_top=include_top,
        pooling=pooling,
        classes=classes,
        dropout_rate=dropout_rate,
        drop_connect_rate=drop_connect_rate,
        classifier_activation=classifier_activation,
    )
    return keras.Model(inputs, x, name=name)
