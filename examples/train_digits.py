"""Train one small network three ways, with the same callbacks, and compare.

The network is composed from `InceptionModule` and `InvertedResidual`. It is trained
from the same start with stock `keras.Model.fit`, with `keras_ext.Trainer.fit`, and with
a loop written by hand around `tf.GradientTape` that `keras_ext.Loop` drives. The data
are scikit-learn's handwritten digits, or any `.npz` file with the arrays x_train,
y_train, x_test and y_test (gray images, integer labels), such as MNIST's.

    python examples/train_digits.py
    python examples/train_digits.py --data mnist.npz --epochs 2

It writes to the output folder: a CSV log of each training run, `curves.png`, and the
trained model, which is loaded again and checked.
"""

import argparse
import csv
import math
import os
import pathlib
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

import keras_ext

BATCH_SIZE = 32
LOSS = "sparse_categorical_crossentropy"


@dataclass(frozen=True)
class Data:
    """Images scaled to [0, 1], shaped (samples, height, width, 1), and labels."""

    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.train[0]) / BATCH_SIZE)


@dataclass(frozen=True)
class Result:
    """The results of one way of training."""

    name: str
    accuracy: float
    loss: float
    seconds: float
    log: pathlib.Path


def load_data(filename: str | None, seed: int) -> Data:
    """Return the digits of scikit-learn, or the arrays of an `.npz` file."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    def split(x: np.ndarray, y: np.ndarray, part: float) -> list[np.ndarray]:
        return train_test_split(x, y, test_size=part, random_state=seed, stratify=y)

    if filename is None:
        images, labels = load_digits(return_X_y=True)
        images = images.reshape(-1, 8, 8)
        x, x_test, y, y_test = split(images, labels, 0.2)
    else:
        x, y, x_test, y_test = read_arrays(filename)
    x, x_validation, y, y_validation = split(x, y, 0.1)

    def scale(array: np.ndarray) -> np.ndarray:
        return (array[..., np.newaxis] / x.max()).astype("float32")

    return Data(
        (scale(x), y), (scale(x_validation), y_validation), (scale(x_test), y_test)
    )


def read_arrays(filename: str) -> list[np.ndarray]:
    """Return x_train, y_train, x_test and y_test of an `.npz` file."""
    names = ["x_train", "y_train", "x_test", "y_test"]
    with np.load(filename) as file:
        missing = sorted(set(names) - set(file))
        if missing:
            raise SystemExit(
                f"{filename}: expected the arrays {', '.join(names)}. "
                f"Missing: {', '.join(missing)}"
            )
        arrays = [file[name] for name in names]
    for name, array, rank in zip(names, arrays, [3, 1, 3, 1], strict=True):
        if array.ndim != rank:
            kind = "(samples, height, width)" if rank == 3 else "(samples,)"
            raise SystemExit(
                f"{filename}: expected {name} of shape {kind}. "
                f"Received: shape {array.shape}"
            )
    return arrays


def build_model(image_shape: tuple[int, ...], classes: int, seed: int) -> keras.Model:
    """Return the network; the same `seed` gives the same weights."""
    keras.utils.set_random_seed(seed)
    # A momentum of 0.9 follows the weights fast enough for the few steps made here.
    inputs = keras.Input(image_shape)
    x = keras_ext.layers.InceptionModule(16, (16, 24), (8, 16), 8)(inputs)
    x = keras.layers.BatchNormalization(momentum=0.9)(x)
    x = keras_ext.layers.InvertedResidual(
        32,
        expansion=2,
        strides=2,
        normalization=None,
        squeeze_excite=keras_ext.layers.SqueezeExcite(0.25),
    )(x)
    x = keras.layers.BatchNormalization(momentum=0.9)(x)
    x = keras_ext.layers.InvertedResidual(32, expansion=2, normalization=None)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    outputs = keras.layers.Dense(classes, activation="softmax")(x)
    return keras.Model(inputs, outputs, name="digits")


def make_callbacks(data: Data, epochs: int, log: pathlib.Path) -> list[Any]:
    """Return a one-cycle learning rate, set for every batch, and the CSV log."""
    schedule = keras_ext.schedules.OneCycle(0.005, epochs * data.steps_per_epoch)
    return [
        keras_ext.callbacks.LearningRateScheduler(schedule, update_freq="batch"),
        keras_ext.callbacks.CSVLogger(log),
    ]


def train_with_model_fit(
    model: keras.Model, data: Data, epochs: int, callbacks: list[Any]
) -> None:
    """Stock Keras."""
    model.compile(keras.optimizers.Adam(), loss=LOSS, metrics=["accuracy"])
    model.fit(
        *data.train,
        batch_size=BATCH_SIZE,
        epochs=epochs,
        validation_data=data.validation,
        callbacks=callbacks,
        # The other two determine this themselves.
        verbose=1 if sys.stdout.isatty() else 2,
    )


def train_with_trainer(
    model: keras.Model, data: Data, epochs: int, callbacks: list[Any]
) -> None:
    """The same call, on a Trainer that wraps the model."""
    trainer = keras_ext.Trainer(model)
    trainer.compile(keras.optimizers.Adam(), loss=LOSS, metrics=["accuracy"])
    trainer.fit(
        *data.train,
        batch_size=BATCH_SIZE,
        epochs=epochs,
        validation_data=data.validation,
        callbacks=callbacks,
    )


def train_with_loop(
    model: keras.Model, data: Data, epochs: int, callbacks: list[Any]
) -> None:
    """A hand-written loop: every line of the step can be changed."""
    optimizer = keras.optimizers.Adam()
    loss_fn = keras.losses.get(LOSS)
    accuracy = keras.metrics.SparseCategoricalAccuracy()

    @tf.function
    def train_step(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            predictions = model(x, training=True)
            loss = tf.reduce_mean(loss_fn(y, predictions))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        accuracy.update_state(y, predictions)
        return loss

    validation = {
        "loss": keras.metrics.SparseCategoricalCrossentropy(),
        "accuracy": keras.metrics.SparseCategoricalAccuracy(),
    }

    @tf.function
    def validation_step(x: tf.Tensor, y: tf.Tensor) -> None:
        predictions = model(x, training=False)
        for metric in validation.values():
            metric.update_state(y, predictions)

    validation_batches = tf.data.Dataset.from_tensor_slices(data.validation).batch(256)
    loop = keras_ext.Loop(
        model, optimizer=optimizer, epochs=epochs, callbacks=callbacks
    )
    for epoch in loop:
        for x, y in epoch.batches(data.train, BATCH_SIZE):
            epoch.log({"loss": train_step(x, y), "accuracy": accuracy})
        for x, y in validation_batches:
            validation_step(x, y)
        epoch.log_validation(validation)


WAYS: dict[str, Callable[[keras.Model, Data, int, list[Any]], None]] = {
    "Model.fit": train_with_model_fit,
    "Trainer.fit": train_with_trainer,
    "Loop": train_with_loop,
}


def measure(
    model: keras.Model, samples: tuple[np.ndarray, np.ndarray]
) -> tuple[float, float]:
    """Return loss and accuracy, computed from the predictions with NumPy."""
    x, y = samples
    parts = np.array_split(x, math.ceil(len(x) / 256))
    probabilities = np.concatenate([model(part, training=False) for part in parts])
    of_label = np.take_along_axis(probabilities, y[:, np.newaxis].astype(int), 1)
    hits = probabilities.argmax(axis=1) == y
    return float(-np.log(np.maximum(of_label, 1e-7)).mean()), float(hits.mean())


def draw_curves(results: Sequence[Result], filename: pathlib.Path) -> None:
    """Plot loss, accuracy and learning rate of all training runs."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    figure, axes = plt.subplots(1, 3, figsize=(14, 4.4), layout="constrained")
    for number, result in enumerate(results):
        with open(result.log, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        epochs = [int(row["epoch"]) + 1 for row in rows]
        values = {name: [float(row[name]) for row in rows] for name in rows[0]}
        color = f"C{number}"
        for axis, name in zip(axes, ["loss", "accuracy"], strict=False):
            axis.plot(epochs, values[f"val_{name}"], color=color, label=result.name)
            axis.plot(epochs, values[name], "--", color=color, linewidth=1, alpha=0.6)
        # The three coincide: with decreasing line widths, all can be seen.
        axes[2].plot(
            epochs,
            values["learning_rate"],
            color=color,
            linewidth=7 - 2.6 * number,
            label=result.name,
        )
    axes[0].set(title="Loss", yscale="log")
    axes[1].set(title="Accuracy")
    axes[2].set(title="Learning rate at the end of the epoch")
    for axis in axes:
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False)
    figure.suptitle("Three ways to train: validation solid, training dashed")
    # A viewer of an older picture never sees half of a new one.
    beside = filename.with_name(f"new-{filename.name}")
    figure.savefig(beside, dpi=120)
    beside.replace(filename)
    plt.close(figure)


