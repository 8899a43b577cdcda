"""Batches from anything that can be iterated over."""

import abc
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import tensorflow as tf

from keras_ext.training.base.strategy_workers import num_workers
from keras_ext.training.data.batch_checks import shortened
from keras_ext.training.data.chunks import Chunk
from keras_ext.training.data.host_stacking import Allowance, stacked
from keras_ext.training.data.source import Source, skip
from keras_ext.training.data.usual_shapes import UsualShapes


class HostSource(Source):
    """Batches that Python makes; a thread puts them together, ahead of the steps.

    Subclasses implement `num_batches`, and `batches` for `epoch`.
    """

    def __init__(self) -> None:
        self._allowance = Allowance()
        self._draws_in_order = False
        self._usual: UsualShapes | None = None

    @abc.abstractmethod
    def batches(self, index: int, start: int) -> Iterator[Any]:
        """Yield the batches of epoch `index` from `start` on."""

    def epoch(self, index: int, start: int = 0) -> Iterator[Any]:
        """Yield the batches of epoch `index`, each when it is asked for."""
        return self.batches(index, start)

    def chunks(
        self, index: int, size: Callable[[], int], start: int = 0
    ) -> Iterator[Chunk]:
        """Yield the batches of epoch `index`, several together where that can be."""
        # Restored for this epoch, or not yet known.
        self._usual = self._usual or UsualShapes()
        try:
            yield from stacked(
                self.batches(index, start),
                size,
                self._allowance,
                self._usual,
                start=start,
                num_batches=self.num_batches,
                draws_in_order=self._draws_in_order,
            )
        finally:
            self._usual = None

    def state(self, *, iterators: bool) -> tuple[dict[str, Any], list[Any]]:
        """Return which shapes are usual in this epoch, if it has begun."""
        return {} if self._usual is None else {"usual": self._usual.value}, []

    def set_state(self, state: dict[str, Any], restores: Any) -> None:
        """Take the same batches for odd ones."""
        # Checkpoints of earlier versions lack it.
        usual = state.get("usual")
        self._usual = None if usual is None else UsualShapes(usual)

    def allow(self, count: int) -> None:
        """Let so many more batches be read."""
        self._allowance.set(count)

    def keep_draws_in_order(self) -> None:
        """Read no batch ahead that draws random numbers of Python's or NumPy's."""
        self._draws_in_order = True


class IterableSource(HostSource):
    """A `DataLoader`, a list, a generator: data that is only read forward."""

    def __init__(self, iterable: Any) -> None:
        super().__init__()
        self._iterable = iterable

    @property
    def num_batches(self) -> int | None:
        """The length that the iterable reports."""
        return len(self._iterable) if hasattr(self._iterable, "__len__") else None

    def batches(self, index: int, start: int) -> Iterator[Any]:
        """Yield what the iterable yields; an iterator continues where it stopped."""
        del index
        return skip(alike(self._iterable), start)


class WholeBatches:
    """The batches of a distributed dataset, before they were split for the replicas.

    A step splits them for its replicas itself, even if they cannot be split evenly.
    """

    def __init__(self, dataset: tf.distribute.DistributedDataset) -> None:
        if num_workers() > 1:
            raise ValueError(
                "With several workers, a dataset that is already distributed has only "
                "this worker's part of each batch. Received: "
                f"{type(dataset).__name__}. Pass the whole `tf.data.Dataset`, the same "
                "in every worker: each takes its part."
            )
        self._dataset = dataset

    def __iter__(self) -> Iterator[Any]:
        return (tf.nest.map_structure(_whole, batch) for batch in self._dataset)


def _whole(leaf: Any) -> Any:
    if not isinstance(leaf, tf.distribute.DistributedValues):
        return leaf
    if isinstance(leaf.values[0], tf.SparseTensor):
        return tf.sparse.concat(0, list(leaf.values))
    return tf.concat(leaf.values, 0)


def alike(batches: Iterable[Any]) -> Iterator[Any]:
    """Yield `batches` while they have the structure, ranks and dtypes of the first.

    Raises:
        ValueError: If one does not match.
        Exception: Whatever `batches` raises, with a note on which batch it was.
    """
    first, iterator = None, iter(batches)
    for number in itertools.count():
        try:
            batch = next(iterator)
        except StopIteration:
            return
        except Exception as error:
            if hasattr(error, "add_note"):  # since Python 3.11
                error.add_note(
                    f"The data has raised this for batch {number}, counted from 0 "
                    "since it was last begun."
                )
            raise
        signature = keras.tree.map_structure(_kind, batch)
        first = signature if number == 0 else first
        if signature != first:
            raise ValueError(
                "All batches of an epoch must have the same structure, ranks and "
                f"dtypes. Received: batch {number} is {shortened(signature)}, the "
                f"first was {shortened(first)}"
            )
        yield batch


def _kind(leaf: Any) -> str:
    if leaf is None:
        return "None"
    shape = getattr(leaf, "shape", None)
    if shape is None:
        return type(leaf).__name__
    return f"{getattr(leaf.dtype, 'name', leaf.dtype)}, rank {len(shape)}"
