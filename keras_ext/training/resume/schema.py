"""Checks, before its use, that what was read from a checkpoint is what a run saves."""

import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_ext.training.base import host_random
from keras_ext.training.resume.contents import Contents, Saved

# Integers of TensorFlow and NumPy have 64 bits, one of them for the sign.
_MOST = 2**63


def _is_count(value: Any) -> bool:
    is_int = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return is_int and 0 <= value < _MOST


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


COUNT = "a non-negative integer", _is_count
NUMBER = "a number", _is_number
FLAG = "a boolean", lambda value: isinstance(value, (bool, np.bool_))
TEXT = "a string", lambda value: isinstance(value, str)
ANYTHING = "anything", lambda value: True
SIZE = "a size", lambda value: value is None or _is_count(value)
PASS = "a number or 'validation'", lambda x: x == "validation" or _is_count(x)


@dataclass(frozen=True)
class OrNone:
    """A kind that may be missing.

    Args:
        kind: Its kind if it is present.
    """

    kind: Any


@dataclass(frozen=True)
class Named:
    """A dict from strings to values of one kind.

    Args:
        kind: The kind.
    """

    kind: Any


VARIABLES = [(TEXT, TEXT, [SIZE], TEXT)]
_HELD = [{"odd": FLAG, "count": COUNT, "leaves": [ANYTHING]}]
_COMPILED = {"made": COUNT, "regular": OrNone([[SIZE]])}
_RUN = {
    "loop": {"epoch": COUNT, "seed": COUNT, "steps_made": COUNT, "stopped": FLAG},
    "epoch": OrNone(
        {
            "step": COUNT,
            "passes": COUNT,
            "pass_steps": COUNT,
            "pass_is_over": FLAG,
            "logs": {"values": Named(ANYTHING), "totals": Named((NUMBER, NUMBER))},
            "validation": Named(ANYTHING),
        }
    ),
    "callbacks": [(TEXT, ANYTHING)],
    "others": Named(ANYTHING),
    "compiled": OrNone({"train": _COMPILED, "test": _COMPILED}),
    "random": ANYTHING,
    "sources": [(PASS, Named(ANYTHING), Named(ANYTHING), OrNone([COUNT]))],
    "variables": VARIABLES,
    "reset": [COUNT],
}
_OF_A_SOURCE = {
    "seed": COUNT,
    "began": OrNone((COUNT, COUNT)),
    "source": Named(ANYTHING),
    "held": _HELD,
    "batch_size": OrNone(COUNT),
    "usual": OrNone([[COUNT]]),
}
# Only known within an epoch; checkpoints of earlier versions never have them.
_NOT_REQUIRED = {"batch_size", "usual"}
_STOCK = {"loop": {"epoch": COUNT}, "random": ANYTHING, "variables": VARIABLES}


class NotSavedError(ValueError):
    """Raised for a value that a run does not save; names its place."""


def check_run(saved: Saved) -> None:
    """Raise `ValueError` unless a `Loop` saves such a state, with such variables."""
    try:
        state = saved.state
        check(state, _RUN, "state")
        _check_random(state["random"])
        _check_variables(state["variables"], [_kind(one) for one in saved.variables])
        for number in state["reset"]:
            _check_below("reset", number, len(saved.variables))
        for name, _, of_source, iterators in state["sources"]:
            check_source(of_source, f"source {name!r}")
            for number in iterators or ():
                _check_below("an iterator", number, saved.iterators)
        _check_epoch(state["epoch"])
        _check_replicas(state, saved.variables)
    except NotSavedError as error:
        raise unusable(saved.path, error) from None


def check_stock(saved: Saved) -> None:
    """Raise `ValueError` unless a Checkpoint in `keras.Model.fit` saves such a state.

    A `Loop` saves all of it, and more.
    """
    try:
        check(saved.state, _STOCK, "state")
        _check_random(saved.state["random"])
        variables = [_kind(one) for one in saved.variables]
        _check_variables(saved.state["variables"], variables)
    except NotSavedError as error:
        raise unusable(saved.path, error) from None


def descriptions_in(contents: Contents) -> list[Any]:
    """Return the descriptions of variables in a checkpoint that is not read yet.

    Raises:
        ValueError: If its tensors are different.
    """
    found = contents.raw("variables")
    try:
        check(found, VARIABLES, "state['variables']")
        _check_variables(found, contents.variables)
    except NotSavedError as error:
        raise unusable(contents.path, error) from None
    return list(found)


def check_source(state: Any, where: str) -> None:
    """Raise `NotSavedError` unless some source of batches saves such a state."""
    check(state, Named(ANYTHING), where)
    for name, value in state.items():
        if name not in _OF_A_SOURCE:
            raise NotSavedError(f"{where} must not have {name!r}")
        check(value, _OF_A_SOURCE[name], f"{where}[{name!r}]")
    if "source" in state:
        check_source(state["source"], f"{where}['source']")


