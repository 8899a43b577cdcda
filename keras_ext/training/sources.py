"""Where batches come from: arrays, `tf.data`, `PyDataset`, any iterable.

A source knows how many batches an epoch has (where that can be known) and gives the
batches of any epoch. The order of arrays and of a `PyDataset` is a pure function of
`(seed, epoch)`: an epoch can be repeated without repeating those before it.
"""

import abc
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from keras_ext import _checks

Shuffle = bool | Literal["batch"]


class Source(abc.ABC):
    """Batches, epoch by epoch. Subclasses implement both members."""

    @property
    @abc.abstractmethod
    def num_batches(self) -> int | None:
        """Batches per epoch; `None` while that is not known."""

    @abc.abstractmethod
    def epoch(self, index: int) -> Iterator[Any]:
        """Yield the batches of epoch `index` (0 for the first)."""


class ArraySource(Source):
    """A structure of equally long arrays, cut into batches in a seeded order."""

    def __init__(
        self,
        arrays: Any,
        batch_size: int | None = None,
        *,
        shuffle: Shuffle = True,
        seed: int = 0,
        steps: int | None = None,
    ) -> None:
        if steps is not None:
            _checks.positive_int("steps", steps)
        self._arrays = keras.tree.map_structure(_to_tensor, arrays)
        self.num_samples = _common_length(self._arrays)
        if batch_size is None:
            batch_size = math.ceil(self.num_samples / steps) if steps else 32
        self.batch_size = _checks.positive_int("batch_size", batch_size)
        shuffle = _checks.one_of("shuffle", shuffle, (True, False, "batch"))
        self._shuffle = shuffle if shuffle == "batch" else bool(shuffle)
        self._seed = seed
        self._batches_per_pass = math.ceil(self.num_samples / self.batch_size)
        self._steps = steps or self._batches_per_pass

    @property
    def num_batches(self) -> int:
        """The number of steps that was asked for, or what one pass has."""
        return self._steps

    def epoch(self, index: int) -> Iterator[Any]:
        """Yield the batches of epoch `index`; passes over the data follow on."""
        first = index * self._steps
        for at, group in itertools.groupby(
            range(first, first + self._steps),
            key=lambda number: number // self._batches_per_pass,
        ):
            order = self.order(at)
            for number in group:
                yield self._batch(order, number % self._batches_per_pass)

    def order(self, number: int) -> tf.Tensor:
        """Return the sample indices of pass `number` over the data, in order."""
        indices = tf.range(self.num_samples, dtype=tf.int64)
        if not self._shuffle:
            return indices
        shuffled = tf.random.experimental.stateless_shuffle(
            indices, seed=(self._seed, number)
        )
        if self._shuffle is True:
            return shuffled
        batch_of = shuffled // self.batch_size
        return tf.gather(shuffled, tf.argsort(batch_of, stable=True))

    def _batch(self, order: tf.Tensor, number: int) -> Any:
        rows = order[number * self.batch_size : (number + 1) * self.batch_size]
        return keras.tree.map_structure(
            lambda array: None if array is None else tf.gather(array, rows),
            self._arrays,
        )


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

    def epoch(self, index: int) -> Iterator[Any]:
        """Yield the batches of epoch `index`, in an order of its own."""
        self._dataset.on_epoch_begin()
        for number in self._order(index):
            yield self._dataset[number]
        self._dataset.on_epoch_end()

    def _order(self, index: int) -> Iterable[int]:
        count = self.num_batches
        if count is None:
            return itertools.count()
        if not self._shuffle:
            return range(count)
        return np.random.default_rng((self._seed, index)).permutation(count).tolist()


class IterableSource(Source):
    """A `tf.data.Dataset`, a `DataLoader`, a generator: what only goes forward."""

    def __init__(self, iterable: Any) -> None:
        self._iterable = iterable

    @property
    def num_batches(self) -> int | None:
        """What the iterable says of its length."""
        return _length(self._iterable)

    def epoch(self, index: int) -> Iterator[Any]:
        """Yield what the iterable yields; an iterator goes on where it stood."""
        del index
        return iter(self._iterable)


class SteppedSource(Source):
    """A fixed number of batches an epoch, out of a source that may be endless."""

    def __init__(self, source: Source, steps: int) -> None:
        self._source = source
        self._running: Iterator[Any] | None = None
        self._steps = _checks.positive_int("steps", steps)

    @property
    def num_batches(self) -> int:
        """The number of steps that was asked for."""
        return self._steps

    def epoch(self, index: int) -> Iterator[Any]:
        """Yield the next batches, and begin anew where the data has ended."""
        taken = 0
        for begin_anew in (False, True):
            if begin_anew or self._running is None:
                self._running = self._source.epoch(index)
            for batch in itertools.islice(self._running, self._steps):
                taken += 1
                yield batch
            if taken:
                break
        if 0 < taken < self._steps:
            self._running = None
            warnings.warn(
                f"The data ended after {taken} of {self._steps} steps of this "
                "epoch, and the epoch with it. Lower `steps_per_epoch`, or repeat the "
                "data (`dataset.repeat()`).",
                stacklevel=2,
            )


