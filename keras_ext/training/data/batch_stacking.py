"""Batches of a dataset's iterator, stacked in a compiled function."""

import threading
from typing import Any

import keras
import tensorflow as tf

from keras_ext.training.base.strategy_workers import num_workers
from keras_ext.training.data.chunks import batches_at_once

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
