"""Batches of a dataset's iterator, stacked and prefetched in a thread."""

import concurrent.futures
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import keras
import tensorflow as tf

from keras_ext.training.base.workers import num_workers
from keras_ext.training.data.chunks import (
    Chunk,
    EqualBatches,
    SingleBatch,
    batches_at_once,
)

# Seconds to wait for further batches: half of what `ChunkSizer` allows for a call, so
# that slow data is used on arrival.
PATIENCE = 0.05

# Batches in a stack of several workers, which all have to read as many: it ends when it
# is full, not by the clock.
_MOST_TOGETHER = 32

# Shared by all sources: each `fit` and `evaluate` creates new ones, for which the same
# function would be compiled again.
_KNOWN: dict[str, "BatchStacker"] = {}
# A compiled function keeps its graph, so the oldest is dropped beyond this number.
_MOST_KNOWN = 32


def stacker_for(first: Any, num_batches: int | None) -> "BatchStacker":
    """Return a stacker for batches like `first`, already compiled if possible."""
    batch_size = int(keras.tree.flatten(first)[0].shape[0])
    most, patience = limits(first, batch_size)
    # No more room than the data can fill: a stack is allocated and copied as a whole.
    capacity = most if num_batches is None else max(1, min(most, num_batches))
    kind = keras.tree.map_structure(lambda leaf: (leaf.dtype.name, leaf.shape), first)
    key = f"{capacity} {patience} {kind}"
    if key not in _KNOWN:
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.pop(next(iter(_KNOWN)))
        _KNOWN[key] = BatchStacker(first, batch_size, capacity, patience)
    return _KNOWN[key]


def limits(batch: Any, batch_size: int) -> tuple[int, float]:
    """Return how many batches a stack may have, and how long to wait for them."""
    most = batches_at_once(batch, batch_size)
    if num_workers() > 1:
        return min(most, _MOST_TOGETHER), threading.TIMEOUT_MAX
    return most, PATIENCE


