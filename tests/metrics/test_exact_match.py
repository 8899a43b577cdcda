"""Exact match against the formula and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from keras_ext.metrics import ExactMatch
from tests.reference import class_metrics as reference

rng = np.random.default_rng(43)
y_true = (rng.uniform(size=(80, 3)) < 0.5).astype("int32")
y_pred = np.abs(y_true - rng.beta(1, 2, size=(80, 3))).astype("float32")
tokens = rng.integers(0, 50_000, size=(80, 6))
written = np.where(rng.uniform(size=(80, 6)) < 0.1, tokens + 1, tokens)
sample_weight = rng.uniform(size=80).astype("float32")


def match(true, pred, sample_weight=None, **options):
    metric = ExactMatch(**options)
    metric.update_state(true, pred, sample_weight=sample_weight)
    return float(metric.result())


@pytest.mark.parametrize("weight", [None, sample_weight], ids=["equal", "weighted"])
class TestValues:
    @pytest.mark.parametrize("threshold", [0.5, 0.2, 0.9])
    def test_labels(self, weight, threshold):
        actual = match(y_true, y_pred, weight, threshold=threshold)
        expected = reference.exact_match(
            y_true, y_pred, threshold=threshold, sample_weight=weight
        )
        assert actual == pytest.approx(expected, rel=1e-5)
        score = accuracy_score(y_true, y_pred > threshold, sample_weight=weight)
        assert actual == pytest.approx(score, rel=1e-5)

    @pytest.mark.parametrize("dtypes", [("int32", "int64"), ("int32", "float32")])
    def test_sequences(self, weight, dtypes):
        true, pred = tokens.astype(dtypes[0]), written.astype(dtypes[1])
        actual = match(true, pred, weight, threshold=None)
        expected = reference.exact_match(
            tokens, written, threshold=None, sample_weight=weight
        )
        assert actual == pytest.approx(expected, rel=1e-5)
        right = (tokens == written).all(axis=-1)
        assert actual == pytest.approx(np.average(right, weights=weight), rel=1e-5)


def test_by_hand():
    assert match([[1, 0], [1, 1]], [[0.9, 0.1], [0.9, 0.1]]) == 0.5
    assert match([[1, 0], [1, 1]], [[0.9, 0.1], [0.9, 0.1]], [3, 1]) == 0.75
    assert match([[7, 7], [5, 5]], [[7, 7], [5, 6]], threshold=None) == 0.5


def test_whole_numbers_are_no_error_without_a_threshold():
    assert match(np.array([[-1, 300]]), np.array([[-1, 300]]), threshold=None) == 1


def test_a_weight_for_every_label_is_an_error():
    with pytest.raises(ValueError, match="ExactMatch expects `sample_weight` to hold"):
        match(y_true, y_pred, np.ones((80, 3)))


def test_config_keeps_every_argument():
    assert ExactMatch(threshold=None, name="e", dtype="float16").get_config() == {
        "name": "e",
        "dtype": "float16",
        "threshold": None,
    }
