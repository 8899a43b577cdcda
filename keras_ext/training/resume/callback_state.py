"""The state of callbacks, to be saved and restored."""

import collections
import contextlib
import inspect
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import keras

from keras_ext import _checks
from keras_ext.callbacks.training_callback import TrainingCallback
from keras_ext.training.base.stack import level_of_user
from keras_ext.training.resume.codec import is_plain


def get_states(callbacks: Iterable[Any]) -> list[tuple[str, Any]]:
    """Return the class name and the state of every callback."""
    states = []
    for callback in callbacks:
        name, state = type(callback).__name__, _get(callback)
        if isinstance(callback, TrainingCallback) and not isinstance(state, dict):
            raise TypeError(
                f"`{name}.get_state` must return a dict. Received: {state!r} of type "
                f"{type(state).__name__}"
            )
        if not is_plain(state):
            raise TypeError(
                f"The state of the callback {name} cannot be saved. Expected: numbers, "
                f"strings, arrays, or lists and dicts of them. Received: {state!r}"
            )
        states.append((name, state))
    return states


def check_methods(callbacks: Iterable[Any]) -> None:
    """Raise `ValueError` if a callback could be saved but not restored."""
    for callback in callbacks:
        says = isinstance(callback, TrainingCallback) and has_own(callback, "get_state")
        if says and not has_own(callback, "set_state"):
            raise ValueError(
                f"{type(callback).__name__} overrides `get_state` without `set_state`, "
                "so a run cannot be continued with it. Override both or neither."
            )


def check_states(callbacks: Iterable[Any], states: Sequence[tuple[str, Any]]) -> None:
    """Raise `ValueError` if there is a state that `get_states` would not have saved.

    For a callback with a method `set_state`, that method has to check.
    """
    for callback, state in _pairs(callbacks, states)[0]:
        if not _takes_state(callback):
            _check(callback, state)


def set_states(
    callbacks: Iterable[Any],
    states: Sequence[tuple[str, Any]],
    *,
    may_lack_some: bool = False,
) -> None:
    """Restore the states of callbacks, matched by class.

    Several of one class are distinguished by their order. Callbacks that existed only
    before, or exist only now, are warned about: the run is then a different one.

    Args:
        callbacks: The callbacks.
        states: Their saved states.
        may_lack_some: Whether those that existed before may be missing.

    Raises:
        ValueError: If the method `set_state` of a callback raises.
    """
    pairs, new, left = _pairs(callbacks, states)
    for callback, state in pairs:
        _set(callback, state)
    for name in [type(one).__name__ for one in new if not _is_empty(_get(one))]:
        warnings.warn(
            f"The checkpoint has no state for {name}, which begins again: it was not "
            "among the callbacks when the checkpoint was saved.",
            stacklevel=level_of_user(),
        )
    lost = [] if may_lack_some else left
    for name in [name for name, state in lost if not _is_empty(state)]:
        warnings.warn(
            f"The checkpoint has the state of a callback {name}, which is not among "
            "the callbacks now. Pass the same callbacks to continue a run.",
            stacklevel=level_of_user(),
        )


def has_own(thing: Any, method: Literal["get_state", "set_state"]) -> bool:
    """Whether an object has such a method, other than a callback's default."""
    if isinstance(thing, TrainingCallback) and method not in vars(thing):
        return getattr(type(thing), method) is not getattr(TrainingCallback, method)
    return hasattr(thing, method)


def give(receiver: Any, state: Any, name: str) -> None:
    """Call the method `set_state` of an object.

    Raises:
        ValueError: If it raises.
    """
    try:
        receiver.set_state(state)
    # User-defined methods may raise anything.
    except Exception as error:
        raise ValueError(
            f"the state of {name} is not one that it accepts: {type(error).__name__}: "
            f"{error}"
        ) from error


def resetting(thing: Any) -> Callable[[], None]:
    """Return a function that restores the current state of an object."""
    attributes = dict(getattr(thing, "__dict__", {}))
    state = None
    # User-defined methods: they may not be ready for it now, and must not hide why a
    # state is reset. The attributes are set in any case.
    with contextlib.suppress(Exception):
        state = thing.get_state() if has_own(thing, "get_state") else None

    def reset() -> None:
        # `set_state` for state elsewhere, such as in a file; the attributes after it,
        # since they are exact, and those added since are dropped.
        with contextlib.suppress(Exception):
            if state is not None:
                thing.set_state(state)
        if attributes:
            vars(thing).clear()
            vars(thing).update(attributes)

    return reset


def _pairs(
    callbacks: Iterable[Any], states: Sequence[tuple[str, Any]]
) -> tuple[list[tuple[Any, Any]], list[Any], list[tuple[str, Any]]]:
    """Return callbacks with their states, callbacks without, and unmatched states."""
    pairs, new, left = [], [], list(states)
    for callback in callbacks:
        name = type(callback).__name__
        number = next((n for n, (its, _) in enumerate(left) if its == name), None)
        if number is None:
            new.append(callback)
        else:
            pairs.append((callback, left.pop(number)[1]))
    return pairs, new, left


