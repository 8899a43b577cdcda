"""Batches of a `PyDataset` that its workers fetch ahead."""

import concurrent.futures
import errno
import multiprocessing
import os
import threading

import keras
import numpy as np
import pytest

from keras_ext import Trainer
from keras_ext.training.data import pydataset
from keras_ext.training.data.make import make_source
from keras_ext.training.data.pydataset import fetched
from tests.markers import needs_semaphores
from tests.training.problems import CLASSIFY, LABELS, X, classifier

WORKERS = {
    "none": {"workers": 0},
    "one": {"workers": 1},
    "threads": {"workers": 3, "max_queue_size": 4},
    "processes": {"workers": 2, "use_multiprocessing": True},
}
PROCESSES = pytest.param("processes", marks=needs_semaphores)


@pytest.fixture(scope="module", autouse=True)
def _quick_processes():
    """Have worker processes start with TensorFlow imported."""
    if "forkserver" in multiprocessing.get_all_start_methods():
        multiprocessing.get_context("forkserver").set_forkserver_preload([__name__])


class Part(keras.utils.PyDataset):
    """The classification data; at module level, where worker processes find it."""

    fails_at: int | None = None

    def __len__(self):
        return 7

    def __getitem__(self, index):
        if index == self.fails_at:
            raise LookupError(f"no batch {index}")
        rows = slice(10 * index, 10 * (index + 1))
        return X[rows], LABELS[rows]


class Telling(Part):
    """Yields the number of the epoch, the batch's number, and who fetched it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.epoch = 0
        self.hooks = []

    def __getitem__(self, index):
        return np.array([self.epoch, index, os.getpid(), threading.get_ident()])

    def on_epoch_begin(self):
        self.hooks.append(("begin", self.epoch))

    def on_epoch_end(self):
        self.hooks.append(("end", self.epoch))
        self.epoch += 1


class Inline:
    """A pool that does the work when it is submitted, and counts it."""

    def __init__(self):
        self.submitted = 0
        self.closed = False

    def submit(self, function, *args):
        self.submitted += 1
        future = concurrent.futures.Future()
        future.set_result(function(*args))
        return future

    def shutdown(self, wait, cancel_futures):
        self.closed = wait and cancel_futures


@pytest.fixture
def inline(monkeypatch):
    """Have the batches fetched by a pool that is no pool."""
    pool = Inline()
    monkeypatch.setattr(pydataset, "_pool", lambda dataset: (pool, dataset.__getitem__))
    return pool


class TestFetched:
    @pytest.mark.parametrize("how", ["none", "one", "threads", PROCESSES])
    def test_batches_and_hooks_come_in_order(self, how):
        """Two epochs, of which the second sees what the first's end changed."""
        dataset = Telling(**WORKERS[how])
        source = make_source(dataset, shuffle=False)
        batches = [np.stack(list(source.epoch(epoch))) for epoch in range(2)]
        for epoch, batch in enumerate(batches):
            np.testing.assert_array_equal(batch[:, 0], epoch)
            np.testing.assert_array_equal(batch[:, 1], range(7))
        assert dataset.hooks == [("begin", 0), ("end", 0), ("begin", 1), ("end", 1)]
        processes, threads = set(batches[1][:, 2]), set(batches[1][:, 3])
        if how == "processes":
            assert os.getpid() not in processes
        else:
            assert processes == {os.getpid()}
            assert (threading.get_ident() in threads) == (how != "threads")

    def test_the_numbers_that_are_asked_for(self):
        for how in ("one", "threads"):
            order = [5, 0, 3, 3]
            found = [int(b[1]) for b in fetched(Telling(**WORKERS[how]), order)]
            assert found == order

    @pytest.mark.parametrize("how", ["one", "threads"])
    def test_an_error_reaches_the_caller_after_the_batches_before_it(self, how):
        dataset = Part(**WORKERS[how])
        dataset.fails_at = 3
        batches = fetched(dataset, range(7))
        assert [len(next(batches)[0]) for _ in range(3)] == [10, 10, 10]
        with pytest.raises(LookupError, match="no batch 3"):
            next(batches)

    @needs_semaphores
    def test_an_error_in_a_process_reaches_the_caller(self):
        dataset = Part(workers=1, use_multiprocessing=True)
        dataset.fails_at = 0
        with pytest.raises(LookupError, match="no batch 0"):
            next(fetched(dataset, range(7)))
        assert multiprocessing.active_children() == []

    def test_a_machine_without_semaphores(self, monkeypatch):
        def refuse(*args, **kwargs):
            raise OSError(errno.ENOSYS, "Function not implemented")

        monkeypatch.setattr(concurrent.futures, "ProcessPoolExecutor", refuse)
        with pytest.raises(
            OSError,
            match=r"`use_multiprocessing=True` needs .*/dev/shm.*not impl.*=False",
        ):
            next(fetched(Part(**WORKERS["processes"]), range(7)))


