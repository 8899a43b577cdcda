"""Classify the pictures of a folder, with augmentation in the model.

`keras.utils.image_dataset_from_directory` reads a folder that has one folder of
pictures for each class. The layers that shift, turn and zoom them are part of the
model: they act in training only, and are saved with it. Without `--data`, a folder of
scikit-learn's digits is made first.
"""

import argparse
import pathlib
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

import keras_ext

SIDE = 16


def make_folder(folder: pathlib.Path) -> pathlib.Path:
    """Write the digits as PNG files, one folder per class, and return the folder."""
    digits = load_digits()
    for index, label in enumerate(digits.target):
        pixels = (digits.images[index] * 255 / 16).astype("uint8")[..., np.newaxis]
        file = folder / str(label) / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(tf.io.encode_png(pixels).numpy())
    return folder


def build_model(classes: int) -> keras.Model:
    """Return a network that augments, rescales and classifies."""
    augmentation = keras.Sequential(
        [
            layers.RandomTranslation(0.1, 0.1, fill_mode="constant"),
            layers.RandomRotation(0.05, fill_mode="constant"),
            layers.RandomZoom(0.1, fill_mode="constant"),
        ],
        name="augmentation",
    )
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 1)),
            augmentation,
            layers.Rescaling(1 / 255),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(classes, activation="softmax"),
        ]
    )


def draw(
    model: keras.Model, images: tf.Tensor, names: list[str], file: pathlib.Path
) -> None:
    """Draw pictures, four augmented versions of each, and what they are taken for."""
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    augment = model.get_layer("augmentation")
    found = np.argmax(model(images), axis=1)
    versions = [images, *(augment(images, training=True) for _ in range(4))]
    for row, pictures in zip(figure.subplots(5, 8), versions, strict=True):
        for axis, picture, label in zip(row, pictures, found, strict=False):
            axis.imshow(picture[..., 0], cmap="gray", vmin=0, vmax=255)
            axis.set(xticks=[], yticks=[])
            if pictures is images:
                axis.set_title(f"-> {names[label]}")
    figure.suptitle("Test pictures with their predictions, and augmented versions")
    figure.savefig(file, dpi=120)


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Read the pictures, train, evaluate, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default="runs/image_folder")
    parser.add_argument("--epochs", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--data", type=pathlib.Path, help="a folder of pictures")
    options = parser.parse_args(arguments)
    if options.epochs < 1 or options.seed < 0 or options.out.is_file():
        parser.error(f"expected epochs > 0, seed >= 0 and a folder as out: {options}")
    if options.data and not options.data.is_dir():
        parser.error(f"--data must name a folder. Received: {options.data}")
    keras.utils.set_random_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    train, test = keras.utils.image_dataset_from_directory(
        options.data or make_folder(options.out / "pictures"),
        color_mode="grayscale",
        image_size=(SIDE, SIDE),
        validation_split=0.2,
        subset="both",
        seed=options.seed,
    )
    trainer = keras_ext.Trainer(build_model(len(train.class_names)))
    trainer.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    before = trainer.evaluate(test, return_dict=True)["accuracy"]
    trainer.fit(train.cache(), epochs=options.epochs)
    accuracy = trainer.evaluate(test, return_dict=True)["accuracy"]
    print(f"Test accuracy: {accuracy:.3f}, before training {before:.3f}")
    images = next(iter(test))[0]
    draw(trainer.model, images, train.class_names, options.out / "image_folder.png")
    return {"accuracy": accuracy, "before": before}


if __name__ == "__main__":
    main()
