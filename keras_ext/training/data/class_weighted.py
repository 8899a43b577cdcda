"""Batches with the weights of their classes, for `class_weight` of `fit`."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_ext.training.data.chunks import Chunk, EqualBatches, SingleBatch, take
from keras_ext.training.data.class_weights import ClassWeights
from keras_ext.training.data.source import Source


class ClassWeighted(Source):
    """Batches `(x, y)` of another source, with the weights of the classes added.

    Args:
        source: The other source.
        weights: The weights.
        whole: Whether an epoch is a pass over all of the data.
    """

    def __init__(self, source: Source, weights: ClassWeights, *, whole: bool) -> None:
        if weights.balanced:
            raise ValueError(
                "`class_weight='balanced'` needs all targets together, as arrays. "
                "Received: data that comes in batches. Count the classes, and pass a "
                "dict from classes to weights."
            )
        self._source = source
        self._weights = weights
        self._whole = whole

    @property
    def num_batches(self) -> int | None:
        """The other source's."""
        return self._source.num_batches

    def epoch(self, index: int, start: int = 0) -> Iterator[Any]:
        """Yield `(x, y, weights)`."""
        yield from map(self._weighted, self._source.epoch(index, start))
        self._check_met(start)

    def chunks(
        self, index: int, size: Callable[[], int], start: int = 0
    ) -> Iterator[Chunk]:
        """Yield the batches, several together as the other source does."""
        for number, chunk in enumerate(self._source.chunks(index, size, start)):
            if isinstance(chunk, EqualBatches):
                yield self._weighted_together(chunk, begins=number == 0)
            elif isinstance(chunk, SingleBatch):
                weighted = self._weighted(chunk.batch)
                yield SingleBatch(weighted, full_size=chunk.full_size)
            else:
                yield from map(SingleBatch, map(self._weighted, chunk))
        self._check_met(start)

    def description(self) -> dict[str, Any]:
        """Return the other source's."""
        return self._source.description()

    def state(self, *, iterators: bool) -> tuple[dict[str, Any], list[Any]]:
        """Return the other source's."""
        return self._source.state(iterators=iterators)

    def set_state(self, state: dict[str, Any], restores: Any) -> None:
        """Set the other source's."""
        self._source.set_state(state, restores)

    def example(self) -> Chunk | None:
        """Return one of the other source's batches, with weights."""
        chunk = self._source.example()
        if chunk is None:
            return None
        x, y, _ = keras.utils.unpack_x_y_sample_weight(next(iter(chunk)))
        return SingleBatch((x, y, self._weights.like(y)))

    def reseed(self, seed: int) -> None:
        """Reseed the other source."""
        self._source.reseed(seed)

    def allow(self, count: int) -> None:
        """Let the other source read so many more batches, and no others."""
        self._source.allow(count)

    def keep_draws_in_order(self) -> None:
        """Have the other source do so."""
        self._source.keep_draws_in_order()

    def close(self) -> None:
        """Release what the other source reads."""
        self._source.close()

    def _check_met(self, start: int) -> None:
        """Raise or warn if an epoch had none of the classes that have weights."""
        # A continued epoch has not seen the batches before `start`.
        if not (start or self._weights.met_any):
            # Otherwise, the classes may be in data still to come.
            if self._whole:
                raise ValueError(self._weights.none_met())
            warnings.warn(self._weights.none_met(), stacklevel=2)

    def _weighted_together(self, chunk: EqualBatches, *, begins: bool) -> EqualBatches:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(chunk.arrays)
        check_not_both(self._weights, sample_weight)
        size, count = chunk.batch_size, len(chunk)
        rows = chunk.order[chunk.first * size : (chunk.first + count) * size].numpy()
        targets = None if y is None else take(y, rows)
        if begins and targets is not None:
            # What targets are, labels or rows, is decided by the first batch, however
            # many come together.
            self._weights.of_batch(take(targets, np.arange(size)))
        weights = self._weights.of_batch(targets)
        # Other rows of the arrays belong to other chunks, or to none.
        all_rows = np.zeros((y.shape[0], *weights.shape[1:]), weights.dtype)
        all_rows[rows] = weights
        arrays = x, y, tf.constant(all_rows)
        return EqualBatches(arrays, chunk.order, size, chunk.first, count)

    def _weighted(self, batch: Any) -> Any:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        check_not_both(self._weights, sample_weight)
        return x, y, self._weights.of_batch(y)


def check_not_both(class_weight: Any, sample_weight: Any) -> None:
    """Raise `ValueError` if weights are given twice."""
    if class_weight is not None and sample_weight is not None:
        raise ValueError(
            "`class_weight` and `sample_weight` cannot both be given. Multiply the "
            "class weights into `sample_weight`."
        )
