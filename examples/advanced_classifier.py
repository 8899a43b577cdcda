"""Train a classifier with a loop written by hand, as a graph or eagerly.

The network has exactly 430,102 parameters. Step, validation and evaluation are written
out; `keras_ext.Loop` adds the progress bar, callbacks and `History`. The data are
scikit-learn's digits, enlarged and colored to the shape of CIFAR-10's images, or an
.npz file of x_train, y_train, x_test and y_test in these shapes.
"""

import argparse
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_ext


def load_data(filename: pathlib.Path | None, seed: int) -> list[np.ndarray]:
    """Return images for training and test, then labels for training and test."""
    if filename:
        file = np.load(filename)
        x, x_test = file["x_train"] / np.float32(255), file["x_test"] / np.float32(255)
        return [x, x_test, file["y_train"].ravel(), file["y_test"].ravel()]
    images, labels = load_digits(return_X_y=True)
    ink = images.reshape(-1, 8, 8, 1).repeat(4, axis=1).repeat(4, axis=2) / 16
    light, dark = np.random.default_rng(seed).uniform(size=(2, len(ink), 1, 1, 3)) / 2
    x = np.float32(ink * (light + 0.5) + (1 - ink) * dark)
    return train_test_split(x, labels, test_size=357, random_state=seed)


def build_model() -> keras.Model:
    """Return the network."""
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(inputs)
    x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(64, 3, padding="same", activation="relu")(x)
    x = layers.Flatten()(layers.MaxPooling2D()(x))
    x = layers.Dropout(0.2)(layers.Dense(100, activation="relu")(x))
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))


def evaluate(model: keras.Model, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Return loss and accuracy, computed batch by batch."""
    loss = keras.metrics.SparseCategoricalCrossentropy()
    accuracy = keras.metrics.SparseCategoricalAccuracy()
    for images, labels in tf.data.Dataset.from_tensor_slices((x, y)).batch(256):
        predictions = model(images, training=False)
        loss.update_state(labels, predictions)
        accuracy.update_state(labels, predictions)
    return {"loss": float(loss.result()), "accuracy": float(accuracy.result())}


def train(model: keras.Model, data: Any, validation: Any, options: Any) -> Any:
    """Train the model, validate it after every epoch, and return the history."""
    optimizer = keras.optimizers.RMSprop()
    loss_fn = keras.losses.SparseCategoricalCrossentropy()
    accuracy = keras.metrics.SparseCategoricalAccuracy()

    def step(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            predictions = model(x, training=True)
            loss = loss_fn(y, predictions)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        accuracy.update_state(y, predictions)
        return loss

    step = step if options.eager else tf.function(step, reduce_retracing=True)
    loop = keras_ext.Loop(model, optimizer=optimizer, epochs=options.epochs)
    for epoch in loop:
        for x, y in epoch.batches(data, batch_size=32):
            epoch.log({"loss": step(x, y), "accuracy": accuracy})
        epoch.log_validation(evaluate(model, *validation))
    return loop.history.history


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Train, evaluate, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default="runs/advanced_classifier")
    parser.add_argument("--epochs", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--data", type=pathlib.Path, help="an .npz file")
    parser.add_argument("--eager", action="store_true", help="trace no graph")
    options = parser.parse_args(arguments)
    if options.epochs < 1 or options.seed < 0 or options.out.is_file():
        parser.error(f"expected epochs > 0, seed >= 0 and a folder as out: {options}")
    if options.data and not options.data.is_file():
        parser.error(f"--data must name an .npz file. Received: {options.data}")
    options.out.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(options.seed)
    x, x_test, y, y_test = load_data(options.data, options.seed)
    x, x_val, y, y_val = train_test_split(x, y, test_size=1 / 9, random_state=0)
    model = build_model()
    before = evaluate(model, x_test, y_test)["accuracy"]
    history = train(model, (x, y), (x_val, y_val), options)
    accuracy = evaluate(model, x_test, y_test)["accuracy"]
    print(f"Test accuracy: {accuracy:.3f}, before training {before:.3f}")
    figure = Figure(figsize=(12, 4), layout="constrained")
    left, right = figure.subfigures(1, 2)
    for axis, name in zip(left.subplots(1, 2), ["loss", "accuracy"], strict=True):
        axis.plot(history[name], "--", history[f"val_{name}"])
        axis.set(title=f"{name} (training: dashed)", xlabel="epoch")
    for index, axis in enumerate(right.subplots(3, 6).flat):
        axis.imshow(x_test[index])
        axis.set(title=np.argmax(model(x_test[[index]])), xticks=[], yticks=[])
    figure.savefig(options.out / "advanced_classifier.png", dpi=120)
    return {"accuracy": accuracy, "before": before, "loss": history["loss"]}


if __name__ == "__main__":
    main()
