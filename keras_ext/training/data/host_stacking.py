"""Batches of Python's iterators put together, and read ahead in a thread."""

import pickle
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_ext.training.base import host_random
from keras_ext.training.data.batch_stacking import limits
from keras_ext.training.data.chunks import Chunk, SingleBatch
from keras_ext.training.data.stack_reader import StackReader
from keras_ext.training.data.tensors import to_tensor
from keras_ext.training.data.usual_shapes import UsualShapes, outgrow

# How long to wait for the iterator to come to rest: after that, it may be used again.
_TO_REST = 1.0
_MOST = 2**31


class Allowance:
    """How many batches may be read from an iterator, ahead of the steps or not.

    Attributes:
        left: How many more; `None` for all there are.
        changed: Is notified of a change.
    """

    def __init__(self) -> None:
        self.left: int | None = None
        self.changed = threading.Condition()

    def set(self, count: int) -> None:
        """Let so many more batches be read."""
        with self.changed:
            self.left = count
            self.changed.notify_all()

    def use(self) -> None:
        """Record that a batch is about to be read."""
        if self.left is not None:
            self.left -= 1

    def return_one(self) -> None:
        """Record that there was none: another pass over the data may read it."""
        with self.changed:
            if self.left is not None:
                self.left += 1
            self.changed.notify_all()


def stacked(
    batches: Iterator[Any],
    size: Callable[[], int],
    allowance: Allowance,
    usual: UsualShapes,
    *,
    start: int,
    num_batches: int | None,
    draws_in_order: bool,
) -> Iterator[Chunk]:
    """Yield batches, up to `size()` of them together, while a thread reads others.

    Those of the usual shapes are put together, up to 256 of them, or 16 MB. At most two
    such stacks are read ahead, and never more than allowed.

    Args:
        batches: The batches.
        size: Called before each chunk, says how many batches it may have.
        allowance: How many batches may be read.
        usual: Which shapes are usual, as far as that is known.
        start: Number of the first batch in its epoch.
        num_batches: How many batches an epoch has, if that is known.
        draws_in_order: Whether to read nothing ahead if the first batch has drawn
            random numbers of Python's or NumPy's.
    """
    before = pickle.dumps(host_random.get_state()) if draws_in_order else None
    first, number = _next(batches, allowance), start
    draws = draws_in_order and before != pickle.dumps(host_random.get_state())
    while first is not None:
        arrays = _arrays(first)
        if draws or arrays is None:
            yield SingleBatch(first)
            yield from map(SingleBatch, batches)
            return
        if usual.take(arrays, number):
            left = None if num_batches is None else max(0, num_batches - number)
            known = [n for n in (left, allowance.left) if n is not None]
            stacks = HostStacker(
                batches, first, min(known, default=_MOST) + 1, allowance, number
            )
            reader = StackReader(stacks, first, None, usual, number)
            try:
                for chunk in reader.chunks(size):
                    number += len(chunk)
                    yield chunk
            finally:
                stacks.close()
            # The first, if there are others, was an odd one.
            first = reader.following
        else:
            # An odd batch; in a continued epoch, it may come first.
            number += 1
            yield SingleBatch(first, full_size=False)
            first = _next(batches, allowance)


def _next(batches: Iterator[Any], allowance: Allowance) -> Any:
    """Return the next batch, or `None` at the end of the data."""
    allowance.use()
    batch = next(batches, None)
    if batch is None:
        allowance.return_one()
    return batch


