"""The contents of a checkpoint: first inspected, then read, no more than expected."""

import json
import math
import os
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from keras_ext.training.resume.codec import unpack

FORMAT = 1
"""The format of written checkpoints; see `_check_format`."""

STATE = "state/.ATTRIBUTES/py_state"
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def variable_key(number: int) -> str:
    """Return the name of a variable in a checkpoint."""
    return f"variables/{number}/.ATTRIBUTES/VARIABLE_VALUE"


def iterator_key(number: int) -> str:
    """Return the name of a dataset's iterator in a checkpoint."""
    return f"iterators/{number}/.ATTRIBUTES/ITERATOR_STATE"


_WRITERS = ("keras_ext", "keras", "tensorflow")


@dataclass(frozen=True)
class Saved:
    """The contents read from a checkpoint.

    Args:
        path: The checkpoint, as `tf.train.load_checkpoint` accepts it.
        state: The state saved in addition to the variables.
        variables: The values of the variables.
        iterators: Number of dataset iterators.
    """

    path: str
    state: Any
    variables: Sequence[Any]
    iterators: int = 0

    def restore_iterator(self, number: int, iterator: Any) -> None:
        """Make a dataset's iterator continue where the saved one stopped."""
        # Iterators are found by their position in the list, so others precede it.
        saved = tf.train.Checkpoint(iterators=[tf.train.Checkpoint()] * number)
        saved.iterators.append(iterator)
        saved.read(self.path).expect_partial()


class OtherFormatError(ValueError):
    """Raised for a complete checkpoint that another version has to read."""


class Contents:
    """The declared contents of a checkpoint, whose tensors are not read yet.

    Args:
        path: The checkpoint.

    Attributes:
        path: The same.
        variables: Shape and type of every variable.

    Raises:
        OtherFormatError: If it has a format unknown to this version.
        ValueError: If it is not a checkpoint that `CheckpointStore` writes.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._reader = tf.train.load_checkpoint(path)
        shapes = self._reader.get_variable_to_shape_map()
        types = self._reader.get_variable_to_dtype_map()
        if STATE not in shapes:
            raise ValueError("it was not written by keras_ext.callbacks.Checkpoint")
        self._values = list(_numbered(variable_key, shapes))
        self._iterators = list(_numbered(iterator_key, shapes))
        known = {STATE, GRAPH, *self._values, *self._iterators}
        strange = sorted(set(shapes) - known)
        if strange:
            raise ValueError(f"it holds {strange[0]!r}, which Checkpoint does not save")
        _check_size(path, shapes, types)
        if shapes[STATE] or types[STATE] != tf.string:
            raise ValueError("its state is not a string")
        content = json.loads(self._reader.get_tensor(STATE).decode())
        # First of all: the rest may look different in another format.
        if isinstance(content, dict):
            _check_format(path, content)
        if not isinstance(content, dict) or not {"variables", "state"} <= set(content):
            raise ValueError("its state is not one that Checkpoint saves")
        count, self._state = content["variables"], content["state"]
        if type(count) is not int or not 0 <= count <= len(self._values):
            raise ValueError(f"it has {len(self._values)} tensors, not {count!r}")
        # `CheckpointStore.write` puts the arrays of the state before the variables.
        self._arrays = len(self._values) - count
        self.variables = [
            (shapes[name], types[name].name) for name in self._values[self._arrays :]
        ]

    def raw(self, name: str) -> Any:
        """Return a part of the state as in the JSON, or `None` if it is missing."""
        return self._state.get(name) if isinstance(self._state, Mapping) else None

    def read(self) -> Saved:
        """Return everything; every byte is read and its checksum verified."""
        # Read only to verify the checksums; `restore_iterator` restores them later.
        for name in self._iterators:
            tf.raw_ops.RestoreV2(
                prefix=self.path,
                tensor_names=[name],
                shape_and_slices=[""],
                dtypes=[tf.variant],
            )
        self._reader.get_tensor(GRAPH)
        values = [self._reader.get_tensor(name) for name in self._values]
        state = unpack(self._state, values[: self._arrays])
        variables = values[self._arrays :]
        return Saved(self.path, state, variables, len(self._iterators))


def _check_format(path: str, content: Mapping[str, Any]) -> None:
    """Raise `OtherFormatError` unless a checkpoint has a format that can be read.

    Those without a number predate it, and are like those of format 1. A format gets a
    new number if this version could not read it.
    """
    found = content.get("format", FORMAT)
    if found == FORMAT and type(found) is int:
        return
    versions = content.get("versions")
    by = versions if isinstance(versions, Mapping) else {}
    names = [f"{name} {reprlib.repr(by[name])}" for name in _WRITERS if name in by]
    writer = ", ".join(names) or "an unknown version"
    raise OtherFormatError(
        f"The checkpoint {path!r} has format {reprlib.repr(found)}, written by "
        f"{writer}. Expected: format {FORMAT}. Read it with the version of keras_ext "
        "that wrote it, or a later one; or choose another folder."
    )


def _numbered(key: Any, names: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names for the numbers from 0, as long as they exist."""
    number = 0
    while key(number) in names:
        yield key(number)
        number += 1


def _check_size(
    path: str, shapes: Mapping[str, Sequence[int]], types: Mapping[str, Any]
) -> None:
    """Raise `ValueError` if there are more values than fit into the files.

    A file may claim that many tensors are at the same place, or that one is larger than
    the file; memory would be allocated for all of them.
    """
    folder, name = os.path.split(path)
    data = f"{name}.data-"
    with os.scandir(folder or os.curdir) as entries:
        there = sum(one.stat().st_size for one in entries if one.name.startswith(data))
    # For strings and iterators, at least a byte each.
    claimed = sum(
        math.prod(shape) * max(types[name].size or 1, 1)
        for name, shape in shapes.items()
    )
    if claimed > there or any(size < 0 for shape in shapes.values() for size in shape):
        raise ValueError(
            f"its tensors are said to take {claimed} bytes, but its files have {there}"
        )
