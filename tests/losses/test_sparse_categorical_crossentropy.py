"""Crossentropy of smoothed labels against its formula and Keras's one-hot loss."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.losses import (
    SparseCategoricalCrossentropy,
    sparse_categorical_crossentropy,
)
from tests.losses.compiling import assert_compiled_alike, assert_finite
from tests.reference import classification_losses as reference
from tests.slopes import assert_gradient_is_the_slope, needs_double_precision

SMOOTHINGS = [0.0, 0.1, 1.0]

rng = np.random.default_rng(13)
logits = (3 * rng.normal(size=(32, 5))).astype("float32")
labels = rng.integers(0, 5, size=32)
one_hot = np.eye(5, dtype="float32")[labels]
probabilities = ops.convert_to_numpy(ops.softmax(logits))


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("from_logits", [False, True])
class TestValues:
    def test_equal_the_formula(self, smoothing, from_logits):
        y_pred = logits if from_logits else probabilities
        some = np.where(np.arange(32) % 4, labels, 255)
        options = {
            "label_smoothing": smoothing,
            "from_logits": from_logits,
            "ignore_class": 255,
        }
        expected, counts = reference.sparse_categorical_crossentropy(
            some, y_pred, **options
        )
        values = sparse_categorical_crossentropy(some, y_pred, **options)
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)
        loss = SparseCategoricalCrossentropy(**options)
        assert float(loss(some, y_pred)) == pytest.approx(
            expected[counts].mean(), rel=1e-5
        )

    def test_equal_keras_with_one_hot_targets(self, smoothing, from_logits):
        y_pred = logits if from_logits else probabilities
        expected = keras.losses.categorical_crossentropy(
            one_hot, y_pred, from_logits=from_logits, label_smoothing=smoothing
        )
        values = sparse_categorical_crossentropy(labels, y_pred, smoothing, from_logits)
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ignore_class", [None, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_without_smoothing_it_is_keras_class(ignore_class, weighted):
    weight = rng.uniform(size=(4, 8)).astype("float32") if weighted else None
    options = {"from_logits": True, "ignore_class": ignore_class}
    ours = SparseCategoricalCrossentropy(**options)
    theirs = keras.losses.SparseCategoricalCrossentropy(**options)
    y_true, y_pred = labels.reshape(4, 8), logits.reshape(4, 8, 5)
    np.testing.assert_allclose(
        ours(y_true, y_pred, sample_weight=weight),
        theirs(y_true, y_pred, sample_weight=weight),
        rtol=1e-5,
    )


@needs_double_precision
@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_the_gradient_is_the_slope(from_logits, smoothing):
    y_pred = (logits if from_logits else probabilities).astype("float64")
    y_pred += 0 if from_logits else 1e-3  # away from what is clipped
    assert_gradient_is_the_slope(
        lambda x: sparse_categorical_crossentropy(labels, x, smoothing, from_logits),
        y_pred,
    )


def test_compiled():
    assert_compiled_alike(
        lambda x: sparse_categorical_crossentropy(labels, x, 0.2, True), logits
    )


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
class TestCorners:
    def test_certain_probabilities(self, smoothing, dtype):
        certain = np.eye(3, dtype=dtype)

        def loss(x):
            return sparse_categorical_crossentropy([0, 2, 1], x, smoothing)

        most = -np.log(keras.config.epsilon())
        wrong = 1 - smoothing + smoothing * 2 / 3
        np.testing.assert_allclose(
            loss(certain),
            [most * smoothing * 2 / 3, most * wrong, most * wrong],
            rtol=1e-5,
            atol=1e-5,
        )
        assert_finite(loss, certain)
        assert_finite(loss, np.zeros_like(certain))

    def test_extreme_logits(self, smoothing, dtype):
        extreme = 3e4 * np.eye(3, dtype=dtype)

        def loss(x):
            return sparse_categorical_crossentropy([0, 2, 1], x, smoothing, True)

        assert_finite(loss, extreme)


@pytest.mark.parametrize("label", [0, 1])
def test_a_class_that_is_ruled_out_is_another(label):
    ruled_out = np.array([[1.0, 0.0, -np.inf]], "float32")
    assert_finite(
        lambda x: sparse_categorical_crossentropy([label], x, from_logits=True),
        ruled_out,
    )


def test_smoothing_keeps_the_best_logit_finite():
    grid = np.linspace(0, 20, 2001)
    pairs = np.stack([grid, np.zeros_like(grid)], axis=-1)
    values = sparse_categorical_crossentropy(np.zeros(2001), pairs, 0.1, True)
    best = grid[np.argmin(values)]
    assert best == pytest.approx(np.log(0.95 / 0.05), abs=0.01)


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, float("nan"), "0.1"])
def test_bad_arguments(smoothing):
    match = rf"`label_smoothing` must be a finite number in \[0, 1\]. .*{smoothing!r}"
    with pytest.raises(ValueError, match=match):
        SparseCategoricalCrossentropy(smoothing)
    with pytest.raises(ValueError, match=match):
        sparse_categorical_crossentropy(labels, logits, smoothing)


def test_config_keeps_every_argument():
    loss = SparseCategoricalCrossentropy(
        0.1, True, -1, 1, reduction="sum", name="smooth", dtype="float64"
    )
    assert loss.get_config() == {
        "name": "smooth",
        "reduction": "sum",
        "label_smoothing": 0.1,
        "from_logits": True,
        "ignore_class": -1,
        "axis": 1,
        "dtype": "float64",
    }
