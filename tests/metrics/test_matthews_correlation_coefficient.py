"""Matthews's coefficient against the papers' formulas and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef

from keras_ext.metrics import MatthewsCorrelationCoefficient
from tests.reference import class_metrics as reference

rng = np.random.default_rng(23)


def coefficient(y_true, y_pred, num_classes, sample_weight=None):
    metric = MatthewsCorrelationCoefficient(num_classes, sparse_y_pred=True)
    metric.update_state(y_true, y_pred, sample_weight=sample_weight)
    return float(metric.result())


@pytest.mark.parametrize("num_classes", [2, 3, 7])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("right", [0.0, 0.5, 0.95])
def test_equals_the_formula_and_scikit_learn(num_classes, weighted, right):
    y_true = rng.integers(0, num_classes, size=200)
    guess = rng.integers(0, num_classes, size=200)
    y_pred = np.where(rng.uniform(size=200) < right, y_true, guess)
    weight = rng.uniform(size=200) if weighted else None
    actual = coefficient(y_true, y_pred, num_classes, weight)
    expected = reference.matthews_correlation_coefficient(
        y_true, y_pred, num_classes, sparse_y_pred=True, sample_weight=weight
    )
    assert actual == pytest.approx(expected, rel=1e-5, abs=1e-6)
    score = matthews_corrcoef(y_true, y_pred, sample_weight=weight)
    assert actual == pytest.approx(score, rel=1e-5, abs=1e-6)


def test_of_two_classes_is_pearsons_correlation():
    y_true, y_pred = rng.integers(0, 2, size=(2, 50))
    expected = np.corrcoef(y_true, y_pred)[0, 1]
    assert coefficient(y_true, y_pred, 2) == pytest.approx(expected, abs=1e-6)


def test_perfect_and_opposite():
    for size in (3, 10, 77):
        y = rng.integers(0, 2, size=size)
        y[:2] = 0, 1
        assert coefficient(y, y, 2) == pytest.approx(1, abs=1e-6)
        assert coefficient(y, 1 - y, 2) == pytest.approx(-1, abs=1e-6)


@pytest.mark.parametrize(
    ("y_true", "y_pred"),
    [([], []), ([1, 1], [1, 1]), ([0, 1], [1, 1]), ([1, 1], [0, 1]), ([0, 0], [1, 1])],
)
@pytest.mark.filterwarnings("ignore:A single label was found")  # scikit-learn's
def test_undefined_is_0(y_true, y_pred):
    assert coefficient(np.array(y_true, "int32"), np.array(y_pred, "int32"), 3) == 0
    if y_true:
        assert matthews_corrcoef(y_true, y_pred) == 0


@pytest.mark.parametrize("positives", [1e-5, 1e-7, 1e-9])
def test_very_unequal_classes_lose_no_digits(positives):
    # Of the positives, two thirds are found, with as many false alarms.
    counts = np.array([1.0, positives, positives / 2, positives]).astype("float32")
    y_true, y_pred = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    tn, fp, fn, tp = counts.astype("float64")
    expected = (tp * tn - fp * fn) / np.sqrt(
        (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    )
    assert coefficient(y_true, y_pred, 2, counts) == pytest.approx(expected, rel=1e-5)


def test_more_samples_than_float32_can_count():
    counts = np.array([9e9, 2e9, 1e9, 5e9], "float32")
    y_true, y_pred = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    expected = matthews_corrcoef(y_true, y_pred, sample_weight=counts.astype("float64"))
    assert coefficient(y_true, y_pred, 2, counts) == pytest.approx(expected, rel=1e-5)
