"""The random numbers of Python and NumPy, whose state belongs to the process."""

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np


def get_state() -> dict[str, Any]:
    """Return the state of `random` and of NumPy's global generator."""
    version, numbers, gauss = random.getstate()
    return {
        # As an array: a checkpoint would write a tuple of 625 numbers out as JSON.
        "python": (version, np.array(numbers, "uint32"), gauss),
        "numpy": np.random.get_state(),
    }


def set_state(state: dict[str, Any]) -> None:
    """Set a state that `get_state` returned."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers.tolist()), gauss))
    np.random.set_state(state["numpy"])


def check_state(state: Any) -> None:
    """Raise `ValueError` unless `set_state` can set a state, for these generators.

    Older versions of NumPy do not check the position, and read past their numbers.
    """
    try:
        version, numbers, gauss = state["python"]
        # Tried on new generators, so that an invalid state changes nothing.
        random.Random().setstate((version, tuple(numbers.tolist()), gauss))
        kind = type(np.random.get_bit_generator())
        np.random.RandomState(kind()).set_state(state["numpy"])
        # Only MT19937's state is a tuple with a position; those of others are dicts.
        position = state["numpy"][2] if kind is np.random.MT19937 else 0
        # `setstate` accepts anything as `gauss`; `random.gauss` would fail much later.
        if not 0 <= position <= 624 or not isinstance(gauss, (float, type(None))):
            raise ValueError(f"position {position!r}, {gauss!r}")
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        raise ValueError(
            "the random numbers of Python or NumPy have no such state: "
            f"{type(error).__name__}: {error}"
        ) from None


@contextlib.contextmanager
def untouched() -> Iterator[None]:
    """Restore the state after the block, whatever was drawn in it."""
    state = get_state()
    try:
        yield
    finally:
        set_state(state)
