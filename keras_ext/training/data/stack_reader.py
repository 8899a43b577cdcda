"""Stacked batches, read ahead in a thread."""

import concurrent.futures
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import keras
import tensorflow as tf

from keras_ext.training.data.chunks import Chunk, EqualBatches, SingleBatch
from keras_ext.training.data.usual_shapes import UsualShapes


class Stacker(Protocol):
    """What puts batches together: of a dataset, or of an iterator of Python's."""

    batch_size: int
    capacity: int

    def collect(self, iterator: Any, first: Any, there: Any, limit: Any) -> Any: ...

    def pack(self, leaves: list[Any]) -> Any:
        """Return arrays in the structure of a batch."""


class StackReader:
    """Consecutive batches of an iterator, stacked.

    Reads ahead in a thread while steps are made with earlier batches.

    Args:
        stacks: Stacks the batches.
        first: The first batch, already taken from the iterator.
        iterator: The batches after it.
        usual: The usual shapes, which are those of `first`.
        number: Number of the first batch in its epoch.

    Attributes:
        following: Once `chunks` has ended: the first batch of the usual shapes, if
            `first` has turned out not to have them.
    """

    def __init__(
        self,
        stacks: Stacker,
        first: Any,
        iterator: Any,
        usual: UsualShapes,
        number: int,
    ) -> None:
        self.following: Any = None
        self._stacks = stacks
        self._iterator = iterator
        self._first = keras.tree.flatten(first)
        self._usual = usual
        # Of the first batch in `_read`.
        self._number = number
        self._ahead: concurrent.futures.Future[Any] | None = None
        self._read: Any = None
        # How many of the batches in `_read` were handed out, for `pending`.
        self._given = 0

    def chunks(self, size: Callable[[], int]) -> Iterator[Chunk]:
        """Yield the batches, up to `size()` of them together."""
        stacks = self._stacks
        # As long as every stack, since XLA compiles for its length too.
        order = tf.range(stacks.capacity * stacks.batch_size)
        # One thread, since an iterator has one position. Compiled code runs without
        # Python's lock, so steps are made in the meantime.
        thread = concurrent.futures.ThreadPoolExecutor(1)
        try:
            # The first need not wait for others: the limit of 1 is reached with it. It
            # also comes as a stack, so that the step is compiled only once.
            one = tf.constant(1)
            self._read = stacks.collect(self._iterator, self._first, one, one)
            while True:
                count, more, stack, odd, found = self._read
                self._given, self._ahead = 0, None
                outgrown = self._is_outgrown(self._read, self._number)
                # Submitted first, so that it is read while steps are made on this
                # stack.
                if more and not outgrown:
                    nothing, limit = tf.constant(0), tf.constant(stacks.capacity)
                    # The first batch again, which does not count now: with the same
                    # kinds of arguments, the trace is reused.
                    arguments = (self._iterator, self._first, nothing, limit)
                    self._ahead = thread.submit(stacks.collect, *arguments)
                arrays = stacks.pack(stack)
                rows = EqualBatches(arrays, order, stacks.batch_size, 0, int(count))
                for chunk in rows.cut(size):
                    # Counted before the chunk is handed out: by the time the run is
                    # saved, its steps have been made.
                    self._given += len(chunk)
                    yield chunk
                if outgrown:
                    self.following = stacks.pack(odd)
                    return
                if found:
                    self._given += 1
                    self._usual.take(odd, self._number + int(count))
                    yield SingleBatch(stacks.pack(odd), full_size=False)
                if self._ahead is None:
                    return
                self._number += self._given
                # An error in the dataset is raised here, after the batches that came
                # before it.
                self._read = self._ahead.result()
        finally:
            # Stopping does not wait for slow data.
            thread.shutdown(wait=False, cancel_futures=True)

    def pending(self) -> list["Block"]:
        """Return the batches that were read but not handed out, as plain data.

        Waits until nothing is being read anymore.
        """
        pending = self._blocks(self._read, self._given, self._number)
        if self._ahead is not None:
            count, _, _, _, found = self._read
            number = self._number + int(count) + int(found)
            # The iterator is saved next, at the position after these.
            pending += self._blocks(self._ahead.result(), 0, number)
        return pending

    def _is_outgrown(self, read: Any, number: int) -> bool:
        """Whether the odd batch in `read` shows that the first was odd."""
        count, _, _, odd, found = read
        return bool(found) and self._usual.are_outgrown(odd, number + int(count))

    def _blocks(self, read: Any, given: int, number: int) -> list["Block"]:
        count, _, stack, odd, found = read
        full = int(count) * self._stacks.batch_size
        # Without the rows that were not written.
        leaves = [leaf[:full] for leaf in stack]
        blocks = _rest({"odd": False, "count": int(count), "leaves": leaves}, given)
        # The odd batch comes last: it was handed out if `given` is more than `count`.
        if found and given <= count:
            is_odd = not self._is_outgrown(read, number)
            blocks.append({"odd": is_odd, "count": 1, "leaves": odd})
        return blocks


