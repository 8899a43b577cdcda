"""Detect discs and squares: a small detector, its loss and its metric.

Each cell of a 6 x 6 grid says how likely the center of an object of each class lies in
it, and gives the object's box. The boxes learn from `keras_ext.losses.IoU`, in its form
GIoU, and only where there is an object; `MeanAveragePrecision` rates the detections as
the COCO benchmark does. The pictures are made here, with one to three objects in noise.
"""

import argparse
import pathlib
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from matplotlib.figure import Figure

import keras_ext
from keras_ext.layers import ConvNormAct

SIZE, CELLS, STRIDE, CLASSES = 48, 6, 8, 2


def make_pictures(count: int, seed: int) -> list[np.ndarray]:
    """Return pictures, and of each cell the box and the class of its object, or -1."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    images = rng.normal(0, 0.2, (count, SIZE, SIZE, 1)).astype("float32")
    boxes = np.zeros((count, CELLS**2, 4), "float32")
    kinds = np.full((count, CELLS**2), -1)
    for index, image in enumerate(images):
        # Objects in different quarters do not cover each other.
        for quarter in rng.permutation(4)[: rng.integers(1, 4)]:
            radius, kind = rng.uniform(4, 10), rng.integers(CLASSES)
            x, y = rng.uniform(radius, SIZE / 2 - radius, size=2)
            x, y = x + quarter % 2 * SIZE / 2, y + quarter // 2 * SIZE / 2
            right, down = abs(columns - x), abs(rows - y)
            distance = np.hypot(right, down) if kind == 0 else np.maximum(right, down)
            image[distance < radius] += rng.uniform(0.5, 1)
            cell = int(y // STRIDE * CELLS + x // STRIDE)
            boxes[index, cell] = x - radius, y - radius, x + radius, y + radius
            kinds[index, cell] = kind
    return [images, boxes, kinds]


def build_model() -> keras.Model:
    """Return the detector: of each cell, a box in pixels and a score for each class."""
    inputs = keras.Input((SIZE, SIZE, 1))
    x = inputs
    # A momentum of 0.9 follows the weights fast enough for the few steps made here.
    norm = layers.BatchNormalization(momentum=0.9)
    for filters, strides in [(16, 2), (32, 2), (64, 2), (64, 1), (64, 1)]:
        x = ConvNormAct(filters, 3, strides=strides, normalization=norm)(x)
    x = layers.Reshape((CELLS**2, 64))(x)
    rare = keras.initializers.Constant(-3.0)
    scores = layers.Dense(CLASSES, "sigmoid", bias_initializer=rare, name="scores")(x)
    cells = np.stack(np.meshgrid(np.arange(CELLS), np.arange(CELLS)), -1).reshape(-1, 2)
    center = (layers.Dense(2, "sigmoid")(x) + cells.astype("float32")) * STRIDE
    half = layers.Dense(2, "sigmoid")(x) * SIZE / 2
    boxes = layers.Concatenate(name="boxes")([center - half, center + half])
    return keras.Model(inputs, {"boxes": boxes, "scores": scores})


def detect(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return the detections, as rows of a box, its class and its confidence."""
    predicted = model(images, training=False)
    boxes, scores, kinds, counts = tf.image.combined_non_max_suppression(
        predicted["boxes"][:, :, None], predicted["scores"], 10, 10, clip_boxes=False
    )
    kinds = tf.where(tf.range(10) < counts[:, None], kinds, -1)
    return tf.concat([boxes, tf.stack([kinds, scores], axis=-1)], axis=-1).numpy()


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Train, detect, measure, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default="runs/detection")
    parser.add_argument("--epochs", type=int, default=12, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    options = parser.parse_args(arguments)
    if options.epochs < 1 or options.seed < 0 or options.out.is_file():
        parser.error(f"expected epochs > 0, seed >= 0 and a folder as out: {options}")
    options.out.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(options.seed)
    x, boxes, kinds = make_pictures(768, options.seed)
    scores, found = keras.utils.to_categorical(kinds + 1)[..., 1:], kinds >= 0
    x_test, boxes_test, kinds_test = make_pictures(128, options.seed + 1)
    true = np.concatenate([boxes_test, kinds_test[..., None]], axis=-1)
    metric = keras_ext.metrics.MeanAveragePrecision(CLASSES)
    trainer = keras_ext.Trainer(build_model())
    before = float(metric(true, detect(trainer, x_test)))
    iou = keras_ext.losses.IoU("giou", reduction="mean_with_sample_weight")
    loss = {"boxes": iou, "scores": keras.losses.BinaryFocalCrossentropy()}
    adam = keras.optimizers.Adam(0.003)
    trainer.compile(adam, loss, loss_weights={"boxes": 1, "scores": 50})
    targets = {"boxes": boxes, "scores": scores}
    weights = {"boxes": found, "scores": np.ones_like(found)}
    trainer.fit(x, targets, 16, options.epochs, sample_weight=weights)
    detections = detect(trainer, x_test)
    metric.reset_state()
    result = float(metric(true, detections))
    print(f"Mean average precision: {result:.3f}, before training {before:.3f}")
    figure = Figure(figsize=(12, 5), layout="constrained")
    for index, axis in enumerate(figure.subplots(2, 5).flat):
        axis.imshow(x_test[index, ..., 0], cmap="gray", extent=(0, SIZE, SIZE, 0))
        axis.set(xticks=[], yticks=[], xlim=(0, SIZE), ylim=(SIZE, 0))
        for x1, y1, x2, y2, kind, score in detections[index]:
            if kind >= 0 and score > 0.3:
                axis.plot(
                    [x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], f"C{kind + 1:.0f}"
                )
                axis.text(x1 + 1, y1 - 1, f"{score:.2f}", color="w", clip_on=True)
    figure.savefig(options.out / "detection.png", dpi=120)
    return {"map": result, "before": before}


if __name__ == "__main__":
    main()
