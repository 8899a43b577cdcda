"""Batches from anything that can be iterated over."""

from collections.abc import Iterable, Iterator
from typing import Any

import keras
import tensorflow as tf

from keras_ext.training.data.batch_checks import shortened
from keras_ext.training.data.source import Source, skip


class IterableSource(Source):
    """A `DataLoader`, a list, a generator: data that is only read forward."""

    def __init__(self, iterable: Any) -> None:
        self._iterable = iterable

    @property
    def num_batches(self) -> int | None:
        """The length that the iterable reports."""
        return len(self._iterable) if hasattr(self._iterable, "__len__") else None

    def epoch(self, index: int, start: int = 0) -> Iterator[Any]:
        """Yield what the iterable yields; an iterator continues where it stopped."""
        del index
        return skip(alike(self._iterable), start)


class WholeBatches:
    """The batches of a distributed dataset, before they were split for the replicas.

    A step splits them for its replicas itself, even if they cannot be split evenly.
    """

    def __init__(self, dataset: tf.distribute.DistributedDataset) -> None:
        cluster = tf.distribute.cluster_resolver.TFConfigClusterResolver()
        spec = cluster.cluster_spec()
        if sum(spec.num_tasks(job) for job in spec.jobs) > 1:
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
