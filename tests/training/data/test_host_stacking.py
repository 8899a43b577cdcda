"""Batches of Python's iterators: put together, in order, and not read too far."""

import itertools
import threading
import time
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ext import Loop, Trainer
from keras_ext.training.base import host_random
from keras_ext.training.data import batch_stacking, host_stacking, stack_reader
from keras_ext.training.data.chunks import EqualBatches
from keras_ext.training.data.make import SteppedSource, make_source

X = np.arange(100, dtype="float32").reshape(50, 2)
Y = np.arange(50)
SIZE = 4  # 12 batches and one of 2


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """Have stacks depend on no clock."""
    monkeypatch.setattr(batch_stacking, "PATIENCE", 60.0)


def batches(x=X, y=Y, size=SIZE):
    for at in range(0, len(x), size):
        yield x[at : at + size], y[at : at + size]


class Counted:
    """An iterator that counts how often it was asked."""

    def __init__(self, iterator):
        self.count, self._iterator = 0, iterator

    def __iter__(self):
        return self

    def __next__(self):
        self.count += 1
        return next(self._iterator)


class Dataset(keras.utils.PyDataset):
    def __init__(self, **options):
        super().__init__(**options)
        self.events = []

    def __len__(self):
        return 13

    def __getitem__(self, number):
        return X[number * SIZE :][:SIZE], Y[number * SIZE :][:SIZE]

    def on_epoch_begin(self):
        self.events.append("begin")

    def on_epoch_end(self):
        self.events.append("end")


def chunks_of(data, size=5, start=0, **options):
    source = make_source(data, shuffle=False, **options)
    return list(source.chunks(0, lambda: size, start))


def joined(chunks):
    parts = [batch for chunk in chunks for batch in chunk.batches()]
    return [
        np.concatenate([np.asarray(p) for p in leaf])
        for leaf in zip(*parts, strict=True)
    ]


def assert_whole(chunks, x=X, y=Y):
    first, second = joined(chunks)
    np.testing.assert_array_equal(first, x)
    np.testing.assert_array_equal(second, y)


def in_use():
    """Return batches in one array, which is filled again for each."""
    x = np.empty((SIZE, 2), "float32")
    for rows, y in batches():
        x[: len(rows)] = rows
        yield x[: len(rows)], y


def loader():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    data = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
    return torch.utils.data.DataLoader(data, batch_size=SIZE)


@pytest.mark.parametrize(
    "make",
    [
        batches,
        lambda: list(batches()),
        in_use,
        lambda: (tuple(map(tf.constant, batch)) for batch in batches()),
        lambda: ((x.astype("float64"), y) for x, y in batches()),
        Dataset,
        lambda: Dataset(workers=2),
        loader,
    ],
    ids=[
        "generator",
        "list",
        "one array",
        "tensors",
        "float64",
        "PyDataset",
        "workers",
        "DataLoader",
    ],
)
def test_equal_batches_are_put_together_in_order(make):
    chunks = chunks_of(make())
    assert_whole(chunks)
    assert sum(map(len, chunks)) == 13
    assert [len(chunk) for chunk in chunks][-2:] != [1, 1]
    *equal, odd = chunks
    assert all(isinstance(chunk, EqualBatches) for chunk in equal)
    assert odd.num_samples == 2
    assert not odd.full_size
    dtypes = {leaf.dtype for chunk in chunks for leaf in next(chunk.batches())}
    assert dtypes == {tf.float32, tf.int64}


def test_a_stack_is_as_long_for_the_first_batch_as_for_many():
    chunks = chunks_of(batches())[:-1]
    assert len({chunk.arrays[0].shape for chunk in chunks}) == 1


def test_odd_batches_in_between_stay_in_order():
    parts = [X[:4], X[4:8], X[8:10], X[10:14], X[14:15], X[15:17], X[17:21]]
    chunks = chunks_of((part, part[:, 0]) for part in parts)
    assert_whole(chunks, X[:21], X[:21, 0])


