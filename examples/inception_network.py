"""Classify digits with a small Inception network, and look at its branches.

The network is composed of `InceptionModule`, naive and with reductions, and trained by
`Trainer` with a one-cycle learning rate. The data are scikit-learn's digits, or an .npz
file of x_train, y_train, x_test and y_test with gray images, such as MNIST's.
"""

import argparse
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_ext

ARRAYS = "x_train", "x_test", "y_train", "y_test"
BRANCHES = {"1x1": 8, "3x3": 12, "5x5": 4, "pool": 4}


def load_data(filename: pathlib.Path | None, seed: int) -> list[np.ndarray]:
    """Return images for training and test, then labels for training and test."""
    if filename:
        file = np.load(filename)
        x, x_test, y, y_test = (file[name] for name in ARRAYS)
    else:
        images, labels = load_digits(return_X_y=True)
        x, x_test, y, y_test = train_test_split(
            images.reshape(-1, 8, 8), labels, test_size=357, random_state=seed
        )
    scale = np.float32(x.max())
    return [x[..., np.newaxis] / scale, x_test[..., np.newaxis] / scale, y, y_test]


def build_model(shape: tuple[int, ...], classes: int) -> keras.Model:
    """Return the network: a stem, three modules, and a pooling between them."""
    inception = keras_ext.layers.InceptionModule
    inputs = keras.Input(shape)
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(inputs)
    x = inception(*BRANCHES.values(), name="naive")(x)
    # Pairs are (reduced, filters): a 1x1 convolution first makes the channels fewer.
    x = inception(8, (12, 16), (4, 8), 8)(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    x = inception(16, (16, 32), (8, 16), 16)(x)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(x))


def draw(model: keras.Model, image: Any, matrix: Any, file: pathlib.Path) -> None:
    """Draw channels of the first module, and the confusion matrix."""
    features = keras.Model(model.input, model.get_layer("naive").output)(image[None])
    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.4, 1))
    axes = left.subplots(4, 5, squeeze=True)
    parts = np.split(features, np.cumsum([*BRANCHES.values()])[:-1], axis=-1)
    for row, name, part in zip(axes, BRANCHES, parts, strict=True):
        row[0].imshow(image[..., 0], cmap="gray")
        row[0].set_ylabel(name)
        for channel, axis in enumerate(row[1:]):
            axis.imshow(part[0, ..., channel], cmap="magma")
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    left.suptitle("A digit, and four channels of each branch of the first module")
    axis = right.subplots()
    axis.imshow(np.sqrt(matrix), cmap="Blues", alpha=0.6)
    for (true, found), count in np.ndenumerate(matrix):
        axis.text(
            found, true, f"{count:.0f}" if count else "", ha="center", va="center"
        )
    ticks = range(len(matrix))
    axis.set(xlabel="predicted", ylabel="true", xticks=ticks, yticks=ticks)
    right.suptitle("Confusions on the test images")
    figure.savefig(file, dpi=120)


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Train, evaluate, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default="runs/inception_network")
    parser.add_argument("--epochs", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--data", type=pathlib.Path, help="an .npz file")
    options = parser.parse_args(arguments)
    if options.epochs < 1 or options.seed < 0 or options.out.is_file():
        parser.error(f"expected epochs > 0, seed >= 0 and a folder as out: {options}")
    if options.data and not options.data.is_file():
        parser.error(f"--data must name an .npz file. Received: {options.data}")
    options.out.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(options.seed)
    x, x_test, y, y_test = load_data(options.data, options.seed)
    classes = int(y.max()) + 1
    trainer = keras_ext.Trainer(build_model(x.shape[1:], classes))
    trainer.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])

    def confusions() -> np.ndarray:
        """Return how often each class of the test images is taken for each other."""
        predictions = trainer.predict(x_test, batch_size=500, verbose=0)
        return np.array(keras_ext.metrics.ConfusionMatrix(classes)(y_test, predictions))

    before = float(confusions().trace() / len(x_test))
    schedule = keras_ext.schedules.OneCycle(0.01, options.epochs * -(-len(x) // 32))
    rate = keras_ext.callbacks.LearningRateScheduler(schedule, update_freq="batch")
    trainer.fit(x, y, epochs=options.epochs, callbacks=[rate])
    matrix = confusions()
    accuracy = float(matrix.trace() / len(x_test))
    print(f"Test accuracy: {accuracy:.3f}, before training {before:.3f}")
    draw(trainer.model, x_test[0], matrix, options.out / "inception_network.png")
    return {"accuracy": accuracy, "before": before}


if __name__ == "__main__":
    main()