def _get(callback: Any) -> Any:
    """Return the result of `get_state`; without it, everything that looks like state.

    That is every attribute that is plain data and was not a constructor argument.
    """
    if has_own(callback, "get_state"):
        return callback.get_state()
    if isinstance(callback, keras.callbacks.ProgbarLogger):
        return {}
    if isinstance(callback, keras.callbacks.History):
        return {"history": callback.history, "epoch": callback.epoch}
    # Constructor arguments are determined by the program, not by a checkpoint: they may
    # be paths or addresses.
    arguments = _arguments(callback)
    # Its folders are derived from an argument.
    folders = isinstance(callback, keras.callbacks.TensorBoard)
    return {
        name: value
        for name, value in vars(callback).items()
        if name.lstrip("_") not in arguments
        and name not in CONTROLS
        and is_plain(value)
        and not (folders and isinstance(value, str))
    }


def _takes_state(callback: Any) -> bool:
    """Whether a method `set_state` checks and sets the state.

    A `TrainingCallback` that returns its state must also accept it.
    """
    says = isinstance(callback, TrainingCallback) and has_own(callback, "get_state")
    return says or has_own(callback, "set_state")


def _arguments(callback: Any) -> set[str]:
    """Return the names of the constructor's arguments."""
    # Keras sets `params` from the arguments of `fit`.
    arguments = {"params"}
    for kind in type(callback).__mro__[:-1]:
        # Base classes too: a subclass may pass on arguments of the same name.
        if "__init__" in vars(kind):
            arguments.update(inspect.signature(vars(kind)["__init__"]).parameters)
    return arguments


def _is_empty(state: Any) -> bool:
    return state is None or (isinstance(state, dict) and not state)


def _set(callback: Any, state: Any) -> None:
    if _takes_state(callback):
        give(callback, state, f"the callback {type(callback).__name__}")
        return
    for name, value in state.items():
        if name not in CONTROLS and not _is_no_value(callback, name, value):
            setattr(callback, name, value)


_MISSING = object()


def _check(callback: Any, state: Any) -> None:
    """Raise `ValueError` if `_get` would not have returned such a state.

    Only attributes that may be state are set: no constructor argument (a path, an
    address), no method, and nothing of a different type.
    """
    owner = type(callback).__name__
    if not isinstance(state, dict):
        raise ValueError(f"the state of the callback {owner} must be a dict")
    known = _get(callback)
    for name, value in state.items():
        # Attributes that control a run were saved once, and are no longer set.
        if name in CONTROLS or _is_no_value(callback, name, value):
            continue
        its = known.get(name, _MISSING) if isinstance(name, str) else _MISSING
        if its is _MISSING and not _may_be_made(callback, name):
            raise ValueError(
                f"the callback {owner} saves no {name!r}, which is not part of its "
                "state"
            )
        # None of Keras's own callbacks has a string where there was nothing.
        of_keras = type(callback).__module__.split(".")[0] == "keras"
        text = its is None and isinstance(value, str) and of_keras
        if text or not _is_alike(its, value):
            raise ValueError(
                f"{name!r} of the callback {owner} must be of type "
                f"{type(its).__name__}. Received: {type(value).__name__}"
            )
    if isinstance(callback, keras.callbacks.History):
        _check_history(state.get("history", {}), state.get("epoch", []))


def _check_history(history: Any, epoch: Any) -> None:
    for number in epoch:
        _checks.non_negative_int("epoch", number)
    lists = all(_kind(values) == "list" for values in history.values())
    if not lists or any(len(values) > len(epoch) for values in history.values()):
        raise ValueError(
            "the state of History must hold a list for each name, of at most "
            f"{len(epoch)} values. Received: {history!r}"
        )


def _is_no_value(callback: Any, name: Any, value: Any) -> bool:
    """Whether there was nothing where there is now an object that is not state."""
    return (
        # For example, a file that `on_train_begin` opened must stay.
        value is None and name in vars(callback) and not is_plain(vars(callback)[name])
    )


def _may_be_made(callback: Any, name: Any) -> bool:
    """Whether a missing attribute may be added in the course of training."""
    fixed = isinstance(
        callback, (keras.callbacks.History, keras.callbacks.ProgbarLogger)
    )
    if fixed or not isinstance(name, str) or not name.isidentifier():
        return False
    if name in vars(callback) or name in _OF_A_LOOP or name.startswith("__"):
        return False
    # A class may hold the initial value.
    of_class = inspect.getattr_static(type(callback), name, None)
    return name.lstrip("_") not in _arguments(callback) and is_plain(of_class)


CONTROLS = frozenset({"batch_hook_freq", "request", "traced_with"})
"""What a callback declares about the current run, which is not its state."""

_OF_A_LOOP = CONTROLS | {
    "after_compiled_step",
    "before_compiled_step",
    "get_state",
    "schedule",
    "set_state",
}
"""Attributes that `Loop` looks for in a callback."""


def _is_alike(its: Any, value: Any) -> bool:
    """Whether a value can have developed from the initial one of a callback.

    Numbers of Python, NumPy and TensorFlow are interchangeable, and so are lists,
    tuples and arrays; before there is a value, it is often `None`.
    """
    return its is _MISSING or its is None or value is None or _kind(its) == _kind(value)


def _kind(value: Any) -> str:
    kinds: dict[str, Any] = {"text": str, "set": (set, frozenset), "dict": dict}
    sequence = isinstance(value, (list, tuple, collections.deque))
    if sequence or len(getattr(value, "shape", ())):
        return "list"
    found = (name for name, kind in kinds.items() if isinstance(value, kind))
    return next(found, "number")
