"""InceptionV3: the Inception network with factorized filters."""

import keras

from keras_ext._images import channel_axis
from keras_ext._types import Activation, Shape
from keras_ext.layers import ConvNormAct, FactorizedInception
from keras_ext.models._parts import (
    Pooling,
    check_ending,
    check_weights,
    classified,
    image_input,
    pooled,
)


def InceptionV3(
    input_shape: Shape | None = None,
    *,
    include_top: bool = True,
    pooling: Pooling = None,
    classes: int = 1000,
    classifier_activation: Activation = "softmax",
    weights: None = None,
    name: str = "inception_v3",
) -> keras.Model:
    """Return an InceptionV3: five convolutions and eleven modules.

    Same network, parameters and numbers as `keras.applications.InceptionV3`, whose
    weights `load_applications_weights` transfers; it has 21 layers instead of 313.

    Reference: C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna, "Rethinking
    the Inception Architecture for Computer Vision", 2015, table 1,
    https://arxiv.org/abs/1512.00567. Where the table and the published code differ
    (three modules of figure 5, then a reduction), this follows the code.

    Args:
        input_shape: `(height, width, channels)` of one image, or `(channels, height,
            width)` if Keras's image data format is `"channels_first"`. Sides of at
            least 75 pixels, `None` for any. Default: `None`, which means `(299, 299,
            3)`, or `(None, None, 3)` without a classifier.
        include_top: Whether the model has a classifier. Default: `True`.
        pooling: Without a classifier: `"avg"` or `"max"` over all pixels, or `None`
            for the feature maps. Default: `None`.
        classes: Positive integer. Number of classes. Default: 1000.
        classifier_activation: Activation of the classifier, `None` for logits.
            Default: `"softmax"`.
        weights: `None`, the only option: random initialization. To use weights trained
            by `keras.applications`, call `load_applications_weights`. Default: `None`.
        name: Name of the model. Default: `"inception_v3"`.

    Input shape:
        `(batch, height, width, channels)`, with values in [-1, 1] for weights that
        `keras.applications` has trained.

    Output shape:
        `(batch, classes)`; without a classifier `(batch, rows, columns, 2048)`, 8x8
        for images of 299x299 pixels, or `(batch, 2048)` with `pooling`.

    Raises:
        ValueError: If an argument is out of range, or `pooling` is given for a model
            with a classifier.

    Example:

    >>> from keras_ext.models import InceptionV3
    >>> InceptionV3((75, 75, 3), classes=10).output_shape
    (None, 10)
    """
    check_weights(weights)
    check_ending(include_top=include_top, pooling=pooling, classes=classes)
    inputs = image_input(input_shape, size=299, include_top=include_top, smallest=75)
    shared = {
        "normalization": keras.layers.BatchNormalization(
            axis=channel_axis(), scale=False, name="pattern"
        )
    }
    shrink = {"padding": "valid", **shared}
    x = ConvNormAct(32, 3, strides=2, name="conv_1", **shrink)(inputs)
    x = ConvNormAct(32, 3, name="conv_2", **shrink)(x)
    x = ConvNormAct(64, 3, name="conv_3", **shared)(x)
    x = keras.layers.MaxPooling2D(3, strides=2, name="pool_1")(x)
    x = ConvNormAct(80, 1, name="conv_4", **shared)(x)
    x = ConvNormAct(192, 3, name="conv_5", **shrink)(x)
    x = keras.layers.MaxPooling2D(3, strides=2, name="pool_2")(x)
    for index, (branches, filters_pool) in enumerate(_modules()):
        x = FactorizedInception(
            branches,
            strides=1 if filters_pool else 2,
            filters_pool=filters_pool,
            name=f"mixed{index}",
            **shared,
        )(x)
    if include_top:
        x = classified(x, classes, classifier_activation)
    else:
        x = pooled(x, pooling)
    return keras.Model(inputs, x, name=name)


def _modules() -> list[tuple[list[list[object]], int | None]]:
    """Return the branches of every module, and the channels of its pooling.

    `None` where the module halves the image.
    """
    wide, tall = (1, 7), (7, 1)

    def figure_5() -> list[list[object]]:
        return [[(64, 1)], [(48, 1), (64, 5)], [(64, 1), (96, 3), (96, 3)]]

    def figure_6(n: int) -> list[list[object]]:
        return [
            [(192, 1)],
            [(n, 1), (n, wide), (192, tall)],
            [(n, 1), (n, tall), (n, wide), (n, tall), (192, wide)],
        ]

    def figure_7() -> list[list[object]]:
        beside = [(384, (1, 3)), (384, (3, 1))]
        return [[(320, 1)], [(384, 1), beside], [(448, 1), (384, 3), beside]]

    return [
        (figure_5(), 32),
        (figure_5(), 64),
        (figure_5(), 64),
        ([[(384, 3)], [(64, 1), (96, 3), (96, 3)]], None),
        (figure_6(128), 192),
        (figure_6(160), 192),
        (figure_6(160), 192),
        (figure_6(192), 192),
        ([[(192, 1), (320, 3)], [(192, 1), (192, wide), (192, tall), (192, 3)]], None),
        (figure_7(), 192),
        (figure_7(), 192),
    ]
