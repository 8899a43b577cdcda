"""Consecutive batches together: the same as one by one."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ext.training.data import chunks
from keras_ext.training.data.chunks import (
    EqualBatches,
    SingleBatch,
    batches_at_once,
    count_samples,
)

pytestmark = pytest.mark.once

ORDER = np.random.default_rng(0).permutation(60)
RAGGED = tf.ragged.range([length % 4 for length in range(60)])
ARRAYS = {
    "dense": tf.reshape(tf.range(120.0), (60, 2)),
    "tuple with None": (tf.range(60), None, tf.cast(tf.range(60), tf.uint8)),
    "dict": {"b": tf.range(60), "a": {"c": tf.range(60.0)}, "n": None},
    "ragged": RAGGED,
    "dense and ragged": (tf.range(60), RAGGED),
    "strings": tf.strings.as_string(tf.range(60)),
}


def rows(arrays, first=1, count=5, batch_size=7):
    return EqualBatches(arrays, tf.constant(ORDER), batch_size, first, count)


def by_hand(leaf, first=1, count=5, batch_size=7):
    """The batches of one array, gathered one by one."""
    numbers = ORDER[first * batch_size :].tolist()
    return [
        tf.gather(leaf, numbers[i * batch_size : (i + 1) * batch_size])
        for i in range(count)
    ]


def assert_gathered(chunk, arrays):
    """Check every batch of a chunk, structure included."""
    batches = list(chunk)
    assert len(batches) == 5
    for batch in batches:
        keras.tree.assert_same_structure(batch, arrays)
    for place, leaf in enumerate(keras.tree.flatten(arrays)):
        actual = [keras.tree.flatten(batch)[place] for batch in batches]
        if leaf is None:
            assert actual == [None] * 5
            continue
        for one, expected in zip(actual, by_hand(leaf), strict=True):
            assert type(one) is type(expected)
            assert one.dtype == expected.dtype
            as_list = "to_list" if isinstance(one, tf.RaggedTensor) else "numpy"
            np.testing.assert_equal(
                getattr(one, as_list)(), getattr(expected, as_list)()
            )


class TestRows:
    @pytest.mark.parametrize("name", ARRAYS)
    def test_batches_are_those_gathered_by_hand(self, name):
        assert_gathered(rows(ARRAYS[name]), ARRAYS[name])

    @pytest.mark.parametrize("name", ARRAYS)
    @pytest.mark.parametrize("size", [1, 30])
    def test_batches_beyond_the_limit_are_gathered_in_blocks(
        self, name, size, monkeypatch
    ):
        gathered = []

        def take(arrays, numbers):
            gathered.append(len(numbers))
            return original(arrays, numbers)

        original = chunks.take
        monkeypatch.setattr(chunks, "take", take)
        monkeypatch.setattr(chunks, "_BLOCK_BYTES", size)
        assert_gathered(rows(ARRAYS[name]), ARRAYS[name])
        assert sum(gathered) == 5 * 7
        assert len(gathered) > 1

    def test_all_is_gathered_at_once_within_the_limit(self, monkeypatch):
        calls = []
        original = chunks.take
        monkeypatch.setattr(
            chunks, "take", lambda *args: calls.append(1) or original(*args)
        )
        list(rows(ARRAYS["dense"]))
        assert calls == [1]

    def test_blocks_are_gathered_only_when_they_are_needed(self, monkeypatch):
        calls = []
        original = chunks.take
        monkeypatch.setattr(
            chunks, "take", lambda *args: calls.append(1) or original(*args)
        )
        monkeypatch.setattr(chunks, "_BLOCK_BYTES", 2 * 7 * 8)
        batches = iter(rows(ARRAYS["dense"]))
        seen = []
        for _ in range(5):
            next(batches)
            seen.append(len(calls))
        assert seen == [1, 1, 2, 2, 3]

    def test_length_and_samples(self):
        chunk = rows(ARRAYS["dense"])
        assert len(chunk) == 5
        assert chunk.num_samples == 35

    def test_rows_that_order_does_not_name_are_not_used(self):
        longer = tf.concat([tf.range(60), tf.fill((9,), -1)], 0)
        assert_gathered(rows(longer), tf.range(60))

    def test_it_can_be_iterated_over_again(self):
        chunk = rows(ARRAYS["dense"])
        np.testing.assert_array_equal(list(chunk), list(chunk))


class TestBatchesAtOnce:
    def test_bytes_of_all_arrays_count(self, monkeypatch):
        monkeypatch.setattr(chunks, "_BLOCK_BYTES", 1000)
        arrays = (tf.zeros((9, 3)), None, tf.zeros((9, 2), tf.uint8))
        assert batches_at_once(arrays, 7) == 1000 // (7 * (3 * 4 + 2))

    def test_one_batch_is_always_possible(self, monkeypatch):
        monkeypatch.setattr(chunks, "_BLOCK_BYTES", 1)
        assert batches_at_once(tf.zeros((9, 3)), 7) == 1

    def test_numpy_arrays_count_as_tensors_do(self, monkeypatch):
        monkeypatch.setattr(chunks, "_BLOCK_BYTES", 1000)
        array = np.zeros((9, 5), "uint8")
        assert batches_at_once(array, 7) == batches_at_once(tf.constant(array), 7) == 28


class TestSingleBatch:
    def test_it_yields_the_batch_itself(self):
        batch = (np.zeros((3, 2)), None)
        (only,) = SingleBatch(batch)
        assert only is batch

    def test_length_and_samples(self):
        chunk = SingleBatch({"x": tf.zeros((3, 2))})
        assert len(chunk) == 1
        assert chunk.num_samples == 3

    def test_it_is_of_full_size_unless_said_otherwise(self):
        assert SingleBatch(np.zeros(3)).full_size
        assert not SingleBatch(np.zeros(3), full_size=False).full_size


@pytest.mark.parametrize(
    ("batch", "samples"),
    [
        ((np.zeros((4, 2)), np.zeros(4)), 4),
        ((None, np.zeros(4)), 4),
        ({"b": np.zeros(3), "a": tf.zeros((3, 1))}, 3),
        (tf.ragged.range([1, 2, 3]), 3),
        (tf.sparse.from_dense(np.eye(5)), 5),
        (tf.constant(["a", "b"]), 2),
        ((tf.constant(7), tf.zeros(6)), 6),  # a scalar has no samples
        (np.zeros((0, 2)), 0),
        (tf.constant(7), 1),
        (3.5, 1),
        ((), 1),
        (None, 1),
        ("text", 1),
    ],
)
def test_samples_are_counted_in_the_first_array(batch, samples):
    assert count_samples(batch) == samples


def test_an_unknown_number_of_samples_counts_as_one():
    assert count_samples(keras.KerasTensor((None, 3))) == 1
