"""Sparse inputs, of TensorFlow and of SciPy: the same numbers as `Model.fit`."""

import keras
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

from keras_ext import Loop, Trainer
from keras_ext.training.data.arrays import ArraySource
from keras_ext.training.data.sparse_rows import SparseRows
from keras_ext.training.data.tensors import to_tensor
from tests.training.problems import CLASSIFY, LABELS, X

DENSE = np.where(X > 0.3, X, 0).astype("float64")
KINDS = {
    "SparseTensor": tf.sparse.from_dense(DENSE),
    "csr": scipy.sparse.csr_matrix(DENSE),
    "csr array": scipy.sparse.csr_array(DENSE.astype("float32")),
    "csc": scipy.sparse.csc_matrix(DENSE),
    "coo": scipy.sparse.coo_matrix(DENSE),
}
OPTIONS = {"batch_size": 16, "shuffle": False, "epochs": 2, "verbose": 0}


def network():
    keras.utils.set_random_seed(5)
    return keras.Sequential(
        [
            keras.Input((6,), sparse=True),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


def compiled(model=None):
    model = model or Trainer(network())
    model.compile(keras.optimizers.Adam(0.01), **CLASSIFY)
    return model


def of_stock(x, validation_split=0.0):
    model = compiled(network())
    history = model.fit(x, LABELS, validation_split=validation_split, **OPTIONS)
    return model, history.history


@pytest.fixture(scope="module")
def stock():
    model, history = of_stock(KINDS["csr"])
    evaluated = model.evaluate(KINDS["csr"], LABELS, batch_size=16, verbose=0)
    return history, evaluated, model.predict(KINDS["csr"], batch_size=16, verbose=0)


@pytest.fixture(scope="module")
def stock_split():
    return of_stock(KINDS["csr"], 0.3)[1]


def assert_same_history(actual, expected):
    assert actual.keys() == expected.keys()
    for name, values in actual.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("name", KINDS)
class TestArrays:
    def test_fit_evaluate_predict(self, name, stock):
        history, evaluated, predicted = stock
        trainer, x = compiled(), KINDS[name]
        assert_same_history(trainer.fit(x, LABELS, **OPTIONS).history, history)
        np.testing.assert_allclose(
            trainer.evaluate(x, LABELS, batch_size=16, verbose=0), evaluated, rtol=1e-6
        )
        np.testing.assert_allclose(
            trainer.predict(x, batch_size=16, verbose=0), predicted, rtol=1e-5
        )

    def test_validation_split(self, name, stock_split):
        history = compiled().fit(KINDS[name], LABELS, validation_split=0.3, **OPTIONS)
        assert_same_history(history.history, stock_split)

    def test_batches_of_a_loop(self, name, stock):
        trainer = compiled()
        loop = Loop(trainer, epochs=2, verbose=0)
        for epoch in loop:
            for x, y in epoch.batches((KINDS[name], LABELS), 16, shuffle=False):
                assert isinstance(x, tf.SparseTensor)
                assert x.dtype == "float32"
                epoch.log(trainer.step((x, y)))
        assert_same_history(loop.history.history, stock[0])

    def test_any_order_of_rows(self, name):
        rows = np.random.default_rng(0).integers(0, 70, size=200)
        taken = SparseRows.of(KINDS[name]).take(rows)
        np.testing.assert_array_equal(
            tf.sparse.to_dense(taken), DENSE[rows].astype("f")
        )


def of_scipy(start=0):
    for at in range(start, 70, 16):
        rows = slice(at, at + 16)
        yield scipy.sparse.coo_matrix(DENSE[rows]), LABELS[rows]


def of_tensorflow():
    for x, y in of_scipy():
        yield tf.sparse.from_dense(x.toarray()), y


class Sparse(keras.utils.PyDataset):
    def __len__(self):
        return 5

    def __getitem__(self, index):
        return next(of_scipy(16 * index))


def dataset():
    return tf.data.Dataset.from_tensor_slices((KINDS["SparseTensor"], LABELS)).batch(16)


class TestOtherData:
    @pytest.mark.parametrize("make", [of_scipy, of_tensorflow, Sparse, dataset])
    def test_one_epoch(self, make, stock):
        trainer = compiled()
        history = trainer.fit(make(), shuffle=False, verbose=0).history
        first = {name: values[:1] for name, values in stock[0].items()}
        assert_same_history(history, first)
        dense = compiled()
        dense.model.set_weights(trainer.model.get_weights())
        np.testing.assert_allclose(
            trainer.evaluate(make(), verbose=0),
            dense.evaluate(DENSE, LABELS, batch_size=16, verbose=0),
            rtol=1e-6,
        )
        np.testing.assert_allclose(
            trainer.predict(make(), verbose=0),
            dense.predict(DENSE, batch_size=16, verbose=0),
            rtol=1e-5,
        )

    def test_one_step(self):
        logs = [
            {name: float(value) for name, value in compiled().step((x, LABELS)).items()}
            for x in (*KINDS.values(), DENSE)
        ]
        for one in logs[:-1]:
            assert one == pytest.approx(logs[-1], rel=1e-6)

    def test_a_long_training_does_not_try_xla(self):
        trainer = compiled()
        x = KINDS["csr"][:4]
        trainer.fit(x, LABELS[:4], batch_size=2, epochs=500, verbose=0)
        trainer.fit(dataset().repeat(), steps_per_epoch=3, verbose=0)


class TestRows:
    def test_memory_is_that_of_the_values(self):
        # Made dense, 4 TB.
        places = np.arange(1000, dtype="int64") * 1000
        values = np.arange(1000, dtype="float32")
        x = scipy.sparse.coo_matrix((values, (places, places)), shape=(10**6, 10**6))
        for batch in ArraySource(x, 250_000, seed=0).epoch(0):
            assert batch.shape == (250_000, 10**6)
            assert 200 < len(batch.values) < 300

    def test_csr_is_not_copied(self):
        x = KINDS["csr"].copy()
        rows = SparseRows.of(x)[10:]
        x.data[:] = 7.0
        assert set(rows.take(np.arange(60)).values.numpy()) == {7.0}

    def test_values_out_of_order_and_twice(self):
        coo = scipy.sparse.coo_matrix(([1.0, 2, 3, 4], ([1, 0, 1, 1], [2, 1, 0, 2])))
        csr = scipy.sparse.csr_matrix(
            (np.array([2.0, 1, 4, 3]), np.array([1, 2, 2, 0]), np.array([0, 1, 4]))
        )
        for x in (coo, csr):
            for tensor in (to_tensor(x), SparseRows.of(x).take(np.arange(2))):
                np.testing.assert_array_equal(
                    tf.sparse.to_dense(tensor), [[0, 2, 0], [3, 0, 5]]
                )
        np.testing.assert_array_equal(csr.indices, [1, 2, 2, 0])

    def test_unordered_tensors_of_three_axes_and_strings(self):
        x = tf.SparseTensor([[1, 0, 3], [0, 1, 1]], ["b", "a"], (3, 2, 4))
        taken = SparseRows.of(x).take(np.array([2, 1, 0]))
        np.testing.assert_array_equal(taken.indices, [[1, 0, 3], [2, 1, 1]])
        assert taken.values.numpy().tolist() == [b"b", b"a"]
        assert taken.shape == (3, 2, 4)

    def test_dense_and_sparse_together(self):
        data = {"x": KINDS["csr"], "y": (np.arange(70), None)}
        source = ArraySource(data, 16, seed=3)
        assert source.num_batches == 5
        for batch in source.epoch(1):
            rows = batch["y"][0].numpy()
            np.testing.assert_array_equal(
                tf.sparse.to_dense(batch["x"]), DENSE[rows].astype("float32")
            )

    def test_other_lengths_and_shapes_are_refused(self):
        with pytest.raises(ValueError, match="same number of samples"):
            compiled().fit(KINDS["csr"], LABELS[:5], verbose=0)
        row = scipy.sparse.coo_array(np.arange(5.0))
        with pytest.raises(
            ValueError, match=r"must have two axes.*coo_array of sh.*5,"
        ):
            compiled().fit(row, LABELS[:5], verbose=0)