class TestAhead:
    @pytest.mark.parametrize(
        ("workers", "queue", "ahead"), [(2, 3, 3), (3, 1, 3), (2, 10, 10)]
    )
    def test_no_more_than_the_queue_holds_or_workers_need(
        self, workers, queue, ahead, inline
    ):
        dataset = Part(workers=workers, max_queue_size=queue)
        for taken, _ in enumerate(fetched(dataset, range(7)), start=1):
            assert inline.submitted == min(7, taken + ahead)
        assert taken == 7

    def test_of_an_endless_dataset_too(self, inline):
        class Endless(Telling):
            num_batches = None

        source = make_source(Endless(workers=2, max_queue_size=3), steps=5)
        assert [int(batch[1]) for batch in source.epoch(0)] == [0, 1, 2, 3, 4]
        assert inline.submitted == 5 + 3
        assert [int(batch[1]) for batch in source.epoch(1)] == [5, 6, 7, 8, 9]

    def test_nothing_before_the_first_batch_is_asked_for(self, inline):
        batches = fetched(Part(workers=2), range(7))
        assert inline.submitted == 0
        next(batches)
        assert inline.submitted > 0


class TestShutdown:
    def test_at_the_end(self, inline):
        list(fetched(Part(workers=2), range(7)))
        assert inline.closed

    def test_when_iteration_is_abandoned(self, inline):
        batches = make_source(Part(workers=2, max_queue_size=2)).epoch(0)
        next(batches)
        assert not inline.closed
        batches.close()
        assert inline.closed

    def test_when_the_source_is_closed(self, inline):
        source = make_source(Part(workers=2, max_queue_size=2), steps=3)
        list(source.chunks(0, lambda: 1))
        assert not inline.closed
        source.close()
        assert inline.closed

    def test_threads_end_when_training_stops(self):
        before = set(threading.enumerate())

        class Stop(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                self.model.stop_training = batch == 1

        trainer = Trainer(classifier())
        trainer.compile("sgd", **CLASSIFY)
        trainer.fit(Part(**WORKERS["threads"]), callbacks=[Stop()], verbose=0)
        assert int(trainer.optimizer.iterations) == 2
        assert set(threading.enumerate()) <= before


def trained(how):
    """Return the weights and the history of a training with these workers."""
    keras.utils.set_random_seed(7)
    trainer = Trainer(classifier(), seed=2)
    trainer.compile(keras.optimizers.Adam(0.01), **CLASSIFY)
    history = trainer.fit(Part(**WORKERS[how]), validation_data=(X, LABELS), verbose=0)
    return trainer.get_weights(), history.history


@pytest.fixture(scope="module")
def with_one_worker():
    return trained("one")


@pytest.mark.parametrize("how", ["none", "threads", PROCESSES])
def test_training_is_that_with_one_worker(how, with_one_worker):
    (weights, history), (expected, expected_history) = trained(how), with_one_worker
    assert history == expected_history
    for actual, one in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(actual, one)


def test_evaluation_and_prediction_use_the_workers_in_order():
    trainer = Trainer(classifier())
    trainer.compile("sgd", **CLASSIFY)
    one, threads = Part(**WORKERS["one"]), Part(**WORKERS["threads"])
    expected = trainer.evaluate(one, verbose=0)
    assert trainer.evaluate(threads, verbose=0) == expected
    np.testing.assert_array_equal(
        trainer.predict(threads, verbose=0), trainer.predict(one, verbose=0)
    )
