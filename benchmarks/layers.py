"""The cost of a block, compared with the same network of plain Keras layers.

    python benchmarks/layers.py
    python benchmarks/layers.py --only Inception --rounds 31

Forward and backward pass in training mode, compiled by `tf.function`, of one block on a
batch of images; block and plain network take turns in this one process. The gradients
are those of the weights and of the images.
"""

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import report
import tensorflow as tf
from keras import layers as plain
from keras import ops
from race import Contestant, Goal, Row, Score, race

from keras_ext import layers

LIMIT = Goal(at_most=1.05)
HEADER = ("block", "ms/step", "plain Keras", "ratio", "min", "max", "at most", "met")
SECONDS = 0.25  # of a round


def conv(x: Any, filters: int, size: Any = 1, **options: Any) -> Any:
    """Convolution, batch normalization and activation, as usually written."""
    activation = options.pop("activation", "relu")
    options.setdefault("padding", "same")
    x = plain.Conv2D(filters, size, use_bias=False, **options)(x)
    x = plain.BatchNormalization()(x)
    return plain.Activation(activation)(x) if activation else x


def squeeze_excite(x: Any, filters: int) -> Any:
    """Global average, two dense layers, product."""
    gates = plain.GlobalAveragePooling2D(keepdims=True)(x)
    gates = plain.Dense(filters, activation="relu")(gates)
    gates = plain.Dense(x.shape[-1], activation="sigmoid")(gates)
    return plain.Multiply()([x, gates])


def eca(x: Any) -> Any:
    """Global average, a convolution over the channels, product."""
    gates = plain.GlobalAveragePooling2D()(x)
    gates = plain.Reshape((x.shape[-1], 1))(gates)
    gates = plain.Conv1D(1, 3, padding="same", use_bias=False)(gates)
    gates = plain.Activation("sigmoid")(gates)
    return plain.Multiply()([x, plain.Reshape((1, 1, x.shape[-1]))(gates)])