def print_table(results: Sequence[Result]) -> None:
    """Print the results side by side."""
    print(f"\n{'':14}{'test accuracy':>15}{'test loss':>12}{'seconds':>10}")
    for result in results:
        print(
            f"{result.name:14}{result.accuracy:15.4f}{result.loss:12.4f}"
            f"{result.seconds:10.1f}"
        )


def check_saved(model: keras.Model, data: Data, filename: pathlib.Path) -> None:
    """Save the model, load it again, and check that it predicts the same."""
    model.save(filename)
    loaded = keras.models.load_model(filename)
    x = data.test[0][:256]
    difference = np.abs(loaded(x) - model(x)).max()
    if difference > 0:
        raise SystemExit(f"{filename}: the loaded model differs by {difference:g}")
    print(f"\n{filename}: saved, loaded, and equal on {len(x)} test images")


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    summary, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--epochs", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default=pathlib.Path("runs/train_digits"),
        help="output folder; default: %(default)s",
    )
    parser.add_argument(
        "--data", metavar="FILE.npz", help="default: scikit-learn's digits"
    )
    options = parser.parse_args(arguments)
    if options.epochs < 1:
        parser.error(f"--epochs must be at least 1. Received: {options.epochs}")
    if options.seed < 0:
        parser.error(f"--seed must not be negative. Received: {options.seed}")
    if options.data and not zipfile.is_zipfile(options.data):
        parser.error(f"--data must name an .npz file. Received: {options.data}")
    if options.out.exists() and not options.out.is_dir():
        parser.error(f"--out must name a folder. Received: {options.out}")
    return options


def main(arguments: Sequence[str] | None = None) -> list[Result]:
    """Train three times, compare, draw, save."""
    options = parse_arguments(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    data = load_data(options.data, options.seed)
    classes = int(data.train[1].max()) + 1
    results = []
    for name, train in WAYS.items():
        print(f"\n=== {name}")
        model = build_model(data.train[0].shape[1:], classes, options.seed)
        log = options.out / f"{name.lower().replace('.', '_')}.csv"
        callbacks = make_callbacks(data, options.epochs, log)
        begin = time.perf_counter()
        train(model, data, options.epochs, callbacks)
        seconds = time.perf_counter() - begin
        loss, accuracy = measure(model, data.test)
        results.append(Result(name, accuracy, loss, seconds, log))
    print_table(results)
    draw_curves(results, options.out / "curves.png")
    check_saved(model, data, options.out / "model.keras")
    print(f"{options.out}: CSV logs and curves.png")
    return results


if __name__ == "__main__":
    main()
