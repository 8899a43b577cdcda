"""What a situation is, and the ways to make the object that it trains."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_ext import Trainer

SAME = object()
REFUSALS = (
    TypeError,
    ValueError,
    KeyError,
    RuntimeError,
    AttributeError,
    OSError,
    NotImplementedError,
    tf.errors.InvalidArgumentError,
)


@keras.saving.register_keras_serializable(package="keras_situations")
class Calls(Trainer):
    """A Trainer that wraps nothing and defines `call`."""

    def __init__(self, network, **kwargs):
        super().__init__(**kwargs)
        self.network = network

    def call(self, inputs, training=None):
        return self.network(inputs, training=training)

    def get_config(self):
        network = keras.saving.serialize_keras_object(self.network)
        return {**super().get_config(), "network": network}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        network = keras.saving.deserialize_keras_object(
            config.pop("network"), custom_objects=custom_objects
        )
        return cls(network, **config)


@dataclass(frozen=True)
class Way:
    """How a model becomes what is compiled and trained.

    `base` is what a model written as a class derives from.
    """

    name: str
    base: type[keras.Model]
    finish: Callable[[keras.Model], keras.Model]


STOCK = Way("stock", keras.Model, lambda model: model)
WRAPPED = Way("wrapped", keras.Model, Trainer)
DERIVED = Way(
    "derived",
    Trainer,
    lambda model: model if isinstance(model, Trainer) else Calls(model),
)


@dataclass(frozen=True)
class Make:
    """What a situation is given: makes the trained object, and has an empty folder."""

    way: Way
    folder: Path

    def __call__(self, model: keras.Model) -> Any:
        return self.way.finish(model)

    @property
    def base(self) -> type[keras.Model]:
        return self.way.base


@dataclass(frozen=True)
class Situation:
    """A row of the table.

    Attributes:
        run: Returns what is compared; its docstring says the situation.
        ways: The ways to be compared with stock Keras.
        ours: What a Trainer gives where stock Keras is wrong or differs as documented.
        because: The reason for `ours`.
        needs: A package that the row needs and not every installation has.
    """

    run: Callable[[Make], Any]
    ways: tuple[Way, ...]
    ours: Any = SAME
    because: str = ""
    needs: str = ""

    @property
    def name(self) -> str:
        return self.run.__name__


SITUATIONS: list[Situation] = []


def situation(
    *ways: Way, ours: Any = SAME, because: str = "", needs: str = ""
) -> Callable[..., Any]:
    """Add the decorated function to the table; without ways, for a wrapped model."""

    def add(run: Callable[[Make], Any]) -> Callable[[Make], Any]:
        SITUATIONS.append(Situation(run, ways or (WRAPPED,), ours, because, needs))
        return run

    return add


def result_or_refused(call: Callable[[], Any]) -> Any:
    """Return the result, or "refused" if the call raises an error of Python's or TF's.

    What the messages say is tested where they are raised.
    """
    try:
        return call()
    except REFUSALS:
        return "refused"


def refused(call: Callable[[], Any]) -> bool:
    """Return whether the call raises an error that a user may have to mend."""
    return isinstance(result_or_refused(call), str)


def warned(call: Callable[[], Any]) -> tuple[Any, bool]:
    """Return the result of the call, and whether it warned the user."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = call()
    return result, any(issubclass(one.category, UserWarning) for one in caught)


def numbers(tree: Any) -> Any:
    """Return a structure of tensors and variables as one of arrays."""
    return keras.tree.map_structure(keras.ops.convert_to_numpy, tree)


def assert_same(actual: Any, expected: Any, where: str = "result") -> None:
    """Compare structures: kinds of containers, keys, shapes, dtypes, values."""
    if isinstance(expected, dict):
        assert isinstance(actual, dict), where
        assert sorted(actual) == sorted(expected), where
        for key, value in expected.items():
            assert_same(actual[key], value, f"{where}[{key!r}]")
    elif isinstance(expected, (list, tuple)):
        assert type(actual) is type(expected), where
        assert len(actual) == len(expected), where
        for i, value in enumerate(expected):
            assert_same(actual[i], value, f"{where}[{i}]")
    elif expected is None or isinstance(expected, (str, bool, type)):
        assert actual == expected, where
    else:
        _assert_close(actual, expected, where)


def _assert_close(actual: Any, expected: Any, where: str) -> None:
    assert np.ndim(actual) == np.ndim(expected), where
    if np.ndim(expected):
        actual, expected = numbers((actual, expected))
        assert actual.dtype == expected.dtype, where
    np.testing.assert_allclose(
        np.asarray(actual, "float64"),
        np.asarray(expected, "float64"),
        rtol=2e-5,
        atol=1e-6,
        err_msg=where,
    )
