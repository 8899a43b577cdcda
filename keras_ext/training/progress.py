"""How much is printed, and for whom."""

import sys
from typing import Literal

from keras_ext import _checks

Verbose = Literal["auto", 0, 1, 2]


def resolve_verbose(verbose: Verbose) -> Literal[0, 1, 2]:
    """Turn `"auto"` into a bar for people and one line per epoch for files."""
    _checks.one_of("verbose", verbose, ("auto", 0, 1, 2))
    if verbose != "auto":
        return verbose
    interactive = getattr(sys.stdout, "isatty", bool)() or "ipykernel" in sys.modules
    return 1 if interactive else 2
