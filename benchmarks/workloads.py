"""The workloads: data, networks, and their combinations."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

import keras_ext

LOSS = "sparse_categorical_crossentropy"


@dataclass(frozen=True)
class Data:
    """Images, 28x28 float32 in [0, 1], and their labels, 0 to 9."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


@dataclass(frozen=True)
class Workload:
    """A network, its data and how it is trained.

    Args:
        name: Its name in the tables.
        network: Creates a new network.
        x: Inputs, one per sample.
        y: Labels, integers.
        batch_size: Samples per step.
        optimizer: Name of the optimizer.
        convolutional: Whether XLA takes long to compile it for a CPU.
    """

    name: str
    network: Callable[[], keras.Model]
    x: np.ndarray
    y: np.ndarray
    batch_size: int = 32
    optimizer: str = "adam"
    convolutional: bool = False

    @property
    def steps(self) -> int:
        """Steps per epoch."""
        return math.ceil(len(self.x) / self.batch_size)

    def first(self, steps: int) -> "Workload":
        """Return the same with the samples of only some steps."""
        count = steps * self.batch_size
        return replace(self, x=self.x[:count], y=self.y[:count])

    def model(self, **options: Any) -> keras.Model:
        """Return a new `keras.Model`, compiled."""
        return self._compiled(self.network(), options)

    def trainer(self, **options: Any) -> keras_ext.Trainer:
        """Return a new `keras_ext.Trainer`, compiled."""
        return self._compiled(keras_ext.Trainer(self.network()), options)

    def _compiled(self, model: Any, options: dict[str, Any]) -> Any:
        model.compile(
            optimizer=self.optimizer, loss=LOSS, metrics=["accuracy"], **options
        )
        return model


def read_data(path: str | None) -> Data:
    """Return the data of an `.npz` file like MNIST's, or synthetic data."""
    if path is None:
        rng = np.random.default_rng(0)
        looks = rng.integers(0, 256, (10, 28, 28), dtype=np.uint8)
        return Data(*_synthetic(rng, looks, 60_000), *_synthetic(rng, looks, 10_000))
    with np.load(path) as file:
        return Data(
            _scaled(file["x_train"]),
            file["y_train"].astype("int64"),
            _scaled(file["x_test"]),
            file["y_test"].astype("int64"),
        )


def _synthetic(
    rng: np.random.Generator, looks: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return images of noise with a tenth of a pattern of their class."""
    labels = rng.integers(0, 10, count)
    noise = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    visible = rng.random((count, 28, 1)) < 0.1
    return _scaled(np.where(visible, looks[labels], noise)), labels


def _scaled(images: np.ndarray) -> np.ndarray:
    """Return bytes as float32 in [0, 1], without a copy in between."""
    scaled = images.astype("float32")
    scaled /= 255
    return scaled


def mnist_mlp(data: Data, batch_size: int = 32) -> Workload:
    """Return the beginner's network on MNIST."""
    layers = keras.layers

    def network() -> keras.Model:
        return keras.Sequential(
            [
                keras.Input((28, 28)),
                layers.Flatten(),
                layers.Dense(128, activation="relu"),
                layers.Dropout(0.2),
                layers.Dense(10, activation="softmax"),
            ]
        )

    return Workload("mnist-mlp", network, data.x_train, data.y_train, batch_size)


def adv_cnn(data: Data) -> Workload:
    """Return a convolutional network on MNIST."""
    layers = keras.layers

    def network() -> keras.Model:
        return keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                layers.Conv2D(32, 3, padding="same", activation="relu"),
                layers.MaxPooling2D(),
                layers.Conv2D(64, 3, padding="same", activation="relu"),
                layers.MaxPooling2D(),
                layers.Flatten(),
                layers.Dense(100, activation="relu"),
                layers.Dropout(0.2),
                layers.Dense(10, activation="softmax"),
            ]
        )

    return Workload(
        "adv-cnn",
        network,
        data.x_train[..., None],
        data.y_train,
        optimizer="rmsprop",
        convolutional=True,
    )


def lstm(data: Data) -> Workload:
    """Return a recurrent network that reads an image row by row."""

    def network() -> keras.Model:
        return keras.Sequential(
            [
                keras.Input((28, 28)),
                keras.layers.LSTM(64),
                keras.layers.Dense(10, activation="softmax"),
            ]
        )

    return Workload("lstm", network, data.x_train, data.y_train)


def transformer(data: Data) -> Workload:
    """Return a Transformer of one block that attends to the rows of an image."""
    layers = keras.layers

    def network() -> keras.Model:
        inputs = keras.Input((28, 28))
        rows = layers.Dense(64)(inputs)
        seen = layers.MultiHeadAttention(num_heads=4, key_dim=16)(rows, rows)
        rows = layers.LayerNormalization()(rows + seen)
        rows = layers.LayerNormalization()(
            rows + layers.Dense(64, activation="relu")(rows)
        )
        pooled = layers.GlobalAveragePooling1D()(rows)
        return keras.Model(inputs, layers.Dense(10, activation="softmax")(pooled))

    return Workload("transformer", network, data.x_train, data.y_train)


def depthwise(data: Data) -> Workload:
    """Return a network of depthwise convolutions with batch normalization."""

    def network() -> keras.Model:
        return keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                keras_ext.layers.InvertedResidual(16, expansion=2, strides=2),
                keras_ext.layers.InvertedResidual(16, expansion=2),
                keras_ext.layers.InvertedResidual(32, expansion=2, strides=2),
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Dense(10, activation="softmax"),
            ]
        )

    images = data.x_train[..., None]
    return Workload("depthwise", network, images, data.y_train, convolutional=True)


def embedding(data: Data) -> Workload:
    """Return a classifier of texts, made of 50 words each, on random texts."""
    vocabulary, length = 10_000, 50
    count = len(data.y_train)
    rng = np.random.default_rng(0)
    texts = rng.integers(0, vocabulary, (count, length), dtype="int32")

    def network() -> keras.Model:
        return keras.Sequential(
            [
                keras.Input((length,), dtype="int32"),
                keras.layers.Embedding(vocabulary, 64),
                keras.layers.GlobalAveragePooling1D(),
                keras.layers.Dense(10, activation="softmax"),
            ]
        )

    return Workload("embedding", network, texts, data.y_train)


def wide_mlp(data: Data) -> Workload:
    """Return a network of two wide layers."""

    def network() -> keras.Model:
        return keras.Sequential(
            [
                keras.Input((28, 28)),
                keras.layers.Flatten(),
                keras.layers.Dense(2048, activation="relu"),
                keras.layers.Dense(2048, activation="relu"),
                keras.layers.Dense(10, activation="softmax"),
            ]
        )

    return Workload("wide-mlp", network, data.x_train, data.y_train)


def tiny_mlp(steps: int) -> Workload:
    """Return a network of 8 inputs, on so many samples that an epoch has `steps`."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1024, 8)).astype("float32")
    y = (x @ rng.normal(size=(8, 10))).argmax(axis=1)
    times = math.ceil(32 * steps / len(x))

    def network() -> keras.Model:
        return keras.Sequential(
            [
                keras.Input((8,)),
                keras.layers.Dense(32, activation="relu"),
                keras.layers.Dense(10, activation="softmax"),
            ]
        )

    x, y = np.tile(x, (times, 1)), np.tile(y, times)
    return Workload("tiny-mlp", network, x, y).first(steps)
