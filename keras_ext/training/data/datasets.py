"""Batches from a `tf.data.Dataset`, several at a time."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from keras_ext.training.data.batch_stacking import stacker_for
from keras_ext.training.data.chunks import Chunk, SingleBatch
from keras_ext.training.data.source import Restores, Source, skip
from keras_ext.training.data.stack_reader import PendingBatches, StackReader
from keras_ext.training.data.tensors import to_tensor
from keras_ext.training.data.usual_shapes import UsualShapes


class DatasetSource(Source):
    """A `tf.data.Dataset` of batches.

    Batches are read inside a compiled function and stacked, as long as they have the
    usual size; one of another size comes separately. So does every batch whose
    shape, apart from the number of samples, the dataset does not know.

    Args:
        dataset: The dataset.
    """

    def __init__(self, dataset: tf.data.Dataset) -> None:
        self._dataset = _in_floatx(dataset)
        self._iterator: Any = None
        self._next_iterator: Any = None
        self._reading: StackReader | PendingBatches | None = None
        self._reads_again = False
        self._usual = UsualShapes()

    @property
    def num_batches(self) -> int | None:
        """The length that the dataset reports."""
        cardinality = int(self._dataset.cardinality())
        return cardinality if cardinality >= 0 else None

    def epoch(self, index: int, start: int = 0) -> Iterator[Any]:
        """Yield the batches of the dataset."""
        for chunk in self._pieces(index, start, lambda: 1, stacked=False):
            yield from chunk

    def chunks(
        self, index: int, size: Callable[[], int], start: int = 0
    ) -> Iterator[Chunk]:
        """Yield the batches of the dataset, up to `size()` of them together."""
        return self._pieces(index, start, size, stacked=True)

    def state(self, *, iterators: bool) -> tuple[dict[str, Any], list[Any]]:
        """Return what was read ahead, and the iterators of this epoch and the next.

        The next one is created early for this: with an exhausted iterator, TensorFlow
        does not save how often the dataset was shuffled before.
        """
        usual = self._usual.value
        state: dict[str, Any] = {"batch_size": usual[0][0] if usual else None}
        if not iterators:
            return state, []
        # First, since it waits for the thread that advances the iterator.
        held = self._reading.pending() if self._reading else []
        if self._next_iterator is None:
            self._next_iterator = self._make_iterator()
        running = [] if self._iterator is None else [self._iterator]
        return {**state, "held": held}, [*running, self._next_iterator]

    def set_state(self, state: dict[str, Any], restores: Restores | None) -> None:
        """Continue with what was read ahead, then with the iterators."""
        spec, usual = self._dataset.element_spec, None
        if state.get("batch_size") is not None and _can_be_stacked(spec):
            leaves = tf.nest.flatten(spec)
            usual = [[state["batch_size"], *leaf.shape[1:]] for leaf in leaves]
        self._usual = UsualShapes(usual)
        self._reads_again = restores is None
        if not restores:
            return
        *running, following = restores
        if running:
            self._iterator = self._make_iterator()
            running[0](self._iterator)
            self._reading = PendingBatches(state["held"], spec)
        self._next_iterator = self._make_iterator()
        following(self._next_iterator)

    def example(self) -> Chunk | None:
        """Return a batch of zeros."""
        leaves = tf.nest.flatten(self._dataset.element_spec)
        if not all(isinstance(spec, tf.TensorSpec) for spec in leaves):
            return None
        return SingleBatch(
            tf.nest.map_structure(
                # It only serves to create variables, and reading would consume a batch.
                lambda spec: tf.zeros([size or 1 for size in spec.shape], spec.dtype),
                self._dataset.element_spec,
            )
        )

    def _pieces(
        self, index: int, start: int, size: Callable[[], int], *, stacked: bool
    ) -> Iterator[Chunk]:
        iterator, number = self._begin(index, start), start
        can_be_stacked = stacked and _can_be_stacked(self._dataset.element_spec)
        try:
            if isinstance(self._reading, PendingBatches):
                for chunk in self._reading.chunks(size, self._usual, start):
                    number += len(chunk)
                    yield chunk
            first = next(iterator, None)
            while first is not None:
                if not (can_be_stacked and _has_samples(first)):
                    yield SingleBatch(first)
                    yield from map(SingleBatch, iterator)
                    return
                if self._usual.take(tf.nest.flatten(first), number):
                    stacks = stacker_for(first, self.num_batches)
                    reader = StackReader(stacks, first, iterator, self._usual, number)
                    self._reading = reader
                    for chunk in reader.chunks(size):
                        number += len(chunk)
                        yield chunk
                    # The first, if there are others, was an odd one.
                    first = reader.following
                else:
                    # An odd batch; in a continued epoch, it may come first.
                    number += 1
                    yield SingleBatch(first, full_size=False)
                    first = next(iterator, None)
        finally:
            # Also if an epoch is left early: the next one begins at the start.
            self._iterator = self._reading = None
            self._usual = UsualShapes()

    def _begin(self, index: int, start: int) -> Any:
        """Return the iterator of an epoch, positioned at batch `start`."""
        if self._iterator is None:
            if self._reads_again:
                # A shuffling dataset uses another order for every iterator: those of
                # earlier epochs are created too, but not read.
                for _ in range(index):
                    iter(self._dataset)
            self._iterator = self._next_iterator or self._make_iterator()
            self._next_iterator = None
            skip(self._iterator, start)
        self._reads_again = False
        return self._iterator

    def _make_iterator(self) -> Any:
        # `StackReader` only prefetches what it stacks; this also serves other batches.
        return iter(self._dataset.prefetch(tf.data.AUTOTUNE))


def _in_floatx(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return a dataset with the same batches, floats in `keras.config.floatx()`."""
    spec = dataset.element_spec
    types = {getattr(leaf, "dtype", tf.int32) for leaf in tf.nest.flatten(spec)}
    if not any(one.is_floating and one != keras.config.floatx() for one in types):
        return dataset

    @tf.autograph.experimental.do_not_convert
    def cast(*batch: Any) -> Any:
        # `map` passes the parts of a tuple separately, anything else as one argument.
        leaves = tf.nest.flatten(batch if isinstance(spec, tuple) else batch[0])
        return tf.nest.pack_sequence_as(spec, [to_tensor(leaf) for leaf in leaves])

    return dataset.map(cast)


def _has_samples(batch: Any) -> bool:
    """Whether all arrays of a batch have the same nonzero number of samples."""
    lengths = {leaf.shape[0] for leaf in keras.tree.flatten(batch)}
    return len(lengths) == 1 and 0 not in lengths


def _can_be_stacked(element_spec: Any) -> bool:
    """Whether a batch's shape leaves only the number of samples open."""
    return not tf.config.functions_run_eagerly() and all(
        isinstance(spec, tf.TensorSpec)
        and spec.shape.rank
        and spec.shape[1:].is_fully_defined()
        for spec in tf.nest.flatten(element_spec)
    )
