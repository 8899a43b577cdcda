"""Perplexity against the formula, in the order of words that cannot matter."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from keras_ext.metrics import Perplexity
from tests.metrics.modes import JIT, result_in_steps
from tests.reference import losses
from tests.reference import mean_metrics as reference

WORDS = 7

rng = np.random.default_rng(29)
logits = (2 * rng.normal(size=(12, 6, WORDS))).astype("float32")
probabilities = losses.softmax(logits.reshape(-1, WORDS)).reshape(logits.shape)
probabilities = probabilities.astype("float32")
labels = rng.integers(0, WORDS, size=(12, 6), dtype="int32")
weights = (rng.uniform(size=(12, 6)) * (rng.uniform(size=(12, 6)) < 0.7)).astype("f")


def perplexity(y_true, y_pred, sample_weight=None, **options):
    metric = Perplexity(**options)
    metric.update_state(y_true, y_pred, sample_weight=sample_weight)
    return float(metric.result())


@pytest.mark.parametrize("ignore_class", [None, 2, -1])
@pytest.mark.parametrize("weight", [None, weights, weights[:, 0]])
@pytest.mark.parametrize("from_logits", [False, True])
def test_equals_the_formula(from_logits, weight, ignore_class):
    y_pred = logits if from_logits else probabilities
    y_true = np.where(labels == 3, -1, labels) if ignore_class == -1 else labels
    options = {"from_logits": from_logits, "ignore_class": ignore_class}
    expected = reference.perplexity(y_true, y_pred, sample_weight=weight, **options)
    for true in (y_true, y_true[..., None]):
        got = perplexity(true, y_pred, weight, **options)
        assert got == pytest.approx(expected, rel=1e-5)


def test_equals_the_exponential_of_the_loss_of_keras():
    expected = np.exp(
        keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
    )
    got = perplexity(labels, logits, from_logits=True)
    assert got == pytest.approx(float(expected), rel=1e-5)


def test_as_unsure_as_a_choice_among_equals():
    assert perplexity([0, 3, 4], np.full((3, 20), 0.05)) == pytest.approx(20)
    assert perplexity([0, 1], np.eye(2)) == pytest.approx(1)


def test_corner_points():
    assert float(Perplexity().result()) == 0
    assert perplexity(labels[:0], probabilities[:0]) == 0
    assert perplexity(labels, probabilities, np.zeros(12)) == 0
    assert perplexity(np.full((12, 6), 9), probabilities, ignore_class=9) == 0
    assert perplexity([0], [[0.0, 1.0]]) == pytest.approx(1e7, rel=1e-4)
    assert perplexity([1], [[-np.inf, 0.0]], from_logits=True) == 1
    assert perplexity([0], [[-np.inf, 0.0]], from_logits=True) == np.inf
    assert perplexity([0, 1], [[0.0, 300.0]] * 2, from_logits=True) == np.inf


def test_infinite_once_stays_infinite():
    metric = Perplexity(from_logits=True)
    for label in (1, 0, 1):
        metric.update_state([label], [[-np.inf, 0.0]])
    assert float(metric.result()) == np.inf


def test_is_not_the_mean_over_batches():
    metric = Perplexity()
    metric.update_state(labels[:1, :2], probabilities[:1, :2])
    metric.update_state(labels[1:], probabilities[1:])
    expected = reference.perplexity(
        np.concatenate([labels[0, :2], labels[1:].ravel()]),
        np.concatenate([probabilities[0, :2], probabilities[1:].reshape(-1, WORDS)]),
    )
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    y_pred = ops.cast(logits, dtype)
    exact = ops.convert_to_numpy(ops.cast(y_pred, "float32"))
    expected = reference.perplexity(labels, exact, from_logits=True)
    got = perplexity(labels, y_pred, from_logits=True)
    assert got == pytest.approx(expected, rel=1e-5)
    metric = Perplexity(dtype=dtype)
    metric.update_state(labels, probabilities)
    assert keras.backend.standardize_dtype(metric.result().dtype) == dtype


def test_many_words_in_half_precision_are_probabilities():
    y_pred = ops.softmax(ops.cast(rng.normal(size=(4, 20000)), "bfloat16"))
    assert perplexity(np.zeros(4), y_pred) > 1


WRONG = [
    ([0, 3], np.eye(3)[:2], "whole numbers from 0 to 2. Received: .*`ignore_class`"),
    ([0, -1], np.eye(3)[:2], "Received: y_true with a label -1"),
    ([0, np.nan], np.eye(3)[:2], "Received: y_true with a label nan"),
    ([0, 0], [[1, 0, 0], [2.0, -1, 0]], "expects probabilities.*softmax"),
    ([0, 0], [[1, 0, 0], [np.inf, 1, 0]], "expects probabilities.*inf"),
]


class TestWrongInput:
    @pytest.mark.parametrize(("y_true", "y_pred", "match"), WRONG)
    def test_raises_when_eager(self, y_true, y_pred, match):
        with pytest.raises(ValueError, match=match):
            perplexity(np.array(y_true), np.array(y_pred))

    @pytest.mark.parametrize(("y_true", "y_pred", "match"), WRONG)
    def test_is_absent_with_weight_0(self, y_true, y_pred, match):
        got = perplexity(np.array(y_true), np.array(y_pred), np.array([1, 0]))
        assert got == pytest.approx(1)

    @pytest.mark.parametrize("jit_compile", JIT)
    @pytest.mark.parametrize(("y_true", "y_pred", "match"), WRONG)
    def test_is_nan_when_compiled(self, y_true, y_pred, match, jit_compile):
        batch = {"y_true": np.float32(y_true), "y_pred": np.float32(y_pred)}
        assert np.isnan(result_in_steps(Perplexity(), [batch], jit_compile))

    @pytest.mark.parametrize("jit_compile", JIT)
    def test_nan_logits_are_nan(self, jit_compile):
        batch = {"y_true": np.zeros(1), "y_pred": np.float32([[np.nan, 0]])}
        metric = Perplexity(from_logits=True)
        assert np.isnan(result_in_steps(metric, [batch], jit_compile))


@pytest.mark.parametrize(
    ("y_true", "y_pred", "weight", "match"),
    [
        ((5,), (6, 2), None, r"\(6, 2\) goes with y_true of shape \(6,\). .*\(5,\)"),
        ((6,), (6, 2), (3,), r"one weight for each label.*sample_weight.shape=\(3,\)"),
        ((6,), (6, 1), None, r"at least 2 classes. Received: y_pred.shape=\(6, 1\)"),
        ((6,), (6,), None, r"shape \(batch, ..., classes\).*y_pred.shape=\(6,\)"),
    ],
)
def test_bad_shapes(y_true, y_pred, weight, match):
    weight = None if weight is None else np.ones(weight)
    with pytest.raises(ValueError, match=match):
        perplexity(np.zeros(y_true), np.full(y_pred, 0.5), weight)


def test_bad_ignore_class():
    with pytest.raises(ValueError, match="`ignore_class` must be an integer"):
        Perplexity(ignore_class="pad")


def test_config_keeps_every_argument():
    assert Perplexity(from_logits=True, ignore_class=0).get_config() == {
        "name": "perplexity",
        "dtype": "float32",
        "from_logits": True,
        "ignore_class": 0,
    }


@given(st.permutations(range(12)), st.integers(0, 12), st.permutations(range(WORDS)))
def test_order_batches_and_names_of_words_do_not_matter(order, cut, names):
    metric = Perplexity()
    renamed = np.argsort(names)[labels]
    for part in (order[:cut], order[cut:]):
        y_pred = probabilities[part][..., names]
        metric.update_state(renamed[part], y_pred, weights[part])
    expected = perplexity(labels, probabilities, weights)
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)