def check_keys(state: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Raise `NotSavedError` if a state lacks an entry that another one requires."""
    for name, value in expected.items():
        if name not in state and name not in _NOT_REQUIRED:
            raise NotSavedError(f"the position in the data must have {name!r}")
        if isinstance(value, Mapping):
            check_keys(state[name], value)


def check(value: Any, kind: Any, where: str) -> None:
    """Raise `NotSavedError` unless a value is of a kind.

    Args:
        value: Plain data.
        kind: A dict of kinds by name, `Named`, a list with the kind of all items, a
            tuple of the kinds of each, `OrNone`, or a description and a function that
            checks whether a value matches it.
        where: Name of the value.
    """
    if isinstance(kind, OrNone):
        if value is not None:
            check(value, kind.kind, where)
    elif isinstance(kind, Named):
        _expect("a dict", isinstance(value, dict), value, where)
        for name, item in value.items():
            _expect("a string", isinstance(name, str), name, f"a name in {where}")
            check(item, kind.kind, f"{where}[{name!r}]")
    elif isinstance(kind, dict):
        _expect("a dict", isinstance(value, dict), value, where)
        for name, of_one in kind.items():
            _expect(f"a dict with {name!r}", name in value, value, where)
            check(value[name], of_one, f"{where}[{name!r}]")
    elif isinstance(kind, tuple) and callable(kind[1]):
        # A leaf is also a tuple: a description and a function.
        expected, test = kind
        _expect(expected, test(value), value, where)
    else:
        _expect("a list", isinstance(value, (list, tuple)), value, where)
        kinds = kind * len(value) if isinstance(kind, list) else kind
        _expect(f"of length {len(kinds)}", len(value) == len(kinds), value, where)
        for number, (one, of_one) in enumerate(zip(value, kinds, strict=True)):
            check(one, of_one, f"{where}[{number}]")


def unusable(path: str, problem: BaseException) -> ValueError:
    """Return the error for a checkpoint that no run can have saved."""
    kind = "" if isinstance(problem, ValueError) else f"{type(problem).__name__}: "
    return ValueError(
        f"The checkpoint {path!r} cannot be used: {kind}{problem}. Expected: an "
        "unchanged checkpoint saved by keras_ext.callbacks.Checkpoint. Remove it to "
        "continue from the one before it, or choose another folder."
    )


def _expect(expected: str, found: bool, value: Any, where: str) -> None:
    if not found:
        raise NotSavedError(
            f"{where} must be {expected}. Received: {reprlib.repr(value)}"
        )


def _check_below(where: str, number: int, most: int) -> None:
    _expect(f"less than {most}", number < most, number, f"the number of {where}")


def _check_random(state: Any) -> None:
    try:
        host_random.check_state(state)
    except ValueError as error:
        raise NotSavedError(str(error)) from None


def _check_variables(descriptions: Any, tensors: list[Any]) -> None:
    """Compare the descriptions of the variables in the state with the variables."""
    _expect(
        f"a list of {len(tensors)}, the number of variables",
        len(descriptions) == len(tensors),
        descriptions,
        "state['variables']",
    )
    pairs = zip(descriptions, tensors, strict=True)
    for (_, name, shape, dtype), (found, its_dtype) in pairs:
        fits = len(shape) == len(found) and all(
            size in (None, its) for size, its in zip(shape, found, strict=True)
        )
        _expect(
            f"of shape {tuple(found)} and type {its_dtype}, as its values are",
            fits and dtype == its_dtype,
            (tuple(shape), dtype),
            # A name from a file may contain terminal control sequences.
            f"the variable {re.sub('[^ -~]', '?', name)[:80]!r}",
        )


def _check_replicas(state: Mapping[str, Any], variables: Sequence[Any]) -> None:
    """Check what checkpoints of earlier versions lack: the parts of replicas."""
    check(state.get("workers"), OrNone(COUNT), "state['workers']")
    check(state.get("replicas"), OrNone([(COUNT, ANYTHING)]), "state['replicas']")
    for number, parts in state.get("replicas") or ():
        _check_below("replicas", number, len(variables))
        shape, dtype = _kind(variables[number])
        found, its_dtype = _kind(parts)
        _expect(
            f"arrays of shape {tuple(shape)} and type {dtype}",
            len(found) > 0 and found[1:] == shape and its_dtype == dtype,
            parts,
            "state['replicas']",
        )


def _check_epoch(epoch: Any) -> None:
    if epoch is not None and epoch["pass_steps"] > epoch["step"]:
        raise NotSavedError(
            f"a pass of {epoch['pass_steps']} steps is part of an epoch of "
            f"{epoch['step']}"
        )


def _kind(array: Any) -> tuple[list[int], str]:
    dtype = getattr(array, "dtype", None)
    # TensorFlow reads strings as `bytes`, or an array of objects.
    name = "string" if dtype == np.dtype("O") else getattr(dtype, "name", "string")
    return list(getattr(array, "shape", ())), name
