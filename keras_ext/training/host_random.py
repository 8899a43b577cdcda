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
        "python": (version, np.array(numbers, "uint32"), gauss),
        "numpy": np.random.get_state(),
    }


def set_state(state: dict[str, Any]) -> None:
    """Set what `get_state` has returned."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers.tolist()), gauss))
    np.random.set_state(state["numpy"])


@contextlib.contextmanager
def untouched() -> Iterator[None]:
    """Leave the state as it is, whatever is drawn in the block."""
    state = get_state()
    try:
        yield
    finally:
        set_state(state)