def cbam(x: Any) -> Any:
    """Gates for the channels, from average and maximum; then for the pixels."""
    reduce = plain.Dense(x.shape[-1] // 16, activation="relu")
    expand = plain.Dense(x.shape[-1])
    average = expand(reduce(plain.GlobalAveragePooling2D(keepdims=True)(x)))
    highest = expand(reduce(plain.GlobalMaxPooling2D(keepdims=True)(x)))
    x = plain.Multiply()([x, plain.Activation("sigmoid")(average + highest)])
    both = [ops.mean(x, axis=-1, keepdims=True), ops.max(x, axis=-1, keepdims=True)]
    gates = plain.Conv2D(1, 7, padding="same", use_bias=False, activation="sigmoid")
    return plain.Multiply()([x, gates(plain.Concatenate()(both))])


def inception(x: Any) -> Any:
    """GoogLeNet's module 3a."""

    def relu(x: Any, filters: int, size: int) -> Any:
        return plain.Conv2D(filters, size, padding="same", activation="relu")(x)

    pooled = plain.MaxPooling2D(3, strides=1, padding="same")(x)
    return plain.Concatenate()(
        [
            relu(x, 64, 1),
            relu(relu(x, 96, 1), 128, 3),
            relu(relu(x, 16, 1), 32, 5),
            relu(pooled, 32, 1),
        ]
    )


def factorized_inception(x: Any) -> Any:
    """InceptionV3's module of figure 6."""
    wide, tall = (1, 7), (7, 1)
    pooled = plain.AveragePooling2D(3, strides=1, padding="same")(x)
    double = conv(conv(conv(x, 32), 32, tall), 32, wide)
    return plain.Concatenate()(
        [
            conv(x, 48),
            conv(conv(conv(x, 32), 32, wide), 48, tall),
            conv(conv(double, 32, tall), 48, wide),
            conv(pooled, 48),
        ]
    )


def inverted_residual(x: Any) -> Any:
    """A block of MobileNetV3."""
    y = conv(x, 240, activation="hard_silu")
    y = plain.DepthwiseConv2D(5, padding="same", use_bias=False)(y)
    y = plain.BatchNormalization()(y)
    y = squeeze_excite(plain.Activation("hard_silu")(y), 64)
    return plain.Add()([x, conv(y, 40, activation=None)])


def fused_inverted_residual(x: Any) -> Any:
    """A block of EfficientNetV2."""
    y = conv(conv(x, 160, 3, activation="silu"), 40, activation=None)
    return plain.Add()([x, y])


def atrous_spatial_pyramid_pooling(x: Any) -> Any:
    """DeepLab's head, narrow."""
    size = x.shape[1:3]
    image = conv(plain.GlobalAveragePooling2D(keepdims=True)(x), 64)
    scales = [conv(x, 64, 3, dilation_rate=rate) for rate in (6, 12, 18)]
    image = plain.UpSampling2D(size)(image)
    return conv(plain.Concatenate()([conv(x, 64), *scales, image]), 64)


def feature_pyramid(*maps: Any) -> list[Any]:
    """Lateral convolutions, upsampling, addition, smoothing."""
    merged = None
    levels = []
    for x in reversed(maps):
        lateral = plain.Conv2D(64, 1)(x)
        if merged is None:
            merged = lateral
        else:
            merged = plain.Add()([lateral, plain.UpSampling2D(2)(merged)])
        levels.append(plain.Conv2D(64, 3, padding="same")(merged))
    return levels[::-1]


def spatial_pyramid_pooling(x: Any) -> Any:
    """Poolings whose windows fit the size of the image."""
    levels = [plain.MaxPooling2D(x.shape[1] // n)(x) for n in (1, 2, 4)]
    return plain.Concatenate()([plain.Flatten()(level) for level in levels])


def blur_pool(x: Any) -> Any:
    """Padding and a fixed depthwise convolution."""
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    blur = plain.DepthwiseConv2D(
        3,
        strides=2,
        use_bias=False,
        depthwise_initializer=lambda shape, dtype: ops.broadcast_to(
            ops.cast(kernel[..., None, None], dtype), shape
        ),
        trainable=False,
    )
    return blur(ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect"))


def image(*shape: int) -> np.ndarray:
    """Return normal random images."""
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def blocks() -> dict[str, tuple[Callable[[], Any], Callable[..., Any], list[Any]]]:
    """Return functions for each block and its plain twin, and their inputs."""
    middle = [image(16, 28, 28, 64)]
    maps = [image(8, n, n, channels) for n, channels in ((32, 64), (16, 96), (8, 128))]
    return {
        "ConvNormAct": (
            lambda: layers.ConvNormAct(64, 3),
            lambda x: conv(x, 64, 3),
            middle,
        ),
        "SqueezeExcite": (
            lambda: layers.SqueezeExcite(0.25),
            lambda x: squeeze_excite(x, 16),
            middle,
        ),
        "ECA": (lambda: layers.ECA(3), eca, middle),
        "CBAM": (layers.CBAM, cbam, middle),
        "InceptionModule": (
            lambda: layers.InceptionModule(64, (96, 128), (16, 32), 32),
            inception,
            [image(8, 28, 28, 96)],
        ),
        "FactorizedInception": (
            lambda: layers.FactorizedInception(
                [
                    [(48, 1)],
                    [(32, 1), (32, (1, 7)), (48, (7, 1))],
                    [(32, 1), (32, (7, 1)), (32, (1, 7)), (32, (7, 1)), (48, (1, 7))],
                ],
                filters_pool=48,
            ),
            factorized_inception,
            [image(8, 17, 17, 96)],
        ),
        "InvertedResidual": (
            lambda: layers.InvertedResidual(
                40,
                kernel_size=5,
                activation="hard_silu",
                squeeze_excite=layers.SqueezeExcite(filters=64),
            ),
            inverted_residual,
            [image(16, 28, 28, 40)],
        ),
        "FusedInvertedResidual": (
            lambda: layers.FusedInvertedResidual(40),
            fused_inverted_residual,
            [image(8, 28, 28, 40)],
        ),
        "StochasticDepth": (
            lambda: layers.StochasticDepth(0.2),
            lambda x: plain.Dropout(0.2, noise_shape=(None, 1, 1, 1))(x),
            middle,
        ),
        "AtrousSpatialPyramidPooling": (
            lambda: layers.AtrousSpatialPyramidPooling(64),
            atrous_spatial_pyramid_pooling,
            [image(4, 32, 32, 64)],
        ),
        "FeaturePyramid": (lambda: layers.FeaturePyramid(64), feature_pyramid, maps),
        "SpatialPyramidPooling": (
            layers.SpatialPyramidPooling,
            spatial_pyramid_pooling,
            middle,
        ),
        "BlurPool2D": (layers.BlurPool2D, blur_pool, middle),
        "Maxout": (
            lambda: layers.Maxout(16),
            lambda x: ops.max(plain.Reshape((28, 28, 16, 4))(x), axis=-1),
            middle,
        ),
    }


def passes(model: keras.Model, arrays: list[Any]) -> Callable[[], Any]:
    """Return a compiled forward and backward pass."""
    tensors = [tf.constant(array) for array in arrays]

    @tf.function(autograph=False)
    def both(*images: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = tf.nest.flatten(model(list(images), training=True))
            loss = tf.add_n([tf.reduce_sum(tf.square(one)) for one in outputs])
        gradients = tape.gradient(loss, [*model.trainable_variables, *images])
        return tf.add_n([tf.reduce_sum(one) for one in gradients])

    return lambda: both(*tensors).numpy()


def contestant(name: str, call: Callable[[], Any]) -> Contestant:
    """Return one that makes as many passes as take about `SECONDS`."""
    call()
    begin = time.perf_counter()
    for _ in range(3):
        call()
    steps = max(3, round(3 * SECONDS / (time.perf_counter() - begin)))

    def run() -> None:
        for _ in range(steps):
            call()

    return Contestant(name, run, steps)


def compare(name: str, make: Any, write: Any, arrays: list[Any], rounds: int) -> Row:
    """Let a block and its plain twin take turns."""
    inputs = [keras.Input(array.shape[1:]) for array in arrays]
    layer = make()
    block = layer(inputs if len(inputs) > 1 else inputs[0])
    models = [keras.Model(inputs, one) for one in (block, write(*inputs))]
    weights = [model.count_params() for model in models]
    if weights[0] != weights[1] and not isinstance(layer, layers.BlurPool2D):
        raise ValueError(f"{name} has {weights[0]} weights, its twin {weights[1]}")
    pair = [
        contestant(kind, passes(model, arrays))
        for kind, model in zip(("keras_ext", "plain"), models, strict=True)
    ]
    scores = race(pair, rounds)
    return Row("layers", name, scores["keras_ext"], scores["plain"], LIMIT)


def cells(row: Row) -> tuple[str, ...]:
    """Return one row of the table, in the order of `HEADER`."""
    ours: Score = row.ours
    return (
        row.workload,
        f"{ours.median:.2f}",
        f"{row.reference.median:.2f}",
        *(f"{one:.3f}" for one in (row.ratio, min(row.ratios), max(row.ratios))),
        f"{row.goal.at_most}",
        {True: "yes", False: "NO", None: ""}[row.is_met],
    )


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="blocks with this in their name")
    parser.add_argument("--rounds", type=int, default=15, help="default: 15")
    return parser.parse_args()


def main() -> None:
    """Run all, and print the table."""
    options = parse()
    print(f"load average {os.getloadavg()[0]:.1f}, Keras {keras.__version__}")
    rows = []
    for name, (make, write, arrays) in blocks().items():
        if options.only.lower() in name.lower():
            rows.append(compare(name, make, write, arrays, options.rounds))
            keras.backend.clear_session()
    print(report.as_table([HEADER, *map(cells, rows)]))


if __name__ == "__main__":
    main()