@pytest.mark.parametrize(
    ("what", "make"),
    [
        ("other widths", lambda n: np.full((SIZE, 2 + n % 3), n, "float32")),
        ("strings", lambda n: np.array([str(n)] * SIZE)),
        ("ragged", lambda n: tf.ragged.constant([[n], [n, n]])),
        ("scalars", np.float32),
        ("no samples", lambda n: np.zeros((0, 2), "float32")),
        ("lengths", lambda n: (np.full(3, n), np.full(2, n))),
        ("nothing", lambda n: (np.full(3, n), None)),
    ],
)
def test_others_come_one_by_one(what, make):
    expected = [make(n) for n in range(9)]
    chunks = chunks_of(iter(expected))
    assert [len(chunk) for chunk in chunks] == [1] * 9
    for chunk, batch in zip(chunks, expected, strict=True):
        for one, other in zip(
            keras.tree.flatten(next(chunk.batches())),
            keras.tree.flatten(batch),
            strict=True,
        ):
            if other is None:
                assert one is None
            elif what == "ragged":
                assert one.to_list() == other.to_list()
            else:
                np.testing.assert_array_equal(one, other)


class TestHowFarIsRead:
    def test_no_more_than_the_steps_of_the_epochs(self):
        counted = Counted(itertools.cycle(list(batches())[:12]))
        source = make_source(counted, steps=7)
        for epoch in range(3):
            assert sum(map(len, source.chunks(epoch, lambda: 3))) == 7
            assert counted.count == 7 * (epoch + 1)
        source.close()
        assert counted.count == 21

    def test_what_is_all_is_not_waited_for(self, monkeypatch):
        monkeypatch.setattr(batch_stacking, "batches_at_once", lambda *_: 4)
        source = make_source(itertools.cycle(list(batches())[:12]), steps=7)
        begin = time.monotonic()
        for epoch in range(2):  # stacks of 4 and 3 batches
            assert sum(map(len, source.chunks(epoch, lambda: 3))) == 7
        assert time.monotonic() - begin < 30  # half of `PATIENCE`
        source.close()

    def test_no_more_than_two_stacks_of_an_endless_iterator(self, monkeypatch):
        monkeypatch.setattr(batch_stacking, "batches_at_once", lambda *_: 4)
        counted = Counted(itertools.cycle(list(batches())[:12]))
        chunks = make_source(counted).chunks(0, lambda: 2)
        used = sum(len(next(chunks)) for _ in range(6))
        deadline = time.monotonic() + 30
        while counted.count < used + 8 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)  # for what should not happen
        assert used < counted.count <= used + 8
        chunks.close()

    def test_the_rest_belongs_to_whoever_made_the_iterator(self):
        iterator = batches()
        trainer = Trainer(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
        trainer.compile(keras.optimizers.SGD(1e-6), "mse")
        trainer.fit(iterator, steps_per_epoch=4, epochs=2, verbose=0)
        trainer.evaluate(iterator, steps=2, verbose=0)
        np.testing.assert_array_equal(next(iterator)[0], X[40:44])

    def test_slow_data_is_trained_on_as_it_comes(self, monkeypatch):
        monkeypatch.setattr(batch_stacking, "PATIENCE", 0.0)
        goes_on = threading.Event()

        def slow():
            yield from itertools.islice(batches(), 3)
            assert goes_on.wait(60)
            yield from itertools.islice(batches(), 3, None)

        chunks, read = make_source(slow()).chunks(0, lambda: 5), []
        while sum(map(len, read)) < 3:
            read.append(next(chunks))
        goes_on.set()
        assert_whole([*read, *chunks])

    def test_who_leaves_does_not_wait_for_long(self, monkeypatch):
        monkeypatch.setattr(batch_stacking, "PATIENCE", 0.0)
        monkeypatch.setattr(host_stacking, "_TO_REST", 0.01)
        stuck = threading.Event()

        def hangs():
            yield from itertools.islice(batches(), 2)
            stuck.wait(60)

        chunks = make_source(hangs()).chunks(0, lambda: 1)
        next(chunks)
        begin = time.monotonic()
        chunks.close()
        assert time.monotonic() - begin < 30
        stuck.set()

    def test_threads_end(self):
        before = threading.active_count()
        chunks_of(batches())
        unfinished = make_source(batches()).chunks(0, lambda: 1)
        next(unfinished)
        unfinished.close()
        deadline = time.monotonic() + 30
        while threading.active_count() > before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert threading.active_count() <= before


class BrokenError(Exception):
    """What no other code raises."""


class TestErrors:
    def fails(self, after):
        yield from itertools.islice(batches(), after)
        raise BrokenError("of the user")

    @pytest.mark.parametrize("after", [0, 1, 7])
    def test_what_the_data_raises_comes_after_the_batches_before_it(self, after):
        made = []
        chunks = make_source(self.fails(after)).chunks(0, lambda: 3)
        with pytest.raises(BrokenError, match="of the user") as caught:
            made.extend(chunks)
        assert sum(map(len, made)) == after
        if hasattr(caught.value, "__notes__"):  # since Python 3.11
            assert f"for batch {after}, counted from 0" in caught.value.__notes__[0]

    def test_batches_of_another_kind(self):
        data = [*list(batches())[:3], (X[:4], Y[:4].astype("float32"))]
        with pytest.raises(ValueError, match="batch 3 is"):
            chunks_of(iter(data))


def test_a_pydataset_is_notified_after_its_batches_were_used():
    dataset = Dataset()
    source = make_source(dataset, shuffle=False)
    for epoch in range(2):
        for chunk in source.chunks(epoch, lambda: 4):
            assert dataset.events == ["begin", "end"] * epoch + ["begin"], len(chunk)
    assert dataset.events == ["begin", "end"] * 2


class TestRandomNumbers:
    def draws(self):
        for x, y in batches():
            yield x + np.random.normal(size=x.shape), y

    def test_a_saved_run_reads_them_in_order(self):
        source = make_source(self.draws())
        source.keep_draws_in_order()
        states = []
        for chunk in source.chunks(0, lambda: 4):
            assert len(chunk) == 1
            states.append(host_random.get_state()["numpy"][2])
        assert len(set(states)) == 13

    def test_others_read_ahead(self):
        assert any(len(chunk) > 1 for chunk in chunks_of(self.draws()))

    def test_what_draws_nothing_is_read_ahead_by_a_saved_run(self):
        source = make_source(batches())
        source.keep_draws_in_order()
        assert any(len(chunk) > 1 for chunk in source.chunks(0, lambda: 4))


def test_it_goes_on_where_a_run_was():
    assert_whole(chunks_of(list(batches())), X, Y)
    with pytest.warns(UserWarning, match="dropped"):
        chunks = chunks_of(list(batches()), start=6)
    assert_whole(chunks, X[24:], Y[24:])


def test_training_is_the_same_as_one_batch_at_a_time():
    def trained(step_by_step):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        trainer = Trainer(model)
        trainer.compile(keras.optimizers.SGD(1e-4), "mse", jit_compile=False)
        for epoch in Loop(trainer, epochs=2, verbose=0):
            data = list(batches())
            if step_by_step:
                for batch in epoch.batches(data):
                    epoch.log(trainer.step(batch))
            else:
                for chunk in epoch.chunks(data):
                    epoch.log(trainer.steps(chunk))
        return trainer.get_weights()

    for one, other in zip(trained(False), trained(True), strict=True):
        np.testing.assert_array_equal(one, other)


def test_both_stackers_are_used_alike():
    names = {name for name in vars(stack_reader.Stacker) if name[0] != "_"}
    assert names <= set(dir(host_stacking.HostStacker))


@pytest.mark.parametrize(
    ("steps", "expected"), [(13, [13] * 4), (20, [13] * 4), (5, [5, 5, 3, 5])]
)
def test_a_pass_that_ends_leaves_the_next_its_steps(steps, expected):
    """What is read at the end of the data counts for no batch of the next pass."""
    source = SteppedSource(make_source(Dataset(), shuffle=False), steps)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The data ended after")
        counts = [
            sum(len(chunk) for chunk in source.chunks(epoch, lambda: 3))
            for epoch in range(4)
        ]
    assert counts == expected
