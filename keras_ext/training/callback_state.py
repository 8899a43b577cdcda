"""What callbacks remember, to be saved and given back to them."""

import inspect
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import keras

from keras_ext.training.packing import is_plain


def get_states(callbacks: Iterable[Any]) -> list[tuple[str, Any]]:
    """Return the name of every callback's class, and its state."""
    states = []
    for callback in callbacks:
        name, state = type(callback).__name__, _get(callback)
        if not is_plain(state):
            raise TypeError(
                f"The state of the callback {name} can't be saved. Expected: numbers, "
                f"strings, arrays, or lists and dicts of them. Received: {state!r}"
            )
        states.append((name, state))
    return states


def set_states(callbacks: Iterable[Any], states: Sequence[tuple[str, Any]]) -> None:
    """Give callbacks the states back that callbacks of their class had.

    Several of one class are told apart by their order. What there is only before or
    only now is warned about: the run is then another one.
    """
    remaining = list(states)
    for callback in callbacks:
        name = type(callback).__name__
        found = next((item for item in remaining if item[0] == name), None)
        if found is not None:
            remaining.remove(found)
            _set(callback, found[1])
        elif not _is_empty(_get(callback)):
            warnings.warn(
                f"The checkpoint has no state for {name}, which begins anew: it was "
                "not among the callbacks when the checkpoint was saved.",
                stacklevel=2,
            )
    for name, state in remaining:
        if not _is_empty(state):
            warnings.warn(
                f"The checkpoint has the state of a callback {name}, which is not "
                "among the callbacks now. Pass the same callbacks to continue a run.",
                stacklevel=2,
            )


def _get(callback: Any) -> Any:
    """Return what `get_state` says; of others, all that looks like state.

    That is every attribute which is plain data and was not a constructor argument.
    """
    if hasattr(callback, "get_state"):
        return callback.get_state()
    if isinstance(callback, keras.callbacks.ProgbarLogger):
        return {}
    if isinstance(callback, keras.callbacks.History):
        return {"history": callback.history, "epoch": callback.epoch}
    arguments = {"params"}
    for kind in type(callback).__mro__[:-1]:
        if "__init__" in vars(kind):
            arguments.update(inspect.signature(vars(kind)["__init__"]).parameters)
    # Its folders are made of an argument.
    folders = isinstance(callback, keras.callbacks.TensorBoard)
    return {
        name: value
        for name, value in vars(callback).items()
        if name.lstrip("_") not in arguments
        and is_plain(value)
        and not (folders and isinstance(value, str))
    }


def _is_empty(state: Any) -> bool:
    return state is None or (isinstance(state, dict) and not state)


def _set(callback: Any, state: Any) -> None:
    if hasattr(callback, "set_state"):
        callback.set_state(state)
        return
    for name, value in state.items():
        setattr(callback, name, value)
