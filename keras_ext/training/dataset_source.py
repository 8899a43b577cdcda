"""Batches out of a `tf.data.Dataset`, several at a time."""

import concurrent.futures
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from keras_ext.training.chunks import Chunk, Rows, SingleBatch, batches_at_once
from keras_ext.training.source import Source

_PATIENCE = 0.05


class DatasetSource(Source):
    """A `tf.data.Dataset` of batches.

    Batches are read inside a compiled function and put together, as long as they have
    the size of the first; one of another size comes by itself. So does every batch
    whose shape the dataset does not know, but for the number of samples.

    Args:
        dataset: The dataset.
    """

    def __init__(self, dataset: tf.data.Dataset) -> None:
        self._dataset = dataset

    @property
    def num_batches(self) -> int | None:
        """What the dataset says of its length."""
        cardinality = int(self._dataset.cardinality())
        return cardinality if cardinality >= 0 else None

    def epoch(self, index: int) -> Iterator[Any]:
        """Yield the batches of the dataset."""
        del index
        return iter(self._dataset.prefetch(tf.data.AUTOTUNE))

    def chunks(self, index: int, size: Callable[[], int]) -> Iterator[Chunk]:
        """Yield the batches of the dataset, up to `size()` of them together."""
        iterator = self.epoch(index)
        can_be_stacked = _can_be_stacked(self._dataset.element_spec)
        for first in iterator:
            if not (can_be_stacked and _has_samples(first)):
                yield SingleBatch(first)
                yield from map(SingleBatch, iterator)
            else:
                stacks = _stacks_for(first, self.num_batches)
                yield from stacks.chunks(first, iterator, size)


_KNOWN: dict[str, "_Stacks"] = {}
_MOST_KNOWN = 32


def _stacks_for(first: Any, num_batches: int | None) -> "_Stacks":
    """Return what puts batches like `first` together, compiled before if it was."""
    batch_size = int(keras.tree.flatten(first)[0].shape[0])
    most = batches_at_once(first, batch_size)
    capacity = most if num_batches is None else max(1, min(most, num_batches))
    kind = keras.tree.map_structure(lambda leaf: (leaf.dtype.name, leaf.shape), first)
    key = f"{capacity} {kind}"
    if key not in _KNOWN:
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.pop(next(iter(_KNOWN)))
        _KNOWN[key] = _Stacks(first, batch_size, capacity)
    return _KNOWN[key]


class _Stacks:
    """Puts batches of one size together, in a compiled function.

    Reads ahead in a thread, while steps are made with what was read before.

    Args:
        example: Such a batch.
        batch_size: Its number of samples.
        capacity: How many batches to put together at most.
    """

    def __init__(self, example: Any, batch_size: int, capacity: int) -> None:
        self._batch_size = batch_size
        self._capacity = capacity
        self._structure = keras.tree.map_structure(lambda _: None, example)
        self._shapes = [leaf.shape for leaf in keras.tree.flatten(example)]
        self._collect = tf.function(self._read, autograph=False)

    def chunks(
        self, first: Any, iterator: Any, size: Callable[[], int]
    ) -> Iterator[Chunk]:
        """Yield `first` and what follows it in `iterator`."""
        order = tf.range(self._capacity * self._batch_size)
        batch = keras.tree.flatten(first)
        thread = concurrent.futures.ThreadPoolExecutor(1)
        try:
            # The first has to wait for no other.
            read = self._collect(iterator, batch, tf.constant(1), tf.constant(1))
            while True:
                count, more, stack, odd, found = read
                ahead = None
                if more:
                    nothing, limit = tf.constant(0), tf.constant(self._capacity)
                    arguments = (iterator, batch, nothing, limit)
                    ahead = thread.submit(self._collect, *arguments)
                arrays = self._pack(stack)
                rows = Rows(arrays, order, self._batch_size, 0, int(count))
                yield from rows.cut(size)
                if found:
                    yield SingleBatch(self._pack(odd), regular=False)
                if ahead is None:
                    return
                read = ahead.result()
        finally:
            # Whoever stops does not wait for data that is slow to come.
            thread.shutdown(wait=False, cancel_futures=True)

    def _pack(self, leaves: list[tf.Tensor]) -> Any:
        return keras.tree.pack_sequence_as(self._structure, leaves)

    def _read(
        self, iterator: Any, batch: list[tf.Tensor], there: tf.Tensor, limit: tf.Tensor
    ) -> Any:
        """Return how many batches were read, whether there are more, and the batches.

        Those of the usual size come one after the other; then the one of another size
        that ended the reading, and whether there was one. Slow data does not hold the
        steps up: after a while, what there is will do. What is computed with it does
        not depend on that.
        """
        begin = tf.timestamp()
        # One that is there already comes first; otherwise it is written over.
        stacks = [
            tf.TensorArray(
                leaf.dtype, size=self._capacity, element_shape=leaf.shape
            ).write(0, leaf)
            for leaf in batch
        ]
        nothing = [tf.zeros((0, *leaf.shape[1:]), leaf.dtype) for leaf in batch]

        def go_on(count: Any, more: Any, stacks: Any, odd: Any, found: Any) -> Any:
            in_time = (count == 0) | (tf.timestamp() - begin < _PATIENCE)
            return (count < limit) & more & ~found & in_time

        def read(count: Any, more: Any, stacks: Any, odd: Any, found: Any) -> Any:
            del more, found
            item = iterator.get_next_as_optional()
            return tf.cond(
                item.has_value(),
                lambda: sort(count, stacks, keras.tree.flatten(item.get_value())),
                lambda: (count, False, stacks, odd, False),
            )

        def sort(count: Any, stacks: Any, leaves: Any) -> Any:
            lengths = tf.stack([tf.shape(leaf)[0] for leaf in leaves])
            return tf.cond(
                tf.reduce_all(tf.equal(lengths, self._batch_size)),
                lambda: (count + 1, True, put(count, stacks, leaves), nothing, False),
                lambda: (count, True, stacks, leaves, True),
            )

        def put(count: Any, stacks: Any, leaves: Any) -> Any:
            pairs = zip(stacks, leaves, strict=True)
            return [stack.write(count, leaf) for stack, leaf in pairs]

        count, more, stacks, odd, found = tf.while_loop(
            go_on,
            read,
            (there, tf.constant(True), stacks, nothing, tf.constant(False)),
            shape_invariants=(
                there.shape,
                tf.TensorShape(()),
                [tf.TensorShape(None) for s in stacks],
                [tf.TensorShape((None, *shape[1:])) for shape in self._shapes],
                tf.TensorShape(()),
            ),
        )
        return count, more, [stack.concat() for stack in stacks], odd, found


def _has_samples(batch: Any) -> bool:
    """Whether all arrays of a batch have the same number of samples, not 0."""
    lengths = {leaf.shape[0] for leaf in keras.tree.flatten(batch)}
    return len(lengths) == 1 and 0 not in lengths


def _can_be_stacked(element_spec: Any) -> bool:
    """Whether all that a batch's shape leaves open is the number of samples."""
    return not tf.config.functions_run_eagerly() and all(
        isinstance(spec, tf.TensorSpec)
        and spec.shape.rank
        and spec.shape[1:].is_fully_defined()
        for spec in tf.nest.flatten(element_spec)
    )
