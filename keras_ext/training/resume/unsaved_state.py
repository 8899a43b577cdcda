"""State of callbacks that a checkpoint cannot hold."""

import dataclasses
import datetime
import decimal
import enum
import fractions
import inspect
import itertools
import pathlib
import random
import warnings
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_ext.training.base.stack import level_of_user
from keras_ext.training.resume.callback_state import CONTROLS, get_states, has_own
from keras_ext.training.resume.codec import is_plain
from keras_ext.training.resume.variables import variables_of

_SCALARS = (
    *(bool, int, float, complex, str, bytes, bytearray, range),
    *(datetime.date, datetime.time, datetime.timedelta, decimal.Decimal),
    *(fractions.Fraction, pathlib.PurePath, enum.Enum),
)
# Examining everything would take too long: of an array, only both ends; of an
# attribute, this many pieces of data.
_NUM_OF_END = 100
_NUM_OF_ATTRIBUTE = 10_000


# Their variables are examined, or they are saved themselves.
_WITH_STATE = (
    *(keras.layers.Layer, keras.Metric, keras.optimizers.Optimizer, tf.Module),
    *(keras.callbacks.Callback, keras.utils.PyDataset),
)


class _Datum(NamedTuple):
    """A piece of data: its location, the variable that it belongs to, and its value."""

    path: tuple[str, ...]
    variable: int | None
    value: Any


class UnsavedState:
    """Warns about callbacks whose state is not saved with a run.

    This concerns attributes that have changed since training began, hold data, and are
    either not plain data or constructor arguments: see `get_states`. Data are numbers,
    strings, times, paths, arrays and variables, random generators, and anything that
    contains these: containers, dataclasses, objects of classes in the module of the
    callback. Everything else (functions, files, threads, other objects) is what a
    callback works with, and creates again. Callbacks with `get_state`, and Keras's, are
    known.

    Args:
        callbacks: The callbacks, after `on_train_begin`.
    """

    def __init__(self, callbacks: Iterable[Any]) -> None:
        self._before = [
            # As text: lists and dicts are changed in place, so they cannot be kept for
            # later.
            (one, {name: _data(one, value) for name, value in _attributes(one)})
            for one in callbacks
            if not (has_own(one, "get_state") or _is_known(one))
        ]
        self._known: set[tuple[int, str]] = set()

    def warn(self, variables: Iterable[Any]) -> None:
        """Warn about attributes that have changed and are not saved, once each.

        Args:
            variables: The saved variables.
        """
        saved = {id(one) for v in variables for one in (v, getattr(v, "value", v))}
        for callback, before in self._before:
            state = get_states([callback])[0][1]
            lost = [
                (name, value)
                for name, value in _attributes(callback)
                if name not in state
                and (id(callback), name) not in self._known
                and _data(callback, value, saved)
                # A variable may have been added to the saved ones.
                != [one for one in before.get(name, []) if one.variable not in saved]
            ]
            self._known.update((id(callback), name) for name, _ in lost)
            if lost:
                warnings.warn(_message(callback, lost), stacklevel=level_of_user())


def _message(callback: Any, lost: Iterable[tuple[str, Any]]) -> str:
    reasons = [
        f"`{name}`, "
        + (
            "an argument of the constructor"
            if is_plain(value)
            else f"of type {type(value).__name__}"
        )
        for name, value in lost
    ]
    return (
        f"The callback {type(callback).__name__} has changed attributes that are not "
        f"saved, so that a continued run lacks them: {'; '.join(reasons)}. Expected: "
        "numbers, strings, arrays, and lists and dicts of them, in attributes that are "
        "not arguments of the constructor; or methods `get_state` and `set_state`."
    )


def _is_known(callback: Any) -> bool:
    """Whether the relevant state of a callback is known to be saved."""
    kinds = (keras.callbacks.ProgbarLogger, keras.callbacks.History)
    return isinstance(callback, kinds) or _is_of_keras(type(callback))


def _is_of_keras(kind: type) -> bool:
    return kind.__module__.split(".")[0] in ("keras", "keras_ext")


def _attributes(callback: Any) -> list[tuple[str, Any]]:
    """Return the callback's own attributes."""
    known = {"params"}
    for kind in type(callback).__mro__:
        if _is_of_keras(kind) and "__init__" in vars(kind):
            # Keras's classes change arguments, such as `min_delta`, and do so again.
            known.update(inspect.signature(kind).parameters)
    return [
        (name, value)
        for name, value in vars(callback).items()
        if name not in known | CONTROLS and value is not callback.model
    ]


def _data(callback: Any, value: Any, saved: Collection[int] = ()) -> list[_Datum]:
    """Return the data in an attribute, for a later comparison."""
    found = _data_in(value, (), type(callback).__module__, saved, set())
    return list(itertools.islice(found, _NUM_OF_ATTRIBUTE))


def _data_in(
    value: Any,
    path: tuple[str, ...],
    module: str,
    saved: Collection[int],
    seen: set[int],
) -> Iterator[_Datum]:
    if isinstance(value, _SCALARS):
        yield _Datum(path, None, repr(value))
    elif isinstance(value, np.random.Generator):
        yield _Datum(path, None, repr(value.bit_generator.state))
    elif isinstance(value, np.random.RandomState):
        yield _Datum(path, None, repr(value.get_state()))
    elif isinstance(value, random.Random):
        yield _Datum(path, None, value.getstate())
    elif variables := _variables(value):
        for one in variables:
            if id(one) not in saved:
                yield _Datum(path, id(one), _ends_of_array(one))
    elif (array := _as_array(value)) is not None:
        yield _Datum(path, None, (repr(array.shape), _ends_of_array(array)))
    elif id(value) not in seen:
        # Objects may refer to each other in a cycle.
        seen.add(id(value))
        for name, item in _parts(value, module):
            yield from _data_in(item, (*path, repr(name)), module, saved, seen)


def _variables(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple, Mapping)):
        return []  # It may contain other objects.
    return variables_of(value)


def _as_array(value: Any) -> Any:
    """Return the values of an array of any kind; `None` for anything else."""
    if isinstance(value, tf.Tensor):
        return None if tf.is_symbolic_tensor(value) else value
    if not (hasattr(value, "__array__") and hasattr(value, "shape")):
        return None
    try:
        return np.asarray(value)
    # Arrays of other libraries may raise anything, such as one on another device.
    except Exception:
        return None


def _ends_of_array(array: Any) -> str:
    flat = array.flat if isinstance(array, np.ndarray) else tf.reshape(array, [-1])
    ends = (flat[:_NUM_OF_END], flat[-_NUM_OF_END:])
    return repr([np.asarray(end).tolist() for end in ends])


def _parts(value: Any, module: str) -> Iterable[tuple[Any, Any]]:
    """Return names and values of a value's components, if they may be data."""
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, Set):
        # Equal sets may have different orders.
        return list(enumerate(sorted(value, key=repr)))
    if isinstance(value, (list, tuple, deque)):
        return list(enumerate(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return [(name, getattr(value, name, None)) for name in names]
    if type(value).__module__ == module and not isinstance(value, _WITH_STATE):
        return list(getattr(value, "__dict__", {}).items())
    return []
