"""Argument checks whose messages say what was expected and what was received."""

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops


def integer(name: str, value: Any, *, low: int | None = None) -> int:
    """Return `value` if it is an integer of at least `low`, else raise."""
    if _is_int(value) and (low is None or value >= low):
        return int(value)
    kinds = {None: "an integer", 0: "a non-negative integer", 1: "a positive integer"}
    kind = kinds.get(low, f"an integer of at least {low}")
    raise ValueError(f"`{name}` must be {kind}. Received: {name}={value!r}")


def positive_int(name: str, value: Any) -> int:
    """Return `value` if it is an integer of at least 1, else raise `ValueError`."""
    return integer(name, value, low=1)


def non_negative_int(name: str, value: Any) -> int:
    """Return `value` if it is an integer of at least 0, else raise `ValueError`."""
    return integer(name, value, low=0)


def odd_int(name: str, value: Any) -> int:
    """Return `value` if it is a positive odd integer, else raise `ValueError`."""
    if _is_int(value) and value >= 1 and value % 2:
        return int(value)
    raise ValueError(
        f"`{name}` must be a positive odd integer. Received: {name}={value!r}"
    )


def optional(check: Callable[..., Any], name: str, value: Any, **options: Any) -> Any:
    """Return `None` for `None`, and `check(name, value)` for anything else."""
    return None if value is None else check(name, value, **options)


def optional_int(name: str, value: Any) -> int | None:
    """Return `value` if it is an integer or `None`, else raise `ValueError`."""
    return None if value is None else integer(name, value)


def positive_ints(name: str, value: Any) -> tuple[int, ...]:
    """Return a tuple of positive integers, at least one, else raise `ValueError`."""
    if isinstance(value, (list, tuple)) and value:
        return tuple(positive_int(f"{name}[{i}]", one) for i, one in enumerate(value))
    raise ValueError(
        f"`{name}` must be a list of positive integers. Received: {name}={value!r}"
    )


def int_or_pair(name: str, value: Any) -> int | tuple[int, int]:
    """Return a positive integer or a tuple of two of them, else raise `ValueError`."""
    if _is_int(value) and value >= 1:
        return int(value)
    if isinstance(value, (list, tuple)) and len(value) == 2:
        first, second = value
        if _is_int(first) and _is_int(second) and min(first, second) >= 1:
            return int(first), int(second)
    raise ValueError(
        f"`{name}` must be a positive integer or a pair of positive integers. "
        f"Received: {name}={value!r}"
    )


def number(
    name: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """Return `value` if it is a finite number in the interval, else raise.

    Args:
        name: Argument name, for the message.
        value: Value that the caller passed.
        low: Lower end of the interval.
        high: Upper end of the interval.
        open_low: Whether `low` itself is excluded.
        open_high: Whether `high` itself is excluded.

    Raises:
        ValueError: If `value` is not a number, not finite or outside the interval.
    """
    if _is_real(value) and math.isfinite(value):
        above = value > low if open_low else value >= low
        below = value < high if open_high else value <= high
        if above and below:
            return float(value)
    left = "(" if open_low or low == -math.inf else "["
    right = ")" if open_high or high == math.inf else "]"
    raise ValueError(
        f"`{name}` must be a finite number in {left}{low:g}, {high:g}{right}. "
        f"Received: {name}={value!r}"
    )


def path(name: str, value: Any) -> str:
    """Return a path as a string, or raise `TypeError` if `value` is not one."""
    if value and isinstance(value, (str, bytes, os.PathLike)):
        return os.fsdecode(value)
    raise TypeError(
        f"`{name}` must be a path. Received: {value!r} of type {type(value).__name__}"
    )


def is_list(value: Any) -> bool:
    """Return whether `value` is a list, a tuple, a range or an array of one axis."""
    is_array = len(getattr(value, "shape", ())) == 1
    return is_array or isinstance(value, (list, tuple, range))


def number_or_list(name: str, value: Any, **interval: Any) -> float | list[float]:
    """Return a number or a list of numbers, each in the interval of `number`."""
    if is_list(value):
        if not len(value):
            raise ValueError(f"`{name}` must not be empty. Received: {name}={value!r}")
        return [number(f"{name}[{i}]", v, **interval) for i, v in enumerate(value)]
    return number(name, value, **interval)


def one_of(name: str, value: Any, choices: Sequence[Any]) -> Any:
    """Return `value` if it is one of `choices`, else raise `ValueError`."""
    if any(value is choice or value == choice for choice in choices):
        return value
    listed = ", ".join(repr(choice) for choice in choices)
    raise ValueError(f"`{name}` must be one of {listed}. Received: {name}={value!r}")


def rank(layer: str, shape: Sequence[int | None], expected: int, names: str) -> None:
    """Raise `ValueError` unless `shape` has `expected` axes, called `names`."""
    if len(shape) != expected:
        raise ValueError(
            f"{layer} expects an input of rank {expected}, shaped {names}. Received: "
            f"input of rank {len(shape)}, shape={tuple(shape)}"
        )


def known_channels(layer: str, shape: Sequence[int | None], axis: int) -> int:
    """Return the size of the channel axis, or raise if it is not known."""
    channels = shape[axis]
    if channels is None:
        raise ValueError(
            f"{layer} needs the size of the channel axis (axis {axis}) to build its "
            f"weights. Received: shape={tuple(shape)}. Give `keras.Input` a shape with "
            "a known channel axis."
        )
    return channels


def shapes_agree(shape: Sequence[int | None], expected: Sequence[int | None]) -> bool:
    """Return whether two static shapes can be the same at run time."""
    return len(shape) == len(expected) and all(
        size is None or other is None or size == other
        for size, other in zip(shape, expected, strict=True)
    )


def first_offender(values: Any, valid: Any) -> Any | None:
    """Return the first of `values` that is not `valid`, as a Python value.

    Values can be read only in eager execution. Returns `None` if all are valid, or if
    the code is being traced.
    """
    # TensorFlow's symbolic tensors have a graph. Reading their values is an error,
    # preceded by a NumPy warning.
    if isinstance(valid, keras.KerasTensor) or hasattr(valid, "graph"):
        return None
    try:
        offends = ~ops.convert_to_numpy(valid)
        if not offends.any():
            return None
        offenders = ops.convert_to_numpy(values)[offends]
    except (NotImplementedError, TypeError):  # raised in a trace
        return None
    return offenders[0].tolist()


def _is_int(value: Any) -> bool:
    """Return whether `value` is a Python or NumPy integer, not a boolean or array."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        return False
    return not getattr(value, "shape", ())


def _is_real(value: Any) -> bool:
    """Return whether `value` is a real number, not a boolean, string or array."""
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
        return False
    return not getattr(value, "shape", ())
