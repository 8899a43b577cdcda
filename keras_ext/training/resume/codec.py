"""Nested Python values as JSON and a list of arrays, and back."""

import collections
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

_KIND = "__kind__"
_BASIC = frozenset({bool, int, float, str, type(None)})
_DTYPES = {
    "bool",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    *("bfloat16", "float16", "float32", "float64", "complex64", "complex128"),
}
_DEQUE = collections.deque
_SEQUENCES: dict[str, type] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "deque": _DEQUE,
}
_MAPPINGS: dict[str, type] = {
    "dict": dict,
    "Counter": collections.Counter,
    "OrderedDict": collections.OrderedDict,
}


def is_plain(value: Any) -> bool:
    """Whether `pack` accepts `value`: numbers, strings, arrays, and nests of them."""
    # The exact type: an object of a subclass would be read back as something else.
    kind = type(value)
    if kind is list or kind in _SEQUENCES.values():
        return all(map(is_plain, value))
    if kind in _MAPPINGS.values():
        return all(map(is_plain, (*value, *value.values())))
    return kind in _BASIC or _is_numeric(value)


def pack(value: Any) -> tuple[str, list[Any]]:
    """Return `value` as JSON, and the arrays that the JSON refers to by number.

    Raises:
        TypeError: If it contains anything other than plain data.
    """
    arrays: list[Any] = []

    def packed(value: Any) -> Any:
        kind = type(value)
        if kind in _BASIC:
            return value
        if kind is list:
            return list(map(packed, value))
        if kind in _SEQUENCES.values():
            items = {_KIND: kind.__name__, "items": list(map(packed, value))}
            return {**items, "maxlen": value.maxlen} if kind is _DEQUE else items
        if kind in _MAPPINGS.values():
            pairs = [[packed(key), packed(item)] for key, item in value.items()]
            # Other keys would be read back as strings, and `_KIND` marks values that
            # are not objects.
            if kind is dict and _KIND not in value and _has_names(value):
                return dict(pairs)
            return {_KIND: kind.__name__, "items": pairs}
        if not _is_numeric(value):
            raise TypeError(
                "Expected numbers, strings, numeric arrays, or lists, tuples, sets and "
                f"dicts of them. Received: {value!r} of type {kind.__name__}"
            )
        if isinstance(value, np.generic):
            return {_KIND: "number", "array": add(np.asarray(value))}
        return {_KIND: "array", "array": add(value)}

    def add(array: Any) -> int:
        # NumPy arrays may be changed before they are written.
        arrays.append(np.array(array) if isinstance(array, np.ndarray) else array)
        return len(arrays) - 1

    return json.dumps(packed(value)), arrays


def unpack(packed: Any, arrays: Sequence[Any]) -> Any:
    """Return the value passed to `pack`; all arrays are NumPy arrays.

    Args:
        packed: The parsed JSON that `pack` returned.
        arrays: The arrays.

    Raises:
        ValueError: If `packed` is not something that `pack` returns.
    """

    def array(item: Mapping[str, Any]) -> np.ndarray:
        number = item["array"]
        # In Python, `True` is also an `int`, and -1 the last item of a list.
        if type(number) is not int or not 0 <= number < len(arrays):
            raise IndexError(f"array number {number!r} of {len(arrays)}")
        return np.asarray(arrays[number])

    def single(item: Mapping[str, Any]) -> Any:
        if array(item).shape:
            raise ValueError(f"a number of shape {array(item).shape}")
        return array(item)[()]

    def sequence(kind: type) -> Callable[[Any], Any]:
        return lambda item: kind(map(unpacked, item["items"]))

    def mapping(kind: type) -> Callable[[Any], Any]:
        return lambda item: kind(
            {unpacked(key): unpacked(value) for key, value in item["items"]}
        )

    kinds: dict[str, Callable[[Any], Any]] = {
        "number": single,
        "array": array,
        **{name: sequence(kind) for name, kind in _SEQUENCES.items()},
        "deque": lambda item: _DEQUE(map(unpacked, item["items"]), item["maxlen"]),
        **{name: mapping(kind) for name, kind in _MAPPINGS.items()},
    }

    def unpacked(value: Any) -> Any:
        if isinstance(value, list):
            return list(map(unpacked, value))
        if not isinstance(value, Mapping):
            return value
        if _KIND in value:
            # Only classes in this table are created, whatever the file names.
            return kinds[value[_KIND]](value)
        return {key: unpacked(item) for key, item in value.items()}

    try:
        return unpacked(packed)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(
            f"its state is not one that Checkpoint saves: {type(error).__name__}: "
            f"{error}"
        ) from error


def _is_numeric(value: Any) -> bool:
    """Whether `value` is a NumPy array or number that can be written."""
    if type(value) is not np.ndarray and not isinstance(value, (np.generic, tf.Tensor)):
        return False
    return getattr(value.dtype, "name", None) in _DTYPES


def _has_names(mapping: Mapping[Any, Any]) -> bool:
    return all(type(key) is str for key in mapping)
