"""Consecutive batches of one epoch, passed on together."""

import abc
import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from keras_ext.training.base.step_options import StepOptions

_BLOCK_BYTES = 2**24
# By their size alone, hundreds of thousands of tiny batches would be combined.
_MOST_BATCHES = 256


class Chunk(abc.ABC):
    """Consecutive batches, for `Trainer.steps`; `Epoch.chunks` yields them.

    `len(chunk)` is the number of batches, and iterating over a chunk yields them one by
    one, so a step that is not a Trainer's can be made with each.

    Example:

    >>> import numpy as np
    >>> import keras
    >>> from keras_ext import Loop
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> for epoch in Loop(model, verbose=0):
    ...     for chunk in epoch.chunks(np.ones((6, 2)), batch_size=4):
    ...         epoch.log({"batches": len(chunk), "samples": chunk.num_samples})
    >>> sorted(epoch.logs)
    ['batches', 'samples']
    """

    options: StepOptions = StepOptions()

    def with_options(self, options: StepOptions) -> "Chunk":
        """Return the same batches with these options for the steps."""
        chunk = copy.copy(self)
        chunk.options = options
        return chunk

    @property
    @abc.abstractmethod
    def num_samples(self) -> int:
        """The total number of samples in all batches."""

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def batches(self) -> Iterator[Any]:
        """Yield the batches one by one, without calling the hooks around steps."""

    def __iter__(self) -> Iterator[Any]:
        hooks = self.options.hooks
        for batch in self.batches():
            hooks.before()
            yield batch
            hooks.after()


class EqualBatches(Chunk):
    """Batches of equal size, as row numbers of arrays on the device.

    Args:
        arrays: Structure of tensors whose first axis is that of the samples. They may
            have more rows than `order` ever names.
        order: Row numbers, an integer tensor; batch `i` consists of those from
            `i * batch_size` on.
        batch_size: Samples per batch.
        first: Number of the first batch.
        count: Number of batches.
    """

    def __init__(
        self, arrays: Any, order: tf.Tensor, batch_size: int, first: int, count: int
    ) -> None:
        self.arrays = arrays
        self.order = order
        self.batch_size = batch_size
        self.first = first
        self._count = count

    @property
    def num_samples(self) -> int:
        """The total number of samples in all batches."""
        return self._count * self.batch_size

    def __len__(self) -> int:
        return self._count

    def cut(self, size: Callable[[], int]) -> Iterator["EqualBatches"]:
        """Yield the same batches in parts of at most `size()`, called for each part."""
        first, end = self.first, self.first + self._count
        while first < end:
            count = min(size(), end - first)
            yield EqualBatches(self.arrays, self.order, self.batch_size, first, count)
            first += count

    def batches(self) -> Iterator[Any]:
        """Yield the batches, gathering some at a time."""
        # One gather per batch takes many times as long as one per block, and all
        # batches together may not fit into memory.
        block = batches_at_once(self.arrays, self.batch_size)
        for part in self.cut(lambda: block):
            yield from part.gathered()

    def gathered(self) -> Iterator[Any]:
        """Yield the batches, gathered together and then split."""
        at, size, count = self.first * self.batch_size, self.batch_size, self._count
        rows = take(self.arrays, self.order[at : at + count * size])

        def cut(leaf: Any) -> Any:
            if leaf is None:
                return [None] * count
            if isinstance(leaf, tf.Tensor):
                return tf.split(leaf, count)
            return [leaf[i * size : (i + 1) * size] for i in range(count)]

        for leaves in zip(*map(cut, keras.tree.flatten(rows)), strict=True):
            yield keras.tree.pack_sequence_as(rows, leaves)


class SingleBatch(Chunk):
    """One batch, unchanged.

    Args:
        batch: The batch.
        full_size: Whether others of the same size are to be expected. An odd one, such
            as the remainder at the end of an epoch, is not worth compiling for.
    """

    def __init__(self, batch: Any, *, full_size: bool = True) -> None:
        self.batch = batch
        self.full_size = full_size

    @property
    def num_samples(self) -> int:
        """The number of samples: the first axis of the first array, or 1."""
        return count_samples(self.batch)

    def __len__(self) -> int:
        return 1

    def batches(self) -> Iterator[Any]:
        """Yield the batch."""
        yield self.batch


def take_batch(arrays: Any, order: tf.Tensor, number: Any, batch_size: int) -> Any:
    """Return batch `number`, as `EqualBatches` defines it; also in compiled code."""
    # Not `order[begin:end]`, whose length a graph does not know: XLA needs a batch of
    # known shape.
    rows = tf.slice(order, [number * batch_size], [batch_size])
    return take(arrays, rows)


def take(arrays: Any, rows: Any) -> Any:
    """Return the samples with the numbers `rows`; `None` stays."""
    return keras.tree.map_structure(
        lambda array: None if array is None else tf.gather(array, rows), arrays
    )


def batches_at_once(arrays: Any, batch_size: int) -> int:
    """Return how many batches of `arrays` may be copied at a time.

    As many as take up 16 MB together, at most 256.
    """
    size = 0
    for leaf in keras.tree.flatten(arrays):
        if leaf is not None:
            # Axes of unknown length count as 1; strings, which have no size, as a byte.
            inner = [length or 1 for length in leaf.shape[1:]]
            size += math.prod(inner) * max(1, tf.as_dtype(leaf.dtype).size)
    return max(1, min(_MOST_BATCHES, _BLOCK_BYTES // max(1, batch_size * size)))


def first_tensor(batch: Any) -> Any:
    """Return the first array of a batch, or `None` if there is none."""
    return next((leaf for leaf in keras.tree.flatten(batch) if has_axis(leaf)), None)


def count_samples(batch: Any) -> int:
    """Return the length of the first array in a batch; 1 if there is none."""
    first = first_tensor(batch)
    return 1 if first is None or first.shape[0] is None else int(first.shape[0])


def has_axis(leaf: Any) -> bool:
    """Whether `leaf` is an array of at least one dimension."""
    shape = getattr(leaf, "shape", ())
    return bool(shape.rank if isinstance(shape, tf.TensorShape) else len(shape))