class BatchStacker:
    """Stacks batches of one size, in a compiled function.

    Args:
        example: An example batch.
        batch_size: Its number of samples.
        capacity: Maximum number of batches to stack.
        patience: Seconds to wait for further batches.
    """

    def __init__(
        self, example: Any, batch_size: int, capacity: int, patience: float
    ) -> None:
        self.batch_size = batch_size
        self.capacity = capacity
        self._patience = patience
        # The tensors are dropped; they would live as long as this object.
        self._structure = keras.tree.map_structure(lambda _: None, example)
        self._shapes = [leaf.shape for leaf in keras.tree.flatten(example)]
        # The iterator is an argument, so one trace serves the iterators of all epochs.
        self.collect = tf.function(self._read, autograph=False)

    def pack(self, leaves: list[tf.Tensor]) -> Any:
        """Return arrays in the structure of a batch."""
        return keras.tree.pack_sequence_as(self._structure, leaves)

    def _read(
        self, iterator: Any, batch: list[tf.Tensor], there: tf.Tensor, limit: tf.Tensor
    ) -> Any:
        """Return how many batches were read, whether there are more, and the batches.

        Those of the usual size follow each other; then the one of another size that
        ended the reading, and whether there was one. Slow data does not delay the
        steps: after a while, the batches read so far are returned. The results do not
        depend on that.
        """
        # Not Python's clock, which would be read only once, during tracing.
        begin = tf.timestamp()
        # Every stack is as long as the capacity, however much is read, so that XLA
        # compiles the steps on it once. Only TensorArrays can be written to in a loop.
        # A batch that is already there comes first; otherwise it is overwritten.
        stacks = [
            tf.TensorArray(
                leaf.dtype, size=self.capacity, element_shape=leaf.shape
            ).write(0, leaf)
            for leaf in batch
        ]
        # A loop variable needs a value from the start: an odd batch of no samples.
        nothing = [tf.zeros((0, *leaf.shape[1:]), leaf.dtype) for leaf in batch]

        def go_on(count: Any, more: Any, stacks: Any, odd: Any, found: Any) -> Any:
            # Wait for the first batch however long it takes: an empty stack would only
            # make the caller ask again.
            in_time = (count == 0) | (tf.timestamp() - begin < self._patience)
            return (count < limit) & more & ~found & in_time

        def read(count: Any, more: Any, stacks: Any, odd: Any, found: Any) -> Any:
            del more, found
            # `get_next` raises at the end of the data, which a graph cannot catch.
            item = iterator.get_next_as_optional()
            return tf.cond(
                item.has_value(),
                lambda: sort(count, stacks, keras.tree.flatten(item.get_value())),
                lambda: (count, False, stacks, odd, False),
            )

        def sort(count: Any, stacks: Any, leaves: Any) -> Any:
            # Every array must have the usual length; a batch may differ in only one.
            lengths = tf.stack([tf.shape(leaf)[0] for leaf in leaves])
            return tf.cond(
                tf.reduce_all(tf.equal(lengths, self.batch_size)),
                lambda: (count + 1, True, put(count, stacks, leaves), nothing, False),
                # An odd batch ends the stack: batches stay in order.
                lambda: (count, True, stacks, leaves, True),
            )

        def put(count: Any, stacks: Any, leaves: Any) -> Any:
            pairs = zip(stacks, leaves, strict=True)
            return [stack.write(count, leaf) for stack, leaf in pairs]

        count, more, stacks, odd, found = tf.while_loop(
            go_on,
            read,
            (there, tf.constant(True), stacks, nothing, tf.constant(False)),
            # Needed only for the odd batch, whose length is open; TensorFlow requires
            # them for all or none. Those of TensorArrays refer to their handles.
            shape_invariants=(
                there.shape,
                tf.TensorShape(()),
                [tf.TensorShape(None) for s in stacks],
                [tf.TensorShape((None, *shape[1:])) for shape in self._shapes],
                tf.TensorShape(()),
            ),
        )
        # Rows that were not written are zeros; `count` says how many batches are valid.
        return count, more, [stack.concat() for stack in stacks], odd, found


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
    """

    def __init__(self, stacks: Stacker, first: Any, iterator: Any) -> None:
        self._stacks = stacks
        self._iterator = iterator
        self._first = keras.tree.flatten(first)
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
                # Submitted first, so that it is read while steps are made on this
                # stack.
                if more:
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
                if found:
                    self._given += 1
                    yield SingleBatch(stacks.pack(odd), full_size=False)
                if self._ahead is None:
                    return
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
        pending = self._blocks(self._read, self._given)
        if self._ahead is not None:
            # The iterator is saved next, at the position after these.
            pending += self._blocks(self._ahead.result(), 0)
        return pending

    def _blocks(self, read: Any, given: int) -> list["Block"]:
        count, _, stack, odd, found = read
        full = int(count) * self._stacks.batch_size
        # Without the rows that were not written.
        leaves = [leaf[:full] for leaf in stack]
        blocks = _rest({"odd": False, "count": int(count), "leaves": leaves}, given)
        # The odd batch comes last: it was handed out if `given` is more than `count`.
        if found and given <= count:
            blocks.append({"odd": True, "count": 1, "leaves": odd})
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

    def chunks(self, size: Callable[[], int]) -> Iterator[Chunk]:
        """Yield the batches, up to `size()` of them together."""
        while self._blocks:
            block, self._given = self._blocks[0], 0
            leaves = [tf.convert_to_tensor(leaf) for leaf in block["leaves"]]
            arrays = keras.tree.pack_sequence_as(self._spec, leaves)
            if block["odd"]:
                self._given = 1
                yield SingleBatch(arrays, full_size=False)
            else:
                count, batch_size = block["count"], len(leaves[0]) // block["count"]
                rows = tf.range(count * batch_size)
                for chunk in EqualBatches(arrays, rows, batch_size, 0, count).cut(size):
                    self._given += len(chunk)
                    yield chunk
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
