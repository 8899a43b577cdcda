"""Batches from arrays in memory, in a seeded order."""

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from keras_ext import _checks
from keras_ext.training.data.batch_checks import named_leaves
from keras_ext.training.data.chunks import (
    Chunk,
    EqualBatches,
    SingleBatch,
    batches_at_once,
)
from keras_ext.training.data.source import Source
from keras_ext.training.data.sparse_rows import SparseRows, is_sparse
from keras_ext.training.data.tensors import to_tensor

Shuffle = bool | Literal["batch"]

RESIDENT_BYTES = 2**31
"""Arrays with more bytes than this in total are not copied to the device whole."""

_PADDED_BYTES = 2**26
"""Arrays up to this size are padded in length, see `_lengthened`."""


class ArraySource(Source):
    """A structure of equally long arrays, cut into batches in a seeded order.

    The arrays are copied to the device once and gathered from there; those too large
    for it stay in place, and some batches are copied at a time. For sparse data, the
    rows of one batch at a time are copied.

    Args:
        arrays: Structure of arrays; `None` leaves stay `None`.
        batch_size: Samples per batch. Default: 32, or as many as `steps` need.
        shuffle: `True` for a new order in every pass, `"batch"` for one within each
            batch, `False` for none.
        seed: Seed of the orders.
        steps: Batches per epoch. Default: those of one pass.
        resident: Whether the arrays are copied to the device as a whole. `"auto"`:
            unless they are memory-mapped or together larger than `RESIDENT_BYTES`.
        where: Text that errors about the arrays add to them.
    """

    def __init__(
        self,
        arrays: Any,
        batch_size: int | None = None,
        *,
        shuffle: Shuffle = True,
        seed: int = 0,
        steps: int | None = None,
        resident: bool | Literal["auto"] = "auto",
        where: str = "",
    ) -> None:
        if steps is not None:
            _checks.positive_int("steps", steps)
        arrays = keras.tree.map_structure(_as_array, arrays)
        self.num_samples = _common_length(arrays, where)
        if batch_size is None:
            batch_size = math.ceil(self.num_samples / steps) if steps else 32
        self.batch_size = _checks.positive_int("batch_size", batch_size)
        shuffle = _checks.one_of("shuffle", shuffle, (True, False, "batch"))
        self._shuffle = shuffle if shuffle == "batch" else bool(shuffle)
        self._seed = seed
        self._batches_per_pass = math.ceil(self.num_samples / self.batch_size)
        self._steps = steps or self._batches_per_pass
        self.resident = _is_resident(arrays, resident)
        place = _to_device if self.resident else _keep
        self._arrays = keras.tree.map_structure(place, arrays)
        self._has_sparse = any(
            isinstance(leaf, SparseRows) for leaf in keras.tree.flatten(arrays)
        )

    @property
    def num_batches(self) -> int:
        """The requested number of steps, or that of one pass."""
        return self._steps

    def epoch(self, index: int, start: int = 0) -> Iterator[Any]:
        """Yield the batches of epoch `index`; passes over the data are consecutive."""
        for chunk in self.chunks(index, lambda: self._steps, start):
            yield from chunk

    def chunks(
        self, index: int, size: Callable[[], int], start: int = 0
    ) -> Iterator[Chunk]:
        """Yield the batches of epoch `index`, up to `size()` of them together."""
        # Batches are numbered across epochs: with `steps`, a pass over the data may
        # begin in one and end in another.
        number, end = index * self._steps + start, (index + 1) * self._steps
        full = self.num_samples // self.batch_size
        ordered = None
        while number < end:
            at, first = divmod(number, self._batches_per_pass)
            if at != ordered:
                order, ordered = self.order(at), at
                # Padded like the arrays: XLA compiles for its length too.
                padded = _lengthened(order)
            # The last batch of a pass may be smaller, and sparse rows cannot be
            # gathered on the device. If no batch is full, the smaller size is the usual
            # one.
            if first == full or self._has_sparse:
                begin = first * self.batch_size
                rows = order[begin : min(begin + self.batch_size, self.num_samples)]
                yield SingleBatch(self._take(rows), full_size=first < full or full == 0)
                number += 1
                continue
            block = self._block(padded, first, min(end - number, full - first))
            for chunk in block.cut(size):
                yield chunk
                number += len(chunk)

    def description(self) -> dict[str, Any]:
        """Return what must be equal when a run is continued with this source."""
        return {
            "samples": self.num_samples,
            "batch_size": self.batch_size,
            "batches": self._steps,
            "shuffle": self._shuffle,
        }

    def state(self, *, iterators: bool) -> tuple[dict[str, Any], list[Any]]:
        """Return the seed, which with epoch and batch determines everything."""
        return {"seed": self._seed}, []

    def set_state(self, state: dict[str, Any], restores: Any) -> None:
        """Draw the orders from the seed of that run."""
        self._seed = state["seed"]

    def example(self) -> Chunk:
        """Return the first batch."""
        return next(iter(self.chunks(0, lambda: 1)))

    def reseed(self, seed: int) -> None:
        """Draw later orders from another seed."""
        self._seed = seed

    def order(self, number: int) -> tf.Tensor:
        """Return the sample indices of pass `number` over the data, in order."""
        indices = tf.range(self.num_samples)
        if not self._shuffle:
            return indices
        # The algorithm is explicit: TensorFlow's own choice depends on the device.
        shuffled = tf.random.experimental.stateless_shuffle(
            indices, seed=(self._seed, number), alg="philox"
        )
        if self._shuffle is True:
            return shuffled
        # A stable sort brings the samples back to their batches and leaves them
        # shuffled within each.
        batch_of = shuffled // self.batch_size
        return tf.gather(shuffled, tf.argsort(batch_of, stable=True))

    def _block(self, order: tf.Tensor, first: int, count: int) -> EqualBatches:
        """Return up to `count` batches from number `first` of a pass on."""
        if self.resident:
            return EqualBatches(self._arrays, order, self.batch_size, first, count)
        at_once = batches_at_once(self._arrays, self.batch_size)
        count = min(count, at_once)
        # Always as many rows, so that functions compiled for them fit all.
        places = np.arange(at_once * self.batch_size) % (count * self.batch_size)
        rows = tf.gather(order, first * self.batch_size + places)
        in_order = tf.range(at_once * self.batch_size)
        return EqualBatches(self._take(rows), in_order, self.batch_size, 0, count)

    def _take(self, rows: tf.Tensor) -> Any:
        def taken(array: Any) -> Any:
            if isinstance(array, np.ndarray):
                return to_tensor(array[rows.numpy()])
            if isinstance(array, SparseRows):
                return array.take(rows.numpy())
            return None if array is None else tf.gather(array, rows)

        return keras.tree.map_structure(taken, self._arrays)


