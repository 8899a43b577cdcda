"""Floats become `floatx` on the way to a step, whatever they come in."""

import keras
import pytest
import scipy.sparse
import tensorflow as tf

from keras_ext import Loop, Trainer
from keras_ext.training.data.make import make_source
from tests.training.problems import LABELS, X

DOUBLE = X.astype("float64")
RAGGED = tf.RaggedTensor.from_tensor(DOUBLE)
SPARSE = tf.sparse.from_dense(DOUBLE)
DATA = {
    "dense": DOUBLE,
    "tensor": tf.constant(DOUBLE),
    "ragged": RAGGED,
    "half": tf.constant(DOUBLE, "bfloat16"),
    "sparse": SPARSE,
    "matrix": scipy.sparse.csr_matrix(DOUBLE),
}
TARGETS = LABELS[:, None].astype("float64")
DRIVES = {
    "arrays": lambda x: {"x": x, "y": TARGETS},
    "streamed": lambda x: {"x": x, "y": TARGETS, "resident": False},
    "dataset": lambda x: {
        "x": tf.data.Dataset.from_tensor_slices((x, TARGETS)).batch(35)
    },
    "generator": lambda x: {"x": iter([(x, TARGETS)])},
}


class Seen(Trainer):
    """Notes what its steps are given; computes nothing."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def note(self, data):
        self.seen += [leaf.dtype for leaf in keras.tree.flatten(data)]
        return {"loss": tf.constant(0.0)}

    train_step = test_step = note

    def predict_step(self, data):
        self.note(data)
        return tf.zeros((1, 1))


# tf.data takes no sparse matrix.
PAIRS = [(a, b) for a in DATA for b in DRIVES if (a, b) != ("matrix", "dataset")]


@pytest.mark.parametrize(("name", "drive"), PAIRS)
def test_every_step_gets_floatx(name, drive):
    trainer = Seen()
    trainer.compile()
    trainer.fit(**DRIVES[drive](DATA[name]), verbose=0)
    given = DRIVES[drive](DATA[name])
    given.pop("resident", None)
    trainer.evaluate(**given, verbose=0)
    given = DRIVES[drive](DATA[name])
    trainer.predict(given["x"], verbose=0)
    trainer.step((DATA[name], TARGETS))
    assert set(trainer.seen) == {tf.float32}


def test_floatx_is_what_keras_says():
    keras.config.set_floatx("float64")
    try:
        assert next(make_source(X).epoch(0)).dtype == "float64"
        data = tf.data.Dataset.from_tensors({"x": RAGGED, "n": 1})
        assert next(make_source(data).epoch(0))["x"].dtype == "float64"
    finally:
        keras.config.set_floatx("float32")


def test_structures_of_datasets_stay():
    data = tf.data.Dataset.from_tensors(({"a": DOUBLE, "b": (LABELS, "text")}, None))
    ((batch, nothing),) = make_source(data.repeat(), steps=1).epoch(0)
    assert nothing is None
    assert batch["a"].dtype == tf.float32
    assert batch["b"][0].dtype == tf.int64
    assert batch["b"][1].dtype == tf.string
    assert make_source(data).num_batches == 1


def test_generators_hand_over_what_they_yield_in_a_loop_of_ones_own():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
    for epoch in Loop(model, verbose=0):
        for batch in epoch.batches(iter([DOUBLE])):
            assert batch is DOUBLE
            epoch.log({"loss": 0.0})
