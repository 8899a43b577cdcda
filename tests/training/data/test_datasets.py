"""Batches of a `tf.data.Dataset`, read many at a time."""

import itertools
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ext.training.data import batch_stacking as stacking
from keras_ext.training.data import chunks
from keras_ext.training.data.chunks import EqualBatches, SingleBatch
from keras_ext.training.data.datasets import DatasetSource
from keras_ext.training.data.make import SteppedSource, make_source
from tests.training.problems import LABELS, X

BLOCK = 4
"""Batches that are read together where reading is counted."""

SIZES = [[1], [3], [1000], [1, 8, 2, 5]]


@pytest.fixture(autouse=True)
def _fixed_blocks(monkeypatch):
    """Have blocks depend on no clock, and be compiled in every test."""
    monkeypatch.setattr(stacking, "PATIENCE", 1000.0)
    monkeypatch.setattr(stacking, "_KNOWN", {})


def numbers(sizes):
    return itertools.cycle(sizes).__next__


def of_sizes(sizes):
    """A dataset of batches of these sizes; the samples are counted from 0."""

    def batches():
        at = 0
        for size in sizes:
            yield np.arange(at, at + size)
            at += size

    return tf.data.Dataset.from_generator(
        batches, output_signature=tf.TensorSpec((None,), tf.int64)
    )


def unknown_width():
    def batches():
        for width in (3, 3, 2, 3):
            yield np.full((4, width), width)

    return tf.data.Dataset.from_generator(
        batches, output_signature=tf.TensorSpec((None, None), tf.int64)
    )


def unknown_rank():
    rows = tf.data.Dataset.from_tensor_slices(X).batch(16)
    return rows.map(lambda x: tf.numpy_function(lambda x: x, [x], tf.float32))


SAMPLES = tf.data.Dataset.from_tensor_slices
DATASETS = {
    "tuple": lambda: SAMPLES((X, LABELS)).batch(16),
    "drop remainder": lambda: SAMPLES((X, LABELS)).batch(16, drop_remainder=True),
    "nested dicts": lambda: SAMPLES(
        {"b": X, "a": {"d": LABELS, "c": X[:, :2]}, "t": (LABELS, X)}
    ).batch(16),
    "strings": lambda: SAMPLES((LABELS.astype(str), LABELS)).batch(16),
    "images": lambda: SAMPLES(np.ones((20, 2, 3, 1), "uint8")).batch(8),
    "ragged": lambda: SAMPLES((tf.ragged.range(LABELS), LABELS)).batch(16),
    "sparse": lambda: SAMPLES(tf.sparse.from_dense(X)).batch(16),
    "None": lambda: SAMPLES(X).batch(16).map(lambda x: (x, None)),
    "scalars": lambda: tf.data.Dataset.range(9),
    "unknown width": unknown_width,
    "unknown rank": unknown_rank,
    "unknown length": lambda: SAMPLES(LABELS).batch(16).filter(lambda y: True),
    "one batch": lambda: SAMPLES(X).batch(100),
    "empty": lambda: SAMPLES(X).batch(16).take(0),
    "other sizes in between": lambda: of_sizes([4, 4, 3, 4, 4, 4, 7, 1, 4, 2]),
    "no two alike": lambda: of_sizes([1, 2, 3, 4, 5]),
    "odd ones only at first": lambda: of_sizes([2, 5, 5, 5, 5]),
}


def assert_same_batches(actual, expected):
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        keras.tree.assert_same_structure(one, other)
        for a, b in zip(
            tf.nest.flatten(one, expand_composites=True),
            tf.nest.flatten(other, expand_composites=True),
            strict=True,
        ):
            assert (a is None) == (b is None)
            if a is not None:
                assert a.dtype == b.dtype
                np.testing.assert_array_equal(a, b)


def read(source, sizes, index=0):
    return [batch for chunk in source.chunks(index, numbers(sizes)) for batch in chunk]


