"""Models, data and callbacks that many situations share."""

import os

import keras
import numpy as np

L = keras.layers

_rng = np.random.default_rng(3)
X = _rng.normal(size=(12, 4)).astype("float32")
Y = _rng.normal(size=(12, 3)).astype("float32")
LABELS = np.arange(12) % 3
ONE_HOT = np.eye(3, dtype="float32")[LABELS]
WEIGHTS = np.linspace(0.0, 2.0, 12).astype("float32")

# Batches of 4 in the given order; graphs, since these are traced fastest.
FIT = {"batch_size": 4, "shuffle": False, "verbose": 0}
MSE = {"optimizer": "sgd", "loss": "mse", "jit_compile": False}


def dense(units=3, features=4):
    """The smallest model: one kernel of ones."""
    return keras.Sequential([keras.Input((features,)), ones(units)])


def ones(units=3, **kwargs):
    return L.Dense(units, use_bias=False, kernel_initializer="ones", **kwargs)


def classifier():
    return keras.Sequential(
        [keras.Input((4,)), L.Dense(3, "softmax", kernel_initializer="ones")]
    )


def two_outputs(kind=list):
    """One input, the outputs `a` and `b` of width 1, as a list, tuple or dict."""
    x = keras.Input((4,))
    a, b = ones(1, name="a")(x), ones(1, name="b", activation="sigmoid")(x)
    return keras.Model(x, {"a": a, "b": b} if kind is dict else kind([a, b]))


A, B = Y[:, :1], (Y[:, 1:2] > 0).astype("float32")


def endless(x=X, y=Y, size=4):
    """A generator of batches."""
    while True:
        for at in range(0, len(x), size):
            yield x[at : at + size], y[at : at + size]


def once(x=X, y=Y, size=4):
    """The batches of one epoch."""
    for at in range(0, len(x), size):
        yield x[at : at + size], y[at : at + size]


class Batches(keras.utils.PyDataset):
    """The data by index, with a record of the hooks that were called."""

    def __init__(self, x=X, y=Y, *, endless=False, **kwargs):
        super().__init__(**kwargs)
        self.x, self.y, self.endless = x, y, endless
        self.hooks = []

    @property
    def num_batches(self):
        return None if self.endless else 3

    def __getitem__(self, index):
        rows = slice(4 * (index % 3), 4 * (index % 3) + 4)
        return self.x[rows], self.y[rows]

    def on_epoch_begin(self):
        self.hooks.append("begin")

    def on_epoch_end(self):
        self.hooks.append("end")


class Record(keras.callbacks.Callback):
    """Writes down every hook with its number and logs; sees every batch."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def _note(self, hook, *args, logs=None):
        self.calls.append((hook, *args, dict(logs or {})))


def _hook(name, numbered):
    if numbered:
        return lambda self, number, logs=None: self._note(name, number, logs=logs)
    return lambda self, logs=None: self._note(name, logs=logs)


for _mode in ("train", "test", "predict"):
    for _end in ("begin", "end"):
        for _name, _numbered in (
            (f"on_{_mode}_{_end}", False),
            (f"on_{_mode}_batch_{_end}", True),
            (f"on_epoch_{_end}", True),
        ):
            setattr(Record, _name, _hook(_name, _numbered))


VALIDATION = {"validation_data": (X, Y)}


def compiled(make, model=None, **options):
    """A trained object, compiled with the mean squared error unless told otherwise."""
    trained = make(model or dense())
    trained.compile(**{**MSE, **options})
    return trained


def fit_history(trained, *args, **kwargs):
    """What `fit` of some arrays records."""
    return trained.fit(*args, **{**FIT, **kwargs}).history


def fit_with(trained, callbacks, epochs=1, **options):
    """The same for the usual data with callbacks."""
    return fit_history(trained, X, Y, epochs=epochs, callbacks=callbacks, **options)


def all_three(trained, x, y=None, batch_size=4):
    """Results of a pass of `fit`, `evaluate` and `predict` each."""
    options = {"batch_size": batch_size, "verbose": 0}
    return (
        trained.fit(x, y, shuffle=False, **options).history,
        trained.evaluate(x, y, **options),
        trained.predict(x, **options),
    )


def with_validation(trained, x=X, y=Y, epochs=2):
    """History with validation, and the results of an evaluation."""
    return (
        trained.fit(x, y, **FIT, epochs=epochs, validation_data=(x, y)).history,
        trained.evaluate(x, y, verbose=0),
    )


def files(folder):
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else None