class HostStacker:
    """Reads batches in a thread and puts them together, as a `BatchStacker` does.

    They are copied at once: an iterator may fill the same arrays again for each batch.

    Args:
        batches: The batches after the first.
        first: The first batch.
        most: How many batches to put together at most.
        allowance: How many batches may be read.
        number: Number of the first batch in its epoch.
    """

    def __init__(
        self,
        batches: Iterator[Any],
        first: Any,
        most: int,
        allowance: Allowance,
        number: int,
    ) -> None:
        leaves = [np.asarray(to_tensor(leaf)) for leaf in keras.tree.flatten(first)]
        self.batch_size = len(leaves[0])
        at_once, self._patience = limits(leaves, self.batch_size)
        self.capacity = min(most, at_once)
        self._structure = keras.tree.map_structure(lambda _: None, first)
        self._specs = [(leaf.shape, leaf.dtype) for leaf in leaves]
        self._batches = batches
        self._allowance = allowance
        self._number = number
        self._changed = allowance.changed
        # What was read and not collected; the odd batch comes after those in the stack.
        self._stack = self._empty()
        self._count = 0
        self._odd: list[Any] | None = None
        self._error: BaseException | None = None
        self._has_ended = self._is_closed = self._is_reading = False
        # Whether batches have turned out to differ in more than their length, or the
        # first to be an odd one. Then others stack what follows.
        self._one_by_one = self._is_outgrown = False
        self._put(first)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def pack(self, leaves: list[Any]) -> Any:
        """Return arrays in the structure of a batch."""
        return keras.tree.pack_sequence_as(self._structure, leaves)

    def collect(self, *_: Any) -> tuple[int, bool, list[Any], list[Any], bool]:
        """Return how many batches were read, whether there are more, and the batches.

        As `BatchStacker.collect` does. Waits for the first, and a little for others.
        """
        with self._changed:
            self._changed.wait_for(self._has_any)
            self._changed.wait_for(self._is_complete, self._patience)
            count, stack, odd = self._count, self._stack, self._odd
            if not count and odd is None and self._error is not None:
                raise self._error
            self._count, self._odd = 0, None
            if count:
                self._stack = self._empty()
            more = not self._has_ended or self._error is not None
            self._changed.notify_all()
        # Outside, so that the thread reads on; as long as every stack is, since XLA
        # compiles for its length.
        leaves = [
            tf.constant(leaf) if count else tf.constant(leaf[:0]) for leaf in stack
        ]
        return count, more, leaves, odd or [], odd is not None

    def close(self) -> None:
        """Have the thread end, after the batch that it is reading."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        # Not for ever: the next batch may be long in coming.
        self._thread.join(_TO_REST)

    def _read(self) -> None:
        try:
            while self._wait_for_room():
                batch = next(self._batches, None)
                if batch is None:
                    self._allowance.return_one()
                    break
                self._put(batch)
                if self._is_outgrown:
                    break
        # Whatever it is, it is raised where the batches are used.
        except BaseException as error:
            self._error = error
        finally:
            # Here, where it runs: it ends the threads and processes that it reads with.
            if isinstance(self._batches, Generator) and not self._is_outgrown:
                self._batches.close()
            with self._changed:
                self._has_ended = True
                self._changed.notify_all()

    def _wait_for_room(self) -> bool:
        """Wait until a batch can be read; return whether one should be."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._is_closed
                    or (not self._is_full() and self._allowance.left != 0)
                )
            )
            self._is_reading = not self._is_closed
            if self._is_reading:
                self._allowance.use()
            return self._is_reading

    def _put(self, batch: Any) -> None:
        leaves = _arrays(batch)
        with self._changed:
            if leaves is not None and self._fits(leaves):
                rows = slice(
                    self._count * self.batch_size, (self._count + 1) * self.batch_size
                )
                for stack, leaf in zip(self._stack, leaves, strict=True):
                    stack[rows] = leaf
                self._count += 1
                self._number += 1
            else:
                self._odd = [to_tensor(leaf) for leaf in keras.tree.flatten(batch)]
                shapes = [shape for shape, _ in self._specs]
                self._is_outgrown = self._number == 1 and outgrow(shapes, self._odd)
            self._is_reading = False
            self._changed.notify_all()

    def _fits(self, leaves: list[np.ndarray]) -> bool:
        shapes = [shape for shape, _ in self._specs]
        if [leaf.shape[1:] for leaf in leaves] != [shape[1:] for shape in shapes]:
            # Stacks of one or two would cost more than they save.
            self._one_by_one = True
        return not self._one_by_one and [leaf.shape for leaf in leaves] == shapes

    def _has_any(self) -> bool:
        return bool(self._count) or self._odd is not None or self._is_over()

    def _is_full(self) -> bool:
        whole = self._count == self.capacity
        return whole or self._odd is not None or self._is_over()

    def _is_complete(self) -> bool:
        """Whether no batch will be added to those that were read, for now."""
        all_read = self._allowance.left == 0 and not self._is_reading
        return self._is_full() or all_read

    def _is_over(self) -> bool:
        return self._has_ended or self._is_closed

    def _empty(self) -> list[np.ndarray]:
        return [
            np.empty((self.capacity * shape[0], *shape[1:]), dtype)
            for shape, dtype in self._specs
        ]


def _arrays(batch: Any) -> list[np.ndarray] | None:
    """Return the arrays of a batch that can be put together, `None` if it can't be."""
    leaves = keras.tree.flatten(batch)
    arrays = [array for array in map(_array, leaves) if array is not None]
    # What is left out, or has no first axis, can't be put together with others.
    lengths = {array.shape[:1] for array in arrays}
    fits = len(arrays) == len(leaves) and len(lengths) == 1
    return arrays if fits and lengths.isdisjoint({(), (0,)}) else None


def _array(leaf: Any) -> np.ndarray | None:
    # The tensors of a `DataLoader`; PyTorch need not be there.
    of_torch = type(leaf).__module__.partition(".")[0] == "torch"
    if not of_torch and not isinstance(leaf, (np.ndarray, tf.Tensor)):
        return None
    array = np.asarray(leaf)
    return array if array.dtype.kind in "biuf" else None