class TestChunks:
    @pytest.mark.parametrize("name", DATASETS)
    def test_all_batches_come_in_order(self, name):
        dataset = DATASETS[name]()
        source, expected = DatasetSource(dataset), list(dataset)
        assert_same_batches(list(source.epoch(0)), expected)
        for sizes in SIZES:
            assert_same_batches(read(source, sizes), expected)

    @pytest.mark.parametrize("name", ["other sizes in between", "no two alike"])
    def test_no_chunk_is_larger_than_asked(self, name):
        asked = numbers([1, 4, 2, 3])
        granted = []

        def size():
            granted.append(asked())
            return granted[-1]

        for chunk in DatasetSource(DATASETS[name]()).chunks(0, size):
            assert len(chunk) == 1 or len(chunk) <= granted[-1]

    def test_batches_of_the_usual_size_come_together(self):
        source = DatasetSource(of_sizes([4, 4, 4, 3, 4, 4, 4, 4, 4, 1]))
        kinds = [(type(chunk), len(chunk)) for chunk in source.chunks(0, lambda: 3)]
        assert kinds == [
            (EqualBatches, 1),  # which has to wait for no other
            (EqualBatches, 2),
            (SingleBatch, 1),
            (EqualBatches, 3),
            (EqualBatches, 2),
            (SingleBatch, 1),
        ]

    def test_slow_data_comes_as_it_is_there(self, monkeypatch):
        monkeypatch.setattr(stacking, "PATIENCE", -1.0)
        source = DatasetSource(of_sizes([4] * 5))
        assert [len(chunk) for chunk in source.chunks(0, lambda: 9)] == [1] * 5

    def test_one_of_another_size_is_not_worth_compiling_for(self):
        source = DatasetSource(of_sizes([4, 4, 3, 4]))
        odd = [c for c in source.chunks(0, lambda: 9) if isinstance(c, SingleBatch)]
        assert [chunk.full_size for chunk in odd] == [False]

    @pytest.mark.parametrize("name", ["ragged", "strings", "unknown width"])
    def test_batches_that_cannot_be_stacked_come_one_by_one(self, name):
        found = list(DatasetSource(DATASETS[name]()).chunks(0, lambda: 9))
        together = name == "strings"
        assert any(len(chunk) > 1 for chunk in found) == together
        assert all(isinstance(chunk, EqualBatches) for chunk in found[:1]) == together

    def test_small_batches_are_not_awaited_by_the_hundred_thousand(self):
        """Room for them takes a tenth of a second to make, in every epoch."""
        source = DatasetSource(tf.data.Dataset.range(96).batch(32).repeat())
        for chunk in itertools.islice(source.chunks(0, lambda: 9), 2):
            assert len(chunk.arrays) // 32 <= 1024

    def test_a_dataset_of_known_length_takes_no_more_room(self):
        source = DatasetSource(tf.data.Dataset.range(96).batch(32))
        for chunk in source.chunks(0, lambda: 9):
            assert len(chunk.arrays) // 32 <= 3

    def test_no_more_are_stacked_than_the_limit_holds(self, monkeypatch):
        monkeypatch.setattr(chunks, "_BLOCK_BYTES", 2 * 16 * 6 * 4)
        source = DatasetSource(SAMPLES(X).batch(16))
        assert [len(c) for c in source.chunks(0, lambda: 9)] == [1, 2, 1, 1]

    def test_arrays_of_other_lengths_in_one_element(self):
        """A batch may hold something that is not per sample."""
        dataset = SAMPLES((X, LABELS)).batch(10, drop_remainder=True)
        dataset = dataset.map(lambda x, y: (x, y, tf.cast(y[:3], tf.float32)))
        source = DatasetSource(dataset)
        for sizes in SIZES:
            assert_same_batches(read(source, sizes), list(dataset))

    def test_one_array_of_changing_length_beside_one_of_constant_length(self):
        nodes = of_sizes([4, 4, 3, 5, 4])
        dataset = tf.data.Dataset.zip((SAMPLES(X).batch(10), nodes))
        source = DatasetSource(dataset)
        for sizes in SIZES:
            assert_same_batches(read(source, sizes), list(dataset))

    @pytest.mark.parametrize("sizes", [[0, 3, 3], [3, 0, 3]])
    def test_a_batch_without_samples_does_no_harm(self, sizes):
        found = read(DatasetSource(of_sizes(sizes)), [9])
        assert [len(batch) for batch in found if len(batch)] == [3, 3]

    def test_an_error_in_the_dataset_reaches_the_caller(self):
        def check(x):
            return tf.debugging.check_numerics(x / tf.zeros_like(x), "no number")

        bad = SAMPLES(X).batch(16).map(check)
        with pytest.raises(tf.errors.InvalidArgumentError, match="no number"):
            read(DatasetSource(bad), [9])


