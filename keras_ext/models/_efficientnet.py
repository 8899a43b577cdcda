"""What the EfficientNets share: everything after the image preprocessing."""

from collections.abc import Sequence

import keras

from keras_ext._types import Activation, Normalization, Tensor
from keras_ext.layers import (
    ConvNormAct,
    FusedInvertedResidual,
    InvertedResidual,
    SqueezeExcite,
)
from keras_ext.models._parts import Pooling, classified, pooled

Stage = tuple[bool, int, int, int, int, int]
"""Fused or not, expansion, kernel, channels, repetitions and stride of a stage."""


def efficientnet(
    x: Tensor,
    stages: Sequence[Stage],
    *,
    normalization: Normalization,
    include_top: bool,
    pooling: Pooling,
    classes: int,
    dropout_rate: float,
    drop_connect_rate: float,
    classifier_activation: Activation,
) -> Tensor:
    """Return the outputs of an EfficientNet for preprocessed images."""
    initializer = keras.initializers.VarianceScaling(
        2.0, mode="fan_out", distribution="truncated_normal"
    )
    shared = {
        "activation": "silu",
        "normalization": normalization,
        "kernel_initializer": initializer,
    }
    x = ConvNormAct(32, 3, strides=2, name="stem", **shared)(x)
    blocks = sum(repetitions for *_, repetitions, _ in stages)
    width, index = 32, 0
    for stage, row in enumerate(stages, start=1):
        fused, expansion, kernel_size, filters, repetitions, strides = row
        block = FusedInvertedResidual if fused else InvertedResidual
        for repetition in range(repetitions):
            squeeze = SqueezeExcite(
                filters=width // 4,
                activation="silu",
                kernel_initializer=initializer,
                name="squeeze_excite",
            )
            x = block(
                filters,
                expansion=expansion,
                kernel_size=kernel_size,
                strides=strides if repetition == 0 else 1,
                squeeze_excite=None if fused else squeeze,
                drop_rate=drop_connect_rate * index / blocks,
                name=f"block{stage}{chr(ord('a') + repetition)}",
                **shared,
            )(x)
            width, index = filters, index + 1
    x = ConvNormAct(1280, name="head", **shared)(x)
    if not include_top:
        return pooled(x, pooling)
    dense = keras.initializers.VarianceScaling(
        1 / 3, mode="fan_out", distribution="uniform"
    )
    return classified(
        x,
        classes,
        classifier_activation,
        dropout_rate=dropout_rate,
        kernel_initializer=dense,
    )
