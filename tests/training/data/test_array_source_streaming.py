"""Arrays that stay on the host: the same batches, a few at a time."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ext.training.data import arrays as array_source
from keras_ext.training.data import chunks
from keras_ext.training.data.arrays import ArraySource

pytestmark = pytest.mark.once

ROWS = 1003
DATA = {
    "x": np.random.default_rng(0).normal(size=(ROWS, 3)),
    "y": (np.arange(ROWS), None),
}
BLOCK_OF_X = 4 * 32
"""EqualBatches of `DATA["x"]` alone that fill a block."""

SIZES = [[1], [1000], [1, 8, 3, 50, 2]]


@pytest.fixture(autouse=True)
def _blocks_of_three(monkeypatch):
    """Have three batches of 32 samples of `DATA` fill a block."""
    monkeypatch.setattr(chunks, "_BLOCK_BYTES", 3 * 32 * (3 * 8 + 8))


def numbers(sizes):
    return itertools.cycle(sizes).__next__


def mapped(tmp_path, array):
    """Return `array` as a file that is mapped into memory."""
    file = np.memmap(tmp_path / "array", array.dtype, "w+", shape=array.shape)
    file[:] = array
    return file


def of_epoch(source, index):
    return list(source.epoch(index))


def of_chunks(source, index, sizes):
    return [batch for chunk in source.chunks(index, numbers(sizes)) for batch in chunk]


@pytest.fixture
def counting(tmp_path):
    """Return a function: array -> the same as a file, and how many rows it reads."""
    reads = []

    class Counting(np.memmap):
        def __getitem__(self, rows):
            part = np.asarray(self)[rows]
            reads.append(len(part))
            return part

        def __array__(self, *args, **kwargs):
            raise AssertionError("the whole array is read")

    return lambda array: (mapped(tmp_path, array).view(Counting), reads)


def assert_same_batches(actual, expected):
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        keras.tree.assert_same_structure(one, other)
        for a, b in zip(
            keras.tree.flatten(one), keras.tree.flatten(other), strict=True
        ):
            if a is not None or b is not None:
                assert a.dtype == b.dtype
                np.testing.assert_array_equal(a, b)


class TestSameBatches:
    @pytest.mark.parametrize("shuffle", [True, False, "batch"])
    @pytest.mark.parametrize(
        ("batch_size", "steps"),
        [(32, None), (59, None), (2000, None), (32, 40), (32, 7), (None, 9)],
        ids=["rest", "no rest", "less than a batch", "long", "short", "only steps"],
    )
    def test_streamed_batches_are_those_of_resident_arrays(
        self, batch_size, steps, shuffle
    ):
        resident, streamed = (
            ArraySource(
                DATA, batch_size, shuffle=shuffle, seed=3, steps=steps, resident=wish
            )
            for wish in (True, False)
        )
        assert (resident.resident, streamed.resident) == (True, False)
        for index in (0, 4):
            expected = of_epoch(resident, index)
            assert_same_batches(of_epoch(streamed, index), expected)
            for sizes in SIZES:
                assert_same_batches(of_chunks(streamed, index, sizes), expected)
                assert_same_batches(of_chunks(resident, index, sizes), expected)

    def test_batches_are_rows_of_the_arrays(self):
        source = ArraySource(DATA, 32, seed=3, resident=False)
        order = np.concatenate([batch["y"][0] for batch in source.epoch(2)])
        assert sorted(order) == list(range(ROWS))
        rows = np.concatenate([batch["x"] for batch in source.epoch(2)])
        np.testing.assert_array_equal(rows, DATA["x"][order].astype("float32"))

    def test_no_batch_is_left_out_where_passes_meet(self):
        source = ArraySource(np.arange(10), 4, shuffle=False, steps=7, resident=False)
        first, second = of_chunks(source, 0, [5]), of_chunks(source, 1, [2])
        one_pass = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
        expected = [one_pass[number % 3] for number in range(14)]
        assert [batch.numpy().tolist() for batch in first + second] == expected

    def test_objects_become_strings(self):
        words = np.array([f"word {i}" for i in range(10)], object)
        source = ArraySource(words, 4, shuffle=False, resident=False)
        read = [word.decode() for batch in source.epoch(0) for word in batch.numpy()]
        assert read == words.tolist()


class TestResident:
    def test_a_memory_mapped_array_is_not(self, tmp_path):
        array = mapped(tmp_path, np.arange(50))
        assert not ArraySource((np.arange(50), array), 8).resident
        assert ArraySource(np.arange(50), 8).resident
        assert ArraySource(array, 8, resident=True).resident

    def test_a_memory_mapped_array_gives_the_same_batches(self, tmp_path):
        array = mapped(tmp_path, DATA["x"])
        expected = of_epoch(ArraySource(DATA["x"], 32, seed=1), 2)
        assert_same_batches(of_chunks(ArraySource(array, 32, seed=1), 2, [9]), expected)

    @pytest.mark.parametrize(("limit", "resident"), [(1200, True), (1199, False)])
    def test_arrays_larger_than_the_limit_together_are_not(
        self, limit, resident, monkeypatch
    ):
        monkeypatch.setattr(array_source, "RESIDENT_BYTES", limit)
        arrays = (np.zeros((50, 2)), None, np.zeros((50, 1)))
        source = ArraySource(arrays, 8)
        assert source.resident is resident
        assert len(of_epoch(source, 0)) == 7

    @pytest.mark.parametrize("tensor", [tf.zeros(5), tf.ragged.range([1] * 5)])
    def test_tensors_are_where_they_are(self, tensor):
        assert ArraySource((tensor, None), 2, resident=False).resident

    def test_arrays_beside_a_tensor_are_streamed(self):
        x, y = np.arange(20.0).reshape(10, 2), tf.range(10)
        source = ArraySource((x, y), 4, resident=False, shuffle=False)
        assert not source.resident
        for images, labels in source.epoch(0):
            np.testing.assert_array_equal(images[:, 0], 2 * labels.numpy())

    def test_an_unknown_wish(self):
        with pytest.raises(ValueError, match="`resident` must be one of"):
            ArraySource(np.zeros(5), resident="never")


class TestMemory:
    @pytest.mark.parametrize("resident", [True, False])
    def test_small_integers_stay_small(self, resident):
        images = np.arange(40, dtype="uint8").reshape(20, 2)
        source = ArraySource(images, 8, shuffle=False, resident=resident)
        for chunk in source.chunks(0, lambda: 2):
            assert all(batch.dtype == tf.uint8 for batch in chunk)
            if isinstance(chunk, chunks.EqualBatches):
                assert chunk.arrays.dtype == tf.uint8
        np.testing.assert_array_equal(np.concatenate(of_epoch(source, 0)), images)

    @pytest.mark.parametrize("sizes", SIZES)
    def test_an_array_is_read_in_parts(self, sizes, counting):
        array, reads = counting(DATA["x"])
        read = of_chunks(ArraySource(array, 32, shuffle=False), 0, sizes)
        np.testing.assert_array_equal(np.concatenate(read), DATA["x"].astype("float32"))
        assert max(reads) <= BLOCK_OF_X

    @pytest.mark.parametrize("sizes", SIZES)
    @pytest.mark.parametrize("rows", [10, 70, ROWS])
    def test_an_epoch_reads_at_most_one_block_too_much(self, rows, sizes, counting):
        array, reads = counting(DATA["x"][:rows])
        assert len(of_chunks(ArraySource(array, 32), 0, sizes)) == -(-rows // 32)
        assert rows <= sum(reads) <= rows + BLOCK_OF_X

    def test_nothing_is_read_before_the_first_batch(self, tmp_path):
        class Untouchable(np.memmap):
            def __getitem__(self, rows):
                raise AssertionError("the array is read")

        array = mapped(tmp_path, DATA["x"]).view(Untouchable)
        source = ArraySource(array, 32)
        assert source.num_batches == 32
        with pytest.raises(AssertionError, match="the array is read"):
            next(source.epoch(0))

    def test_chunks_of_any_size_have_arrays_of_one_length(self):
        source = ArraySource(DATA, 32, resident=False)
        lengths = {
            len(chunk.arrays["x"])
            for chunk in source.chunks(0, numbers([1, 2, 7, 3]))
            if isinstance(chunk, chunks.EqualBatches)
        }
        assert lengths == {3 * 32}


class TestLengthening:
    @staticmethod
    def lengths(count):
        """Return the lengths of what is compiled for, with `count` samples."""
        data = (np.ones((count, 2)), np.ones(count, "int32"))
        chunk = next(ArraySource(data, 1).chunks(0, lambda: 3))
        return *map(len, chunk.arrays), len(chunk.order)

    def test_arrays_of_similar_size_have_few_lengths(self):
        found = {self.lengths(count) for count in range(1000, 1021)}
        assert len(found) <= 2
        for lengths in found:
            assert len(set(lengths)) == 1

    def test_little_is_added(self):
        for count in (1, 7, 16, 17, 33, 100, 999, 1000, 1025, 5000):
            length, *_ = self.lengths(count)
            assert count <= length <= max(count + 1, 1.125 * count)

    def test_large_arrays_are_left_alone(self, monkeypatch):
        monkeypatch.setattr(array_source, "_PADDED_BYTES", 1003 * 3 * 4 - 1)
        chunk = next(ArraySource(DATA["x"], 32).chunks(0, lambda: 3))
        assert len(chunk.arrays) == 1003

    @pytest.mark.parametrize("count", [1000, 1003, 1010, 1023])
    def test_rows_beyond_the_data_are_never_used(self, count):
        source = ArraySource(np.arange(1, count + 1), 32, seed=2)
        for read in (of_epoch(source, 0), of_chunks(source, 0, [5])):
            assert sorted(np.concatenate(read)) == list(range(1, count + 1))
        for chunk in source.chunks(1, lambda: 7):
            if isinstance(chunk, chunks.EqualBatches):
                first = chunk.first * 32
                used = chunk.order[first : first + chunk.num_samples]
                assert len(used) == chunk.num_samples
                assert int(tf.reduce_max(used)) < count

    @pytest.mark.parametrize(
        "leaf", [tf.ragged.range([2] * 1003), tf.fill((1003,), "a")]
    )
    def test_ragged_and_string_tensors_are_left_alone(self, leaf):
        chunk = next(ArraySource((leaf, np.zeros(1003)), 32).chunks(0, lambda: 3))
        assert chunk.arrays[0].shape[0] == 1003
