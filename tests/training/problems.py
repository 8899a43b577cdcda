"""Small training problems, each a model, its compilation and its data."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_rng = np.random.default_rng(11)
X = _rng.normal(size=(70, 6)).astype("float32")
LABELS = _rng.integers(0, 3, size=70)
TARGETS = (X @ _rng.normal(size=(6, 1))).astype("float32")


def make_step(model, optimizer):
    """Return a compiled step on a tape, as a user writes it."""

    @tf.function(autograph=False)
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return {"loss": loss}

    return step


def classifier() -> keras.Model:
    """Dense network with every kind of layer that keeps state but draws nothing."""
    keras.utils.set_random_seed(5)
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(16, activation="relu", kernel_regularizer="l2"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


def with_dropout() -> keras.Model:
    keras.utils.set_random_seed(5)
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dropout(0.3, seed=3),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


def unbuilt() -> keras.Model:
    keras.utils.set_random_seed(5)
    return keras.Sequential(
        [keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(3, "softmax")]
    )


class ExtraLoss(keras.layers.Layer):
    """Adds a loss and a metric from inside the model."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.mean = keras.metrics.Mean(name="activity")

    def call(self, inputs):
        self.add_loss(0.1 * keras.ops.mean(keras.ops.square(inputs)))
        self.mean.update_state(inputs)
        return inputs


def with_extra_loss() -> keras.Model:
    keras.utils.set_random_seed(5)
    inputs = keras.Input((6,))
    hidden = ExtraLoss()(keras.layers.Dense(8, activation="relu")(inputs))
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(hidden))


def with_nothing_but_extra_loss() -> keras.Model:
    keras.utils.set_random_seed(5)
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(8), ExtraLoss()])


def two_outputs() -> keras.Model:
    keras.utils.set_random_seed(5)
    first, second = keras.Input((3,), name="first"), keras.Input((3,), name="second")
    joined = keras.layers.Concatenate()([first, second])
    hidden = keras.layers.Dense(8, activation="relu")(joined)
    return keras.Model(
        {"first": first, "second": second},
        {
            "label": keras.layers.Dense(3, activation="softmax", name="label")(hidden),
            "value": keras.layers.Dense(1, name="value")(hidden),
        },
    )


def list_inputs() -> keras.Model:
    keras.utils.set_random_seed(5)
    first, second = keras.Input((3,)), keras.Input((3,))
    hidden = keras.layers.Dense(8, activation="relu")(
        keras.layers.Add()([first, second])
    )
    return keras.Model(
        [first, second], keras.layers.Dense(3, activation="softmax")(hidden)
    )


