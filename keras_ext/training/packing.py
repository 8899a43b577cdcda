"""Nested Python values as JSON and a list of arrays, and back."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

_KIND = "__kind__"


def is_plain(value: Any) -> bool:
    """Whether `pack` takes `value`: numbers, strings, arrays, and nests of them."""
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(map(is_plain, (*value, *value.values())))
    if isinstance(value, np.ndarray):
        return not value.dtype.hasobject
    basic = (bool, int, float, str, type(None), np.number, np.bool_)
    return isinstance(value, basic) or keras.ops.is_tensor(value)


def pack(value: Any) -> tuple[str, list[Any]]:
    """Return `value` as JSON, and the arrays that the JSON refers to by number.

    Raises:
        TypeError: If there is something in it that is not plain data.
    """
    arrays: list[Any] = []

    def packed(value: Any) -> Any:
        if isinstance(value, np.generic):
            return {_KIND: "number", "array": add(np.asarray(value))}
        if isinstance(value, np.ndarray) or keras.ops.is_tensor(value):
            return {_KIND: "array", "array": add(value)}
        if isinstance(value, tuple):
            return {_KIND: "tuple", "items": [packed(item) for item in value]}
        if isinstance(value, list):
            return [packed(item) for item in value]
        if isinstance(value, dict):
            pairs = [[packed(key), packed(item)] for key, item in value.items()]
            if all(isinstance(key, str) for key in value) and _KIND not in value:
                return dict(pairs)
            return {_KIND: "dict", "items": pairs}
        if is_plain(value):
            return value
        raise TypeError(
            "Expected numbers, strings, arrays, or lists, tuples and dicts of them. "
            f"Received: {value!r} of type {type(value).__name__}"
        )

    def add(array: Any) -> int:
        # NumPy's may be changed before they are written.
        arrays.append(np.array(array) if isinstance(array, np.ndarray) else array)
        return len(arrays) - 1

    return json.dumps(packed(value)), arrays


def unpack(text: str, arrays: Sequence[Any]) -> Any:
    """Return what `pack` was given; all arrays are NumPy's."""
    kinds: dict[str, Callable[[Any], Any]] = {
        "number": lambda item: np.asarray(arrays[item["array"]])[()],
        "array": lambda item: np.asarray(arrays[item["array"]]),
        "tuple": lambda item: tuple(map(unpacked, item["items"])),
        "dict": lambda item: {unpacked(k): unpacked(v) for k, v in item["items"]},
    }

    def unpacked(value: Any) -> Any:
        if isinstance(value, list):
            return list(map(unpacked, value))
        if not isinstance(value, Mapping):
            return value
        if _KIND in value:
            return kinds[value[_KIND]](value)
        return {key: unpacked(item) for key, item in value.items()}

    return unpacked(json.loads(text))