class PendingBatches:
    """Batches that a saved run had read ahead.

    Args:
        blocks: Blocks that `pending` returned there.
        element_spec: The structure of a batch.

    Raises:
        ValueError: If they are not such batches.
    """

    def __init__(self, blocks: list["Block"], element_spec: Any) -> None:
        specs = tf.nest.flatten(element_spec)
        if not all(_fits(block, specs) for block in blocks):
            raise ValueError(
                f"The batches that were read ahead do not match {element_spec}."
            )
        self._blocks = blocks
        self._spec = element_spec
        self._given = 0

    def chunks(
        self, size: Callable[[], int], usual: UsualShapes, number: int
    ) -> Iterator[Chunk]:
        """Yield the batches, up to `size()` of them together.

        Args:
            size: Called before each chunk.
            usual: Which shapes are usual, as far as that was known.
            number: Number of the first batch in its epoch.
        """
        while self._blocks:
            block, self._given = self._blocks[0], 0
            leaves = [tf.convert_to_tensor(leaf) for leaf in block["leaves"]]
            arrays = keras.tree.pack_sequence_as(self._spec, leaves)
            if block["odd"]:
                self._given = 1
                yield SingleBatch(arrays, full_size=False)
            else:
                count, batch_size = block["count"], len(leaves[0]) // block["count"]
                usual.take([leaf[:batch_size] for leaf in leaves], number)
                rows = tf.range(count * batch_size)
                for chunk in EqualBatches(arrays, rows, batch_size, 0, count).cut(size):
                    self._given += len(chunk)
                    yield chunk
            number += block["count"]
            # Only now: while parts of it are handed out, `pending` returns the rest.
            del self._blocks[0]

    def pending(self) -> list["Block"]:
        """Return the batches that were not handed out, as plain data."""
        if not self._blocks:
            return []
        return _rest(self._blocks[0], self._given) + self._blocks[1:]


Block = dict[str, Any]
"""Consecutive batches: their `count`, their `leaves`, whether `odd`."""


def _fits(block: Block, specs: list[Any]) -> bool:
    """Whether a block can have been read from a dataset."""
    count, leaves = block["count"], block["leaves"]
    if not leaves or len(leaves) != len(specs) or count < 1:
        return False
    # Arrays without a first axis cannot be split into batches.
    if not all(getattr(leaf, "shape", ()) for leaf in leaves):
        return False
    return all(
        leaf.dtype == spec.dtype.as_numpy_dtype
        and len(leaf) == len(leaves[0])
        and len(leaf) % count == 0
        and spec.shape.is_compatible_with((len(leaf) // count, *leaf.shape[1:]))
        for leaf, spec in zip(leaves, specs, strict=True)
    )


def _rest(block: Block, given: int) -> list[Block]:
    """Return a block without the batches that were handed out; empty if all were."""
    left = block["count"] - given
    if left <= 0:
        return []
    size = len(block["leaves"][0]) // block["count"]
    rows = slice(given * size, block["count"] * size)
    leaves = [leaf[rows] for leaf in block["leaves"]]
    return [{**block, "count": left, "leaves": leaves}]
