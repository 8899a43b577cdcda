"""Segment discs and squares in noise, and measure the overlap with the true masks.

The head of DeepLab, `AtrousSpatialPyramidPooling`, sees the surroundings of a pixel at
several scales; `LovaszSoftmax`, added to the crossentropy, optimizes what is measured,
the intersection over union (IoU). The pictures are made here: shapes that cover each
other, of random sizes, at random places, in strong noise.
"""

import argparse
import pathlib
from collections.abc import Sequence

import keras
import numpy as np
from keras import layers
from matplotlib.figure import Figure

import keras_ext
from keras_ext.layers import AtrousSpatialPyramidPooling, ConvNormAct

SIZE = 32
CLASSES = 3  # ground, disc, square


def make_pictures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures of shape (count, SIZE, SIZE, 1), and the class of each pixel."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    masks = np.zeros((count, SIZE, SIZE), "int32")
    images = np.zeros((count, SIZE, SIZE, 1), "float32")
    for mask, image in zip(masks, images, strict=True):
        for kind in rng.integers(1, CLASSES, size=3):
            row, column = rng.uniform(5, SIZE - 5, size=2)
            radius = rng.uniform(4, 8)
            down, right = abs(rows - row), abs(columns - column)
            distance = np.hypot(down, right) if kind == 1 else np.maximum(down, right)
            mask[distance < radius] = kind
            image[distance < radius] = rng.uniform(0.4, 1)
    return images + rng.normal(0, 0.2, images.shape).astype("float32"), masks


def build_model() -> keras.Model:
    """Return a network whose output is as large as the picture."""
    # A momentum of 0.9 follows the weights fast enough for the few steps made here.
    norm = {"normalization": layers.BatchNormalization(momentum=0.9)}
    inputs = keras.Input((SIZE, SIZE, 1))
    fine = ConvNormAct(16, 3, strides=2, **norm)(inputs)
    x = ConvNormAct(32, 3, strides=2, **norm)(fine)
    x = AtrousSpatialPyramidPooling(32, dilation_rates=(2, 4), **norm)(x)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = ConvNormAct(24, 3, **norm)(layers.Concatenate()([x, fine]))
    x = layers.UpSampling2D(2, interpolation="bilinear")(layers.Dense(CLASSES)(x))
    return keras.Model(inputs, layers.Softmax()(x))


def draw(
    images: np.ndarray, masks: np.ndarray, found: np.ndarray, file: pathlib.Path
) -> None:
    """Draw pictures, their true masks and those found, one below the other."""
    figure = Figure(figsize=(12, 4.8), layout="constrained")
    axes = figure.subplots(3, 8)
    for name, row, pictures in zip(
        ["picture", "true", "found"], axes, [images[..., 0], masks, found], strict=True
    ):
        row[0].set_ylabel(name)
        for axis, picture in zip(row, pictures, strict=False):
            if name == "picture":
                axis.imshow(picture, cmap="gray")
            else:
                axis.imshow(picture, cmap="viridis", vmin=0, vmax=CLASSES - 1)
            axis.set(xticks=[], yticks=[])
    figure.savefig(file, dpi=120)


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Train, measure, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default="runs/segmentation")
    parser.add_argument("--epochs", type=int, default=6, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    options = parser.parse_args(arguments)
    if options.epochs < 1 or options.seed < 0 or options.out.is_file():
        parser.error(f"expected epochs > 0, seed >= 0 and a folder as out: {options}")
    options.out.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(options.seed)
    x, y = make_pictures(1024, options.seed)
    x_test, y_test = make_pictures(64, options.seed + 1)
    model = build_model()

    def segment() -> tuple[np.ndarray, float]:
        """Return the classes found in the test pictures, and their mean IoU."""
        found = np.argmax(model(x_test), axis=-1)
        return found, float(keras.metrics.MeanIoU(CLASSES)(y_test, found))

    before = segment()[1]
    crossentropy = keras.losses.SparseCategoricalCrossentropy()
    lovasz = keras_ext.losses.LovaszSoftmax()
    trainer = keras_ext.Trainer(model)
    trainer.compile("adam", lambda true, p: crossentropy(true, p) + lovasz(true, p))
    schedule = keras_ext.schedules.OneCycle(0.01, options.epochs * len(x) // 16)
    rate = keras_ext.callbacks.LearningRateScheduler(schedule, update_freq="batch")
    trainer.fit(x, y, batch_size=16, epochs=options.epochs, callbacks=[rate])
    found, iou = segment()
    print(f"Mean IoU on test pictures: {iou:.3f}, before training {before:.3f}")
    draw(x_test, y_test, found, options.out / "segmentation.png")
    return {"iou": iou, "before": before}


if __name__ == "__main__":
    main()