class TestLength:
    @pytest.mark.parametrize(
        ("dataset", "length"),
        [
            (tf.data.Dataset.range(9).batch(4), 3),
            (tf.data.Dataset.range(9).filter(lambda x: x > 3).batch(4), None),
            (tf.data.Dataset.range(9).repeat(), None),
        ],
    )
    def test_number_of_batches_where_it_is_known(self, dataset, length):
        assert DatasetSource(dataset).num_batches == length


class TestReading:
    @pytest.fixture
    def counted(self, monkeypatch):
        """A dataset, and the numbers of the elements that were drawn from it."""
        monkeypatch.setattr(chunks, "_BLOCK_BYTES", BLOCK * 4 * 8)
        # It draws an unknown number of elements ahead.
        monkeypatch.setattr(tf.data.Dataset, "prefetch", lambda self, size: self)
        options = tf.data.Options()
        options.experimental_optimization.inject_prefetch = False
        drawn = []

        def draw(number):
            drawn.append(int(number))
            return np.full(4, number)

        dataset = tf.data.Dataset.range(40).map(
            lambda number: tf.ensure_shape(
                tf.numpy_function(draw, [number], tf.int64), (4,)
            )
        )
        return dataset.with_options(options), drawn

    def test_two_blocks_are_read_at_most(self, counted):
        """One to train on, and one ahead."""
        dataset, drawn = counted
        source = DatasetSource(dataset)
        taken = 0
        for chunk in source.chunks(0, numbers([1, 5, 3, 7])):
            taken += len(chunk)
            assert taken <= len(drawn) <= taken + 2 * BLOCK
        assert drawn == list(range(40))

    def test_steps_read_no_further(self, counted):
        dataset, drawn = counted
        source = SteppedSource(DatasetSource(dataset), 6)
        for epoch in range(3):
            assert len(read(source, [4], epoch)) == 6
            assert len(drawn) <= 6 * (epoch + 1) + 2 * BLOCK

    def test_nothing_is_read_before_the_first_batch(self, counted):
        dataset, drawn = counted
        chunks = make_source(dataset, steps=3).chunks(0, lambda: 2)
        assert drawn == []
        next(chunks)
        assert drawn != []

    def test_it_ends_when_iteration_is_abandoned(self, counted):
        dataset, drawn = counted
        before = set(threading.enumerate())
        source = make_source(dataset, steps=3)
        read(source, [1])
        # Threads of earlier tests may end meanwhile.
        assert set(threading.enumerate()) - before
        source.close()
        for thread in set(threading.enumerate()) - before:
            thread.join(30)
            assert not thread.is_alive()
        assert len(drawn) <= 3 + 2 * BLOCK