class Subclassed(keras.Model):
    """A model written with `call`, with a metric of its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = keras.layers.Dense(8, activation="relu")
        self.top = keras.layers.Dense(3, activation="softmax")
        self.peak = keras.metrics.Mean(name="peak")

    def call(self, inputs):
        probabilities = self.top(self.hidden(inputs))
        self.peak.update_state(keras.ops.max(probabilities, axis=-1))
        return probabilities


def subclassed() -> keras.Model:
    keras.utils.set_random_seed(5)
    return Subclassed()


class Numbers(keras.utils.PyDataset):
    """The classification data, batch by batch."""

    def __len__(self):
        return 7

    def __getitem__(self, index):
        rows = slice(10 * index, 10 * (index + 1))
        return X[rows], LABELS[rows]


def dataset(repeat: bool = False) -> tf.data.Dataset:
    data = tf.data.Dataset.from_tensor_slices((X, LABELS)).batch(16)
    return data.repeat() if repeat else data


def endless():
    """A generator of batches."""
    while True:
        for at in range(0, 64, 16):
            yield X[at : at + 16], LABELS[at : at + 16]


CLASSIFY = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}


@dataclass(frozen=True)
class Problem:
    """A model, how it is compiled, and the arguments of `fit`."""

    model: Callable[[], keras.Model] = classifier
    optimizer: Callable[[], Any] = lambda: keras.optimizers.Adam(0.01)
    compile: dict[str, Any] = field(default_factory=lambda: dict(CLASSIFY))
    fit: Callable[[], dict[str, Any]] = lambda: {"x": X, "y": LABELS}


_weights = np.linspace(0.0, 2.0, 70).astype("float32")

PROBLEMS = {
    "arrays": Problem(),
    "batch size": Problem(fit=lambda: {"x": X, "y": LABELS, "batch_size": 11}),
    "float64 arrays": Problem(
        fit=lambda: {"x": X.astype("float64"), "y": LABELS.astype("float64")}
    ),
    "dropout": Problem(model=with_dropout),
    "unbuilt": Problem(model=unbuilt),
    "subclassed": Problem(model=subclassed),
    "add_loss": Problem(model=with_extra_loss),
    "add_loss alone": Problem(
        model=with_nothing_but_extra_loss,
        compile={},
        fit=lambda: {"x": X, "validation_data": (X[:21],)},
    ),
    "xla": Problem(compile={**CLASSIFY, "jit_compile": True}),
    "eager": Problem(compile={**CLASSIFY, "run_eagerly": True}),
    "schedule, ema, clipping, decay": Problem(
        optimizer=lambda: keras.optimizers.AdamW(
            keras.optimizers.schedules.ExponentialDecay(0.01, 3, 0.9),
            weight_decay=0.01,
            clipnorm=0.5,
            use_ema=True,
            ema_overwrite_frequency=4,
        )
    ),
    "gradient accumulation": Problem(
        optimizer=lambda: keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    ),
    "loss scale": Problem(
        optimizer=lambda: keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(0.05, momentum=0.9), initial_scale=1024
        )
    ),
    "sample weight": Problem(
        compile={**CLASSIFY, "weighted_metrics": ["accuracy"]},
        fit=lambda: {"x": X, "y": LABELS, "sample_weight": _weights},
    ),
    "class weight": Problem(
        fit=lambda: {"x": X, "y": LABELS, "class_weight": {0: 1.0, 1: 3.0, 2: 0.5}}
    ),
    "class weight in a dataset": Problem(
        fit=lambda: {"x": dataset(), "class_weight": {0: 1.0, 1: 3.0, 2: 0.5}}
    ),
    "validation split": Problem(
        fit=lambda: {"x": X, "y": LABELS, "validation_split": 0.3}
    ),
    "validation data": Problem(
        fit=lambda: {
            "x": X,
            "y": LABELS,
            "validation_data": (X[:20], LABELS[:20], _weights[:20]),
            "validation_batch_size": 7,
            "validation_freq": 2,
        }
    ),
    "validation dataset": Problem(
        fit=lambda: {"x": dataset(), "validation_data": dataset()}
    ),
    "steps per epoch": Problem(
        fit=lambda: {"x": dataset(repeat=True), "steps_per_epoch": 7}
    ),
    "steps per epoch of arrays": Problem(
        fit=lambda: {"x": X, "y": LABELS, "batch_size": 7, "steps_per_epoch": 5}
    ),
    "initial epoch": Problem(fit=lambda: {"x": X, "y": LABELS, "initial_epoch": 1}),
    "generator": Problem(fit=lambda: {"x": endless(), "steps_per_epoch": 6}),
    "PyDataset": Problem(fit=lambda: {"x": Numbers()}),
    "list inputs": Problem(
        model=list_inputs, fit=lambda: {"x": [X[:, :3], X[:, 3:]], "y": LABELS}
    ),
    "dict inputs, two outputs": Problem(
        model=two_outputs,
        compile={
            "loss": {"label": "sparse_categorical_crossentropy", "value": "mse"},
            "loss_weights": {"label": 1.0, "value": 0.5},
            "metrics": {"label": ["accuracy"], "value": ["mae"]},
        },
        fit=lambda: {
            "x": {"first": X[:, :3], "second": X[:, 3:]},
            "y": {"label": LABELS, "value": TARGETS},
            "sample_weight": _weights,
        },
    ),
}
