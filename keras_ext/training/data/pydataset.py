"""Batches from a `PyDataset`, prefetched by its workers."""

import concurrent.futures
import itertools
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np

from keras_ext.training.data.arrays import Shuffle
from keras_ext.training.data.chunks import Chunk, SingleBatch
from keras_ext.training.data.iterables import HostSource, alike


class PyDatasetSource(HostSource):
    """A `keras.utils.PyDataset`, whose batches are fetched by number."""

    def __init__(
        self,
        dataset: keras.utils.PyDataset,
        *,
        shuffle: Shuffle = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self._dataset = dataset
        self._shuffle = bool(shuffle)
        self._seed = seed

    @property
    def num_batches(self) -> int | None:
        """The current length of the dataset: `on_epoch_end` may change it."""
        return self._dataset.num_batches

    def batches(self, index: int, start: int) -> Iterator[Any]:
        """Yield the batches of epoch `index`, in the epoch's own order."""
        return alike(fetched(self._dataset, self._order(index, start)))

    def epoch(self, index: int, start: int = 0) -> Iterator[Any]:
        """Yield them, each when it is asked for."""
        return self._in_epoch(super().epoch(index, start))

    def chunks(
        self, index: int, size: Callable[[], int], start: int = 0
    ) -> Iterator[Chunk]:
        """Yield them, several together where that can be."""
        return self._in_epoch(super().chunks(index, size, start))

    def _in_epoch(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Yield batches; the dataset is notified when they were asked for and used."""
        self._dataset.on_epoch_begin()
        yield from batches
        self._dataset.on_epoch_end()

    def state(self, *, iterators: bool) -> tuple[dict[str, Any], list[Any]]:
        """Return the seed, which with epoch and batch determines the order."""
        state, _ = super().state(iterators=iterators)
        return {**state, "seed": self._seed}, []

    def set_state(self, state: dict[str, Any], restores: Any) -> None:
        """Draw the orders from the seed of that run."""
        super().set_state(state, restores)
        self._seed = state["seed"]

    def example(self) -> Chunk:
        """Return batch number 0."""
        return SingleBatch(self._dataset[0])

    def reseed(self, seed: int) -> None:
        """Draw later orders from another seed."""
        self._seed = seed

    def _order(self, index: int, start: int) -> Iterable[int]:
        count = self.num_batches
        if count is None:
            return itertools.count(start)
        if not self._shuffle:
            return range(start, count)
        order = np.random.default_rng((self._seed, index)).permutation(count)
        return order[start:].tolist()


def fetched(dataset: keras.utils.PyDataset, numbers: Iterable[int]) -> Iterator[Any]:
    """Yield `dataset[number]` for all numbers, in order.

    With `workers > 1`, or `use_multiprocessing`, up to `max_queue_size` batches are
    prefetched, in threads or in processes.
    """
    # As in Keras: a single worker prefetches only if it is a process.
    if dataset.workers < 1 or (dataset.workers == 1 and not _in_processes(dataset)):
        yield from map(dataset.__getitem__, numbers)
        return
    pool, fetch = _pool(dataset)
    waiting: deque[concurrent.futures.Future[Any]] = deque()
    try:
        for number in numbers:
            waiting.append(pool.submit(fetch, number))
            # A queue shorter than the number of workers would leave some idle.
            if len(waiting) > max(dataset.max_queue_size, dataset.workers):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_processes(dataset: keras.utils.PyDataset) -> bool:
    return bool(dataset.use_multiprocessing)


def _pool(dataset: keras.utils.PyDataset) -> tuple[Any, Any]:
    if not _in_processes(dataset):
        pool = concurrent.futures.ThreadPoolExecutor(dataset.workers)
        return pool, dataset.__getitem__
    # Forking a process in which TensorFlow runs threads can deadlock.
    safe = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if safe else "spawn")
    if safe:
        # Slow imports are done once, not by every worker.
        context.set_forkserver_preload([type(dataset).__module__])
    try:
        processes = concurrent.futures.ProcessPoolExecutor(
            dataset.workers, context, initializer=_receive, initargs=(dataset,)
        )
    except OSError as error:
        raise OSError(
            "`use_multiprocessing=True` needs semaphores, which Linux keeps in "
            f"/dev/shm. Received: {error}. Mount /dev/shm for writing, or create the "
            "PyDataset with `use_multiprocessing=False`, which uses threads."
        ) from error
    return processes, _fetch


_received: list[keras.utils.PyDataset] = []


def _receive(dataset: keras.utils.PyDataset) -> None:
    """Keep the dataset in a worker process, to which it is sent only once."""
    _received[:] = [dataset]


def _fetch(number: int) -> Any:
    return _received[0][number]
