"""Where batches come from: their order, number and limits."""

import json

import numpy as np
import pytest
import tensorflow as tf

from keras_ext.training.data.keras_arguments import fit_source
from keras_ext.training.data.make import ArraySource, make_source
from tests.training.problems import LABELS, Numbers, X

pytestmark = pytest.mark.once


def flat(batches):
    return [int(value) for batch in batches for value in np.asarray(batch)]


class TestArrays:
    def test_batches_cover_everything_once(self):
        source = ArraySource(np.arange(70), 32, seed=3)
        assert source.num_batches == 3
        assert [len(batch) for batch in source.epoch(0)] == [32, 32, 6]
        assert sorted(flat(source.epoch(0))) == list(range(70))

    def test_order_is_a_pure_function_of_seed_and_epoch(self):
        first, second = (ArraySource(np.arange(50), 8, seed=3) for _ in range(2))
        later = flat(second.epoch(4))
        assert later == [flat(first.epoch(epoch)) for epoch in range(5)][4]
        assert later != flat(first.epoch(3))
        assert later != flat(ArraySource(np.arange(50), 8, seed=4).epoch(4))

    def test_no_shuffle(self):
        source = ArraySource(np.arange(50), 8, shuffle=False)
        assert flat(source.epoch(1)) == list(range(50))

    def test_shuffle_within_batches(self):
        batches = list(ArraySource(np.arange(50), 8, shuffle="batch").epoch(0))
        for number, batch in enumerate(batches):
            rows = list(range(50))[8 * number : 8 * number + 8]
            assert sorted(np.asarray(batch)) == rows
        assert flat(batches) != list(range(50))

    def test_orders_are_uniform(self):
        counts = np.zeros((4, 4))
        source = ArraySource(np.arange(4), 4, seed=1)
        for epoch in range(2000):
            counts[np.arange(4), flat(source.epoch(epoch))] += 1
        assert np.abs(counts / 2000 - 0.25).max() < 0.05

    def test_structures_and_dtypes(self):
        data = {
            "image": np.zeros((5, 2, 2, 1), "uint8"),
            "more": (np.zeros(5, "float64"), None, tf.ragged.range([1, 2, 3, 4, 5])),
        }
        (batch,) = ArraySource(data).epoch(0)
        assert batch["image"].dtype == tf.uint8
        assert batch["more"][0].dtype == tf.float32
        assert batch["more"][1] is None
        assert isinstance(batch["more"][2], tf.RaggedTensor)

    def test_strings_in_object_arrays(self):
        (batch,) = ArraySource(np.array(["a", "b"], object), shuffle=False).epoch(0)
        assert batch.numpy().tolist() == [b"a", b"b"]

    def test_steps_continue_from_epoch_to_epoch(self):
        source = ArraySource(np.arange(12), 4, shuffle=False, steps=2)
        assert flat(source.epoch(0)) == list(range(8))
        assert flat(source.epoch(1)) == [8, 9, 10, 11, 0, 1, 2, 3]

    def test_steps_without_batch_size_cover_one_epoch(self):
        source = ArraySource(np.arange(10), shuffle=False, steps=3)
        assert [len(batch) for batch in source.epoch(0)] == [4, 4, 2]

    @pytest.mark.parametrize("shuffle", [True, np.True_, 1])
    def test_every_kind_of_true(self, shuffle):
        batches = list(ArraySource(np.arange(50), 8, shuffle=shuffle).epoch(0))
        assert sorted(np.asarray(batches[0])) != list(range(8))

    def test_scalars_have_no_samples(self):
        with pytest.raises(ValueError, match="must have a first axis of samples"):
            ArraySource(np.float32(1))


class TestOthers:
    def test_a_list_is_an_iterable_of_batches(self):
        source = make_source([X[:3], X[3:5]])
        assert source.num_batches == 2
        assert [len(batch) for batch in source.epoch(0)] == [3, 2]

    def test_dataset_of_known_and_unknown_length(self):
        known = tf.data.Dataset.range(5)
        assert make_source(known).num_batches == 5
        assert make_source(known.filter(lambda x: x > 1)).num_batches is None
        with pytest.raises(ValueError, match="The dataset has no end"):
            make_source(known.repeat())
        assert make_source(known.repeat(), steps=9).num_batches == 9

    def test_a_stepped_dataset_goes_on_and_begins_anew(self):
        source = make_source(tf.data.Dataset.range(6), steps=3)
        epochs = [[int(x) for x in source.epoch(e)] for e in range(3)]
        assert epochs == [[0, 1, 2], [3, 4, 5], [0, 1, 2]]

    def test_running_out_of_data_is_said(self):
        source = make_source(tf.data.Dataset.range(4), steps=3)
        list(source.epoch(0))
        with pytest.warns(UserWarning, match="ended after 1 of 3 steps"):
            assert len(list(source.epoch(1))) == 1

    def test_py_dataset_order_and_hooks(self):
        hooks = []

        class Hooked(Numbers):
            def on_epoch_begin(self):
                hooks.append("begin")

            def on_epoch_end(self):
                hooks.append("end")

        def first_rows(epoch, seed):
            source = make_source(Hooked(), seed=seed)
            return [float(x[0, 0]) for x, _ in source.epoch(epoch)]

        assert first_rows(2, 5) == first_rows(2, 5)
        assert first_rows(2, 5) != first_rows(3, 5)
        assert sorted(first_rows(2, 5)) == sorted(X[::10, 0].astype(float).tolist())
        assert hooks == ["begin", "end"] * 5

    def test_an_endless_py_dataset(self):
        class Endless(Numbers):
            num_batches = None

            def __getitem__(self, index):
                return super().__getitem__(index % 7)

        with pytest.raises(ValueError, match="The dataset has no end"):
            make_source(Endless())
        source = make_source(Endless(), steps=9)
        assert len(list(source.epoch(0))) == 9


class TestFitData:
    def test_one_array_of_weights_for_several_targets(self):
        source = fit_source(
            X,
            {"a": LABELS, "b": LABELS},
            np.arange(70.0),
            class_weight=None,
            batch_size=70,
            steps=None,
            shuffle=False,
            seed=0,
        )
        ((_, _, weights),) = source.epoch(0)
        np.testing.assert_array_equal(weights["a"], weights["b"])


def test_a_distributed_dataset_among_several_workers(monkeypatch):
    cluster = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    data = strategy.experimental_distribute_dataset(tf.data.Dataset.range(4).batch(2))
    with pytest.raises(ValueError, match=r"Pass the whole `tf\.data\.Dataset`"):
        make_source(data)
