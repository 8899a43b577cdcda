"""Fetching the batches of a `PyDataset` ahead, with its workers."""

import concurrent.futures
import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import keras


def fetched(dataset: keras.utils.PyDataset, numbers: Iterable[int]) -> Iterator[Any]:
    """Yield `dataset[number]` for all numbers, in order.

    With `workers > 1`, or `use_multiprocessing`, up to `max_queue_size` batches are
    fetched ahead, in threads or in processes.
    """
    if dataset.workers < 1 or (dataset.workers == 1 and not _in_processes(dataset)):
        yield from map(dataset.__getitem__, numbers)
        return
    pool, fetch = _pool(dataset)
    waiting: deque[concurrent.futures.Future[Any]] = deque()
    try:
        for number in numbers:
            waiting.append(pool.submit(fetch, number))
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
        # What takes long to import is imported once, not by every worker.
        context.set_forkserver_preload([type(dataset).__module__])
    try:
        processes = concurrent.futures.ProcessPoolExecutor(
            dataset.workers, context, initializer=_receive, initargs=(dataset,)
        )
    except OSError as error:
        raise OSError(
            "`use_multiprocessing=True` needs semaphores, which Linux keeps in "
            f"/dev/shm. Received: {error}. Mount /dev/shm for writing, or make the "
            "PyDataset with `use_multiprocessing=False`, which takes threads."
        ) from error
    return processes, _fetch


_received: list[keras.utils.PyDataset] = []


def _receive(dataset: keras.utils.PyDataset) -> None:
    """Keep the dataset in a worker process, to which it is sent once."""
    _received[:] = [dataset]


def _fetch(number: int) -> Any:
    return _received[0][number]
