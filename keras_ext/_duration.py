"""Durations in human-readable form."""

import math
import re
from typing import Any

import numpy as np

_NUMBERS = (int, float, np.integer, np.floating)
_SECONDS = {"d": 86400.0, "h": 3600.0, "min": 60.0, "s": 1.0}


def seconds(name: str, value: Any) -> float:
    """Return the seconds in `"90s"`, `"10min"`, `"1h30min"`, or a number of seconds.

    Args:
        name: The argument's name, for the message.
        value: Value that the caller passed.

    Raises:
        ValueError: If `value` is not a duration above 0.
    """
    if isinstance(value, str):
        parts = re.findall(r"(\d+(?:\.\d+)?)\s*(d|h|min|s)\s*", value.strip())
        written = "".join(number + unit for number, unit in parts)
        total = sum(float(number) * _SECONDS[unit] for number, unit in parts)
        if total > 0 and written == re.sub(r"\s", "", value):
            return total
    elif (
        isinstance(value, _NUMBERS) and type(value) is not bool and 0 < value < math.inf
    ):
        return float(value)
    raise ValueError(
        f"`{name}` must be a length of time: a positive number of seconds, or a string "
        f"such as '90s', '10min', '2h' or '1h30min'. Received: {name}={value!r}"
    )
