"""Where batches come from: arrays, `tf.data`, `PyDataset`, any iterable.

The order of arrays and of a `PyDataset` is a pure function of `(seed, epoch)`: an
epoch can be repeated without repeating those before it.
"""

import itertools
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from keras_ext import _checks
from keras_ext.training.data.arrays import ArraySource, Shuffle, are_arrays
from keras_ext.training.data.batch_checks import shortened
from keras_ext.training.data.chunks import Chunk, SingleBatch
from keras_ext.training.data.datasets import DatasetSource
from keras_ext.training.data.prefetching import fetched
from keras_ext.training.data.source import Source, skip


class PyDatasetSource(Source):
    """A `keras.utils.PyDataset`, whose batches are fetched by number."""

    def __init__(
        self,
        dataset: keras.utils.PyDataset,
        *,
        shuffle: Shuffle = True,
        seed: int = 0,
    ) -> None:
        self._dataset = dataset
        self._shuffle = bool(shuffle)
        self._seed = seed

    @property
    def num_batches(self) -> int | None:
        """What the dataset says now: `on_epoch_end` may change it."""
        return self._dataset.num_batches

    def epoch(self, index: int, start: int = 0) -> Iterator[Any]:
        """Yield the batches of epoch `index`, in an order of its own."""
        self._dataset.on_epoch_begin()
        yield from alike(fetched(self._dataset, self._order(index, start)))
        self._dataset.on_epoch_end()

    def state(self, *, iterators: bool) -> tuple[dict[str, Any], list[Any]]:
        """Return the seed, which with epoch and batch says everything."""
        return {"seed": self._seed}, []

    def set_state(self, state: dict[str, Any], restores: Any) -> None:
        """Draw the orders from the seed of that run."""
        self._seed = state["seed"]

    def peek(self) -> Chunk:
        """Return batch number 0."""
        return SingleBatch(self._dataset[0])

    def reseed(self, seed: int) -> None:
        """Draw the orders to come from another seed."""
        self._seed = seed

    def _order(self, index: int, start: int) -> Iterable[int]:
        count = self.num_batches
        if count is None:
            return itertools.count(start)
        if not self._shuffle:
            return range(start, count)
        order = np.random.default_rng((self._seed, index)).permutation(count)
        return order[start:].tolist()


class IterableSource(Source):
    """A `DataLoader`, a list, a generator: what only goes forward."""

    def __init__(self, iterable: Any) -> None:
        self._iterable = iterable

    @property
    def num_batches(self) -> int | None:
        """What the iterable says of its length."""
        return len(self._iterable) if hasattr(self._iterable, "__len__") else None

    def epoch(self, index: int, start: int = 0) -> Iterator[Any]:
        """Yield what the iterable yields; an iterator goes on where it stood."""
        del index
        return skip(alike(self._iterable), start)


