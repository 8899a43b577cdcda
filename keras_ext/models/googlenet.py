"""GoogLeNet: the first Inception network."""

from typing import Any

import keras

from keras_ext._types import Activation, Normalization, Shape, Tensor
from keras_ext.layers import ConvNormAct, InceptionModule
from keras_ext.models._parts import (
    Pooling,
    check_ending,
    check_weights,
    classified,
    image_input,
    pooled,
)

# 1x1, 3x3 with reduction, 5x5 with reduction, pool projection; `None` is a pooling.
_TABLE_1: list[tuple[str, Any]] = [
    ("3a", (64, (96, 128), (16, 32), 32)),
    ("3b", (128, (128, 192), (32, 96), 64)),
    ("pool_3", None),
    ("4a", (192, (96, 208), (16, 48), 64)),
    ("4b", (160, (112, 224), (24, 64), 64)),
    ("4c", (128, (128, 256), (24, 64), 64)),
    ("4d", (112, (144, 288), (32, 64), 64)),
    ("4e", (256, (160, 320), (32, 128), 128)),
    ("pool_4", None),
    ("5a", (256, (160, 320), (32, 128), 128)),
    ("5b", (384, (192, 384), (48, 128), 128)),
]


def GoogLeNet(
    input_shape: Shape | None = None,
    *,
    include_top: bool = True,
    auxiliary: bool = False,
    normalization: Normalization = None,
    pooling: Pooling = None,
    classes: int = 1000,
    dropout_rate: float = 0.4,
    classifier_activation: Activation = "softmax",
    weights: None = None,
    name: str = "googlenet",
) -> keras.Model:
    """Return a GoogLeNet: three convolutions and nine Inception modules.

    Table 1 of the paper, layer by layer. The local response normalization of its figure
    3 is left out, as in most implementations: `normalization="batch"` does more.

    Reference: C. Szegedy, W. Liu, Y. Jia, P. Sermanet, S. Reed, D. Anguelov, D.
    Erhan, V. Vanhoucke, A. Rabinovich, "Going Deeper with Convolutions", 2015, table
    1, https://arxiv.org/abs/1409.4842.

    Args:
        input_shape: `(height, width, channels)` of one image, or `(channels, height,
            width)` if Keras's image data format is `"channels_first"`. Sides of at
            least 32 pixels, `None` for any. Default: `None`, which means `(224, 224,
            3)`, or `(None, None, 3)` without a classifier.
        include_top: Whether the model has a classifier. Default: `True`.
        auxiliary: Whether the model has the two auxiliary classifiers after modules 4a
            and 4d, which help its early layers to learn; requires `include_top` and an
            `input_shape` without `None`, of at least 65 pixels. The paper adds 0.3 of
            their losses to the main one. Default: `False`.
        normalization: `"batch"`, a Keras layer of which every convolution gets a
            copy, or `None`. Default: `None`, as in the paper.
        pooling: Without a classifier: `"avg"` or `"max"` over all pixels, or `None`
            for the feature maps. Default: `None`.
        classes: Positive integer. Number of classes. Default: 1000.
        dropout_rate: Float in [0, 1). Dropout before the classifier. Default: 0.4.
        classifier_activation: Activation of the classifiers, `None` for logits.
            Default: `"softmax"`.
        weights: `None`, the only option: random initialization. Default: `None`.
        name: Name of the model. Default: `"googlenet"`.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        `(batch, classes)`, or with `auxiliary` a dictionary of three such outputs:
        `"predictions"`, `"auxiliary_4a"` and `"auxiliary_4d"`; without a classifier
        `(batch, ceil(height / 32), ceil(width / 32), 1024)`, or `(batch, 1024)` with
        `pooling`.

    Raises:
        ValueError: If an argument is out of range, `pooling` is given for a model with
            a classifier, or `auxiliary` for one without.

    Example:

    >>> from keras_ext.models import GoogLeNet
    >>> GoogLeNet((64, 64, 3), classes=10).output_shape
    (None, 10)
    >>> model = GoogLeNet((96, 96, 3), classes=10, auxiliary=True)
    >>> sorted(model.output)
    ['auxiliary_4a', 'auxiliary_4d', 'predictions']
    """
    check_weights(weights)
    check_ending(
        include_top=include_top,
        pooling=pooling,
        classes=classes,
        dropout_rate=dropout_rate,
    )
    inputs = image_input(
        input_shape,
        size=224,
        include_top=include_top,
        smallest=65 if auxiliary else 32,
    )
    if auxiliary and (not include_top or None in inputs.shape[1:]):
        raise ValueError(
            "`auxiliary` classifiers need include_top=True and an `input_shape` of "
            f"known sides. Received: include_top={include_top}, "
            f"input_shape={input_shape!r}"
        )
    shared = {"normalization": normalization}
    x = ConvNormAct(64, 7, strides=2, name="conv_1", **shared)(inputs)
    x = _halved(x, "pool_1")
    x = ConvNormAct(64, name="reduce_2", **shared)(x)
    x = ConvNormAct(192, 3, name="conv_2", **shared)(x)
    x = _halved(x, "pool_2")
    outputs = {}
    for row, filters in _TABLE_1:
        if filters is None:
            x = _halved(x, row)
            continue
        x = InceptionModule(*filters, name=f"inception_{row}", **shared)(x)
        if auxiliary and row in ("4a", "4d"):
            scores = _auxiliary(x, row, classes, classifier_activation, shared)
            outputs[f"auxiliary_{row}"] = scores
    if not include_top:
        return keras.Model(inputs, pooled(x, pooling), name=name)
    scores = classified(x, classes, classifier_activation, dropout_rate=dropout_rate)
    if auxiliary:
        scores = {"predictions": scores, **outputs}
    return keras.Model(inputs, scores, name=name)


def _halved(x: Tensor, name: str) -> Tensor:
    return keras.layers.MaxPooling2D(3, strides=2, padding="same", name=name)(x)


def _auxiliary(
    x: Tensor, row: str, classes: int, activation: Activation, shared: dict[str, Any]
) -> Tensor:
    """Return the scores of an auxiliary classifier, section 5 of the paper."""
    prefix = f"auxiliary_{row}"
    x = keras.layers.AveragePooling2D(5, strides=3, name=f"{prefix}_pool")(x)
    x = ConvNormAct(128, name=f"{prefix}_conv", **shared)(x)
    x = keras.layers.Flatten(name=f"{prefix}_flatten")(x)
    x = keras.layers.Dense(1024, activation="relu", name=f"{prefix}_dense")(x)
    x = keras.layers.Dropout(0.7, name=f"{prefix}_dropout")(x)
    return keras.layers.Dense(classes, activation=activation, name=prefix)(x)