class TestTracing:
    @pytest.fixture
    def traces(self, monkeypatch):
        found = []
        original = stacking.BatchStacker._read

        def read(self, *args):
            found.append(1)
            return original(self, *args)

        monkeypatch.setattr(stacking.BatchStacker, "_read", read)
        return found

    def test_once_for_several_epochs_and_any_sizes(self, traces):
        source = DatasetSource(SAMPLES((X, LABELS)).batch(16))
        for index, sizes in enumerate(SIZES):
            read(source, sizes, index)
        assert len(traces) == 1

    def test_once_with_steps_that_go_on_and_begin_anew(self, traces):
        source = SteppedSource(DatasetSource(SAMPLES(X).batch(10)), 7)
        for index in range(3):
            read(source, [4], index)
        source.close()
        read(source, [4])
        assert len(traces) == 1

    def test_once_for_all_sources_of_such_batches(self, traces):
        for _ in range(3):
            read(DatasetSource(SAMPLES((X, LABELS)).batch(16)), [3])
        assert len(traces) == 1
        read(DatasetSource(SAMPLES((X, LABELS)).batch(8)), [3])
        read(DatasetSource(SAMPLES((LABELS, X)).batch(16)), [3])
        read(DatasetSource(SAMPLES({"x": X, "y": LABELS}).batch(16)), [3])
        assert len(traces) == 4

    def test_once_for_each_size_that_begins_an_epoch(self, traces):
        sizes = tf.Variable(4, dtype=tf.int64)
        dataset = tf.data.Dataset.range(3).map(
            lambda i: tf.fill(tf.reshape(sizes, (1,)), i)
        )
        source = DatasetSource(dataset)
        for size in (4, 4, 2, 4, 2):
            sizes.assign(size)
            assert [len(batch) for batch in read(source, [9])] == [size] * 3
        assert len(traces) == 2

    def test_not_at_all_for_what_cannot_be_stacked(self, traces):
        read(DatasetSource(DATASETS["ragged"]()), [9])
        assert traces == []


class TestSteps:
    @staticmethod
    def values(source, index, sizes):
        return [int(batch[0]) for batch in read(source, sizes, index)]

    @pytest.fixture(params=[[1], [3, 1, 1000]], ids=str)
    def sizes(self, request):
        return request.param

    def test_epochs_go_on_where_the_last_stopped(self, sizes):
        source = make_source(tf.data.Dataset.range(7).batch(1).repeat(), steps=5)
        epochs = [self.values(source, epoch, sizes) for epoch in range(3)]
        expected = [number % 7 for number in range(15)]
        assert epochs == [expected[:5], expected[5:10], expected[10:]]

    def test_data_that_ends_with_an_epoch_begins_anew(self, sizes):
        source = make_source(tf.data.Dataset.range(6).batch(1), steps=3)
        epochs = [self.values(source, epoch, sizes) for epoch in range(3)]
        assert epochs == [[0, 1, 2], [3, 4, 5], [0, 1, 2]]

    def test_data_that_ends_within_an_epoch_is_said(self, sizes):
        source = make_source(tf.data.Dataset.range(7).batch(1), steps=5)
        assert self.values(source, 0, sizes) == [0, 1, 2, 3, 4]
        with pytest.warns(UserWarning, match="ended after 2 of 5 steps"):
            assert self.values(source, 1, sizes) == [5, 6]
        assert self.values(source, 2, sizes) == [0, 1, 2, 3, 4]

    def test_closing_begins_anew(self, sizes):
        source = make_source(tf.data.Dataset.range(7).batch(1), steps=5)
        for _ in range(3):
            assert self.values(source, 0, sizes) == [0, 1, 2, 3, 4]
            source.close()

    def test_batches_of_other_sizes_count_as_steps(self, sizes):
        source = make_source(of_sizes([4, 4, 3, 4, 1, 4, 4, 4]), steps=4)
        epochs = [
            [len(batch) for batch in read(source, sizes, epoch)] for epoch in range(2)
        ]
        assert epochs == [[4, 4, 3, 4], [1, 4, 4, 4]]

    def test_an_empty_dataset_gives_nothing(self, sizes):
        source = make_source(SAMPLES(X).batch(4).take(0), steps=4)
        assert read(source, sizes) == []