class _WholeBatches:
    """The batches of a distributed dataset, before they were cut for the replicas.

    A step cuts them for its replicas itself, also where they can't be cut evenly.
    """

    def __init__(self, dataset: tf.distribute.DistributedDataset) -> None:
        cluster = tf.distribute.cluster_resolver.TFConfigClusterResolver()
        spec = cluster.cluster_spec()
        if sum(spec.num_tasks(job) for job in spec.jobs) > 1:
            raise ValueError(
                "With several workers, a dataset that is distributed already has only "
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


class SteppedSource(Source):
    """A fixed number of batches an epoch, out of a source that may be endless."""

    def __init__(self, source: Source, steps: int) -> None:
        self._source = source
        self._steps = _checks.positive_int("steps", steps)
        self._running: Iterator[Chunk] | None = None
        # The source's epoch that is being read, and how many batches of it were.
        self._began: tuple[int, int] | None = None
        self._size: Callable[[], int] = lambda: 1

    @property
    def num_batches(self) -> int:
        """The number of steps that was asked for."""
        return self._steps

    def epoch(self, index: int, start: int = 0) -> Iterator[Any]:
        """Yield the next batches, and begin anew where the data has ended."""

        def one_by_one(index: int, start: int) -> Iterator[Chunk]:
            return (SingleBatch(batch) for batch in self._source.epoch(index, start))

        for chunk in self._walk(index, start, one_by_one):
            yield from chunk

    def chunks(
        self, index: int, size: Callable[[], int], start: int = 0
    ) -> Iterator[Chunk]:
        """Yield the next batches, several together, as `epoch` does one by one."""

        def several(index: int, start: int) -> Iterator[Chunk]:
            return self._source.chunks(index, lambda: self._size(), start)

        return self._walk(index, start, several, size)

    def _walk(
        self,
        index: int,
        taken: int,
        begin: Callable[[int, int], Iterator[Chunk]],
        size: Callable[[], int] = lambda: 1,
    ) -> Iterator[Chunk]:
        """Yield the next batches until there were as many as an epoch has."""
        before = taken
        self._size = lambda: min(size(), self._steps - taken)
        for begin_anew in (False, True):
            if begin_anew:
                self._running = self._began = None
            source_index, read = self._began or (index, 0)
            if self._running is None:
                self._running = begin(source_index, read)
            while taken < self._steps:
                chunk = next(self._running, None)
                if chunk is None:
                    break
                taken += len(chunk)
                read += len(chunk)
                self._began = source_index, read
                yield chunk
            if taken > before or taken == self._steps:
                break
        if taken < self._steps:
            self._running = self._began = None
            self._warn(taken)

    def state(self, *, iterators: bool) -> tuple[dict[str, Any], list[Any]]:
        """Return how far the source was read, and its own state."""
        state, found = self._source.state(iterators=iterators)
        return {"began": self._began, "source": state}, found

    def set_state(self, state: dict[str, Any], restores: Any) -> None:
        """Go on in the source where it was left."""
        self._running, self._began = None, state["began"]
        self._source.set_state(state["source"], restores)

    def peek(self) -> Chunk | None:
        """Return one of the source's batches, if that uses none up."""
        return self._source.peek()

    def reseed(self, seed: int) -> None:
        """Reseed the source, for when it begins anew."""
        self._source.reseed(seed)

    def close(self) -> None:
        """Let go of what is being read; the next epoch begins anew.

        Unless the batches come from an iterator, these are the same again.
        """
        if isinstance(self._running, Generator):
            self._running.close()
        self._running = self._began = None

    def _warn(self, taken: int) -> None:
        if taken:
            warnings.warn(
                f"The data ended after {taken} of {self._steps} steps of this "
                "epoch, and the epoch with it. Lower `steps_per_epoch`, or repeat the "
                "data (`dataset.repeat()`).",
                stacklevel=3,
            )


def make_source(
    data: Any,
    batch_size: int | None = None,
    *,
    shuffle: Shuffle = True,
    seed: int = 0,
    steps: int | None = None,
    resident: bool | Literal["auto"] = "auto",
) -> Source:
    """Return the source for `data`: arrays, `PyDataset`, dataset or any iterable.

    Args:
        data: A nested structure of arrays; or a `tf.data.Dataset`, a
            `keras.utils.PyDataset`, a generator, a list or another iterable of
            batches. A list is an iterable of batches.
        batch_size: Samples per batch, for arrays only. Default: 32.
        shuffle: Whether arrays, and the batches of a `PyDataset`, come in an order
            of their own in every epoch; `"batch"` shuffles within each batch.
        seed: What the orders are drawn from.
        steps: Batches per epoch; needed where the data has no end.
        resident: Whether arrays are copied to the device as a whole; see
            `ArraySource`.

    Raises:
        ValueError: If `batch_size` is given for data that has batches already, the
            data has no end and `steps` is missing, or an argument is out of range.
        TypeError: If `data` is none of the above.
    """
    if not isinstance(data, list) and are_arrays(data):
        return ArraySource(
            data,
            batch_size,
            shuffle=shuffle,
            seed=seed,
            steps=steps,
            resident=resident,
        )
    _checks.one_of("resident", resident, ("auto",))
    if batch_size is not None:
        raise ValueError(
            "`batch_size` is for arrays; other data comes in batches already. "
            f"Received: batch_size={batch_size!r} with data of type "
            f"{type(data).__name__}. Leave it out, or batch the data itself."
        )
    if isinstance(data, (tuple, dict)):
        kinds = sorted({type(leaf).__name__ for leaf in keras.tree.flatten(data)})
        raise TypeError(
            f"A {type(data).__name__} of data must contain arrays, and nothing else. "
            f"Received: {', '.join(kinds)}. Convert Python numbers with `np.asarray`."
        )
    if isinstance(data, keras.utils.PyDataset):
        source: Source = PyDatasetSource(data, shuffle=shuffle, seed=seed)
    elif isinstance(data, tf.data.Dataset):
        source = DatasetSource(data)
    elif isinstance(data, tf.distribute.DistributedDataset):
        source = IterableSource(_WholeBatches(data))
    elif hasattr(data, "__iter__") and not isinstance(data, (str, bytes)):
        source = IterableSource(data)
    else:
        raise TypeError(
            "The data must be arrays (or a tuple or dict of arrays), a "
            "tf.data.Dataset, a keras.utils.PyDataset, or an iterable of batches. "
            f"Received: {shortened(data)} of type {type(data).__name__}"
        )
    if steps is not None:
        return SteppedSource(source, steps)
    if _is_endless(data):
        raise ValueError(
            "The dataset has no end. Expected: a number of batches per epoch, as "
            "`steps_per_epoch=` of `fit` or `steps=` of `epoch.batches`."
        )
    return source


def _is_endless(data: Any) -> bool:
    if isinstance(data, keras.utils.PyDataset):
        return data.num_batches is None
    if isinstance(data, tf.data.Dataset):
        return int(data.cardinality()) == tf.data.INFINITE_CARDINALITY
    return False


def alike(batches: Iterable[Any]) -> Iterator[Any]:
    """Yield `batches` while they have the structure, ranks and dtypes of the first.

    Raises:
        ValueError: If one has not.
    """
    first = None
    for number, batch in enumerate(batches):
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