def is_array(leaf: Any) -> bool:
    """Whether `leaf` is something that can be cut along its first axis."""
    if isinstance(leaf, tf.SparseTensor) or hasattr(leaf, "tocsr"):
        raise TypeError(
            f"Sparse data cannot be cut into batches. Received: {type(leaf).__name__}. "
            "Pass `tf.data.Dataset.from_tensor_slices(sparse_tensor).batch(...)`, or "
            "make it dense."
        )
    return isinstance(leaf, (tf.Tensor, tf.RaggedTensor)) or hasattr(leaf, "__array__")


def are_arrays(structure: Any) -> bool:
    """Whether every leaf of a nested structure is an array or `None`."""
    if isinstance(structure, (tf.data.Dataset, keras.utils.PyDataset)):
        return False
    leaves = keras.tree.flatten(structure)
    return any(map(is_array, leaves)) and all(
        leaf is None or is_array(leaf) for leaf in leaves
    )


def make_source(
    data: Any,
    batch_size: int | None = None,
    *,
    shuffle: Shuffle = True,
    seed: int = 0,
    steps: int | None = None,
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

    Raises:
        ValueError: If `batch_size` is given for data that has batches already, the
            data has no end and `steps` is missing, or an argument is out of range.
        TypeError: If `data` is none of the above.
    """
    if not isinstance(data, list) and are_arrays(data):
        return ArraySource(data, batch_size, shuffle=shuffle, seed=seed, steps=steps)
    if batch_size is not None:
        raise ValueError(
            "`batch_size` is for arrays; other data comes in batches already. "
            f"Received: batch_size={batch_size!r} with data of type "
            f"{type(data).__name__}. Leave it out, or batch the data itself."
        )
    if isinstance(data, (tuple, dict, str)):
        kinds = sorted({type(leaf).__name__ for leaf in keras.tree.flatten(data)})
        raise TypeError(
            f"A {type(data).__name__} of data must contain arrays, and nothing else. "
            f"Received: {', '.join(kinds)}. Convert Python numbers with `np.asarray`."
        )
    if isinstance(data, keras.utils.PyDataset):
        source: Source = PyDatasetSource(data, shuffle=shuffle, seed=seed)
    elif hasattr(data, "__iter__"):
        source = IterableSource(data)
    else:
        raise TypeError(
            "The data must be arrays (or a tuple or dict of arrays), a "
            "tf.data.Dataset, a keras.utils.PyDataset, or an iterable of batches. "
            f"Received: {data!r} of type {type(data).__name__}"
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


def _to_tensor(array: Any) -> Any:
    """Return `array` as a tensor, floats in `keras.config.floatx()`."""
    if array is None or isinstance(array, tf.RaggedTensor):
        return array
    if hasattr(array, "iloc"):  # pandas: a column is one feature, shaped (n, 1)
        array = array.to_numpy()
        array = array[:, None] if array.ndim == 1 else array
    if isinstance(array, np.ndarray) and array.dtype == np.dtype("O"):
        array = tf.convert_to_tensor(array.tolist())
    tensor = array if tf.is_tensor(array) else tf.convert_to_tensor(np.asarray(array))
    if tensor.dtype.is_floating:
        return tf.cast(tensor, keras.config.floatx())
    return tensor


def _common_length(arrays: Any) -> int:
    """Return the number of samples, or say which arrays differ."""
    leaves = [leaf for leaf in keras.tree.flatten(arrays) if leaf is not None]
    if any(leaf.shape.rank == 0 for leaf in leaves):
        raise ValueError(
            "Every array must have a first axis of samples. Received: shapes "
            f"{[tuple(leaf.shape) for leaf in leaves]}"
        )
    lengths = [int(leaf.shape[0]) for leaf in leaves]
    if len(set(lengths)) != 1:
        raise ValueError(
            "All arrays must have the same number of samples (first axis). "
            f"Received: arrays of {', '.join(map(str, lengths))} samples"
        )
    if lengths[0] == 0:
        raise ValueError(
            "The data is empty: expected at least one sample. Received: arrays of "
            f"shapes {[tuple(leaf.shape) for leaf in leaves]}"
        )
    return lengths[0]


def _length(iterable: Any) -> int | None:
    """Return the number of batches of `iterable`, or `None` if it can't say."""
    if isinstance(iterable, tf.data.Dataset):
        cardinality = int(iterable.cardinality())
        return cardinality if cardinality >= 0 else None
    return len(iterable) if hasattr(iterable, "__len__") else None