def is_array(leaf: Any) -> bool:
    """Whether `leaf` can be split along its first axis."""
    if is_sparse(leaf):
        return True
    return isinstance(leaf, (tf.Tensor, tf.RaggedTensor)) or hasattr(leaf, "__array__")


def is_constant(array: Any) -> bool:
    """Whether an array cannot be changed in place: a tensor, or read-only in NumPy."""
    if isinstance(array, np.ndarray):
        return not array.flags.writeable
    return array is None or isinstance(array, tf.Tensor)


def are_arrays(structure: Any) -> bool:
    """Whether every leaf of a nested structure is an array or `None`."""
    if isinstance(structure, (tf.data.Dataset, keras.utils.PyDataset)):
        return False
    leaves = keras.tree.flatten(structure)
    return any(map(is_array, leaves)) and all(
        leaf is None or is_array(leaf) for leaf in leaves
    )


def _as_array(array: Any) -> Any:
    """Return `array` as an object that has a shape and can be indexed."""
    if array is None or isinstance(array, (tf.RaggedTensor, np.ndarray, SparseRows)):
        return array
    if is_sparse(array):
        return SparseRows.of(array)
    if hasattr(array, "iloc"):  # pandas: a column is one feature, shaped (n, 1)
        array = array.to_numpy()
        return array[:, None] if array.ndim == 1 else array
    return array if tf.is_tensor(array) else np.asarray(array)


def _is_resident(arrays: Any, wish: bool | Literal["auto"]) -> bool:
    leaves = keras.tree.flatten(arrays)
    on_host = [leaf for leaf in leaves if isinstance(leaf, np.ndarray)]
    if _checks.one_of("resident", wish, (True, False, "auto")) != "auto":
        # Tensors stay in place; without arrays on the host, nothing is streamed.
        return bool(wish) or not on_host
    # Arrays are mapped because they may be larger than memory.
    mapped = any(isinstance(leaf, np.memmap) for leaf in on_host)
    return not mapped and sum(leaf.nbytes for leaf in on_host) <= RESIDENT_BYTES


def _to_device(array: Any) -> Any:
    return array if isinstance(array, SparseRows) else _lengthened(to_tensor(array))


def _keep(array: Any) -> Any:
    """Return an array on the host unchanged, anything else as a tensor."""
    return array if isinstance(array, (np.ndarray, SparseRows)) else to_tensor(array)


def _lengthened(tensor: Any) -> Any:
    """Return `tensor`, padded with zeros at the end if it is small.

    XLA compiles for one length. If the length of the arrays changes from `fit` to
    `fit`, having few different lengths avoids repeated compilation.
    """
    # XLA compiles neither ragged tensors nor strings.
    if not isinstance(tensor, tf.Tensor) or tensor.dtype == tf.string:
        return tensor
    length = len(tensor)
    # Eight lengths from one power of two to the next, so at most an eighth is added.
    step = 2 ** max(0, length.bit_length() - 4)
    extra = -length % step
    # A large array would be in memory twice while it is copied.
    if not extra or tensor.shape.num_elements() * tensor.dtype.size > _PADDED_BYTES:
        return tensor
    return tf.concat([tensor, tf.zeros((extra, *tensor.shape[1:]), tensor.dtype)], 0)


def _common_length(arrays: Any, where: str) -> int:
    """Return the number of samples, or raise if arrays differ."""
    leaves = [leaf for leaf in keras.tree.flatten(arrays) if leaf is not None]
    shapes = [tuple(leaf.shape) for leaf in leaves]
    if () in shapes:
        raise ValueError(
            f"Every array must have a first axis of samples. Received: shapes {shapes}"
        )
    lengths = [int(shape[0]) for shape in shapes]
    if len(set(lengths)) != 1:
        counts = [
            f"{name} has {leaf.shape[0]}"
            for name, leaf in named_leaves(arrays)
            if leaf is not None
        ]
        raise ValueError(
            f"All arrays{where} must have the same number of samples (first axis). "
            f"Received: {', '.join(counts)}"
        )
    if lengths[0] == 0:
        raise ValueError(
            "The data is empty: expected at least one sample. Received: arrays of "
            f"shapes {shapes}"
        )
    return lengths[0]
