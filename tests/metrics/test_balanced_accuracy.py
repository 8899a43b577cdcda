"""Balanced accuracy against the formula and scikit-learn."""

import warnings

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from keras_ext.metrics import BalancedAccuracy
from tests.reference import class_metrics as reference

CLASSES = 5

rng = np.random.default_rng(29)
labels = rng.choice(CLASSES, p=[0.7, 0.15, 0.1, 0.05, 0.0], size=200)
predicted = np.where(rng.uniform(size=200) < 0.6, labels, rng.permutation(labels))
sample_weight = rng.uniform(size=200)


def accuracy(y_true, y_pred, sample_weight=None, adjusted=False):
    metric = BalancedAccuracy(CLASSES, adjusted=adjusted, sparse_y_pred=True)
    metric.update_state(np.asarray(y_true), np.asarray(y_pred), sample_weight)
    return float(metric.result())


@pytest.mark.parametrize("adjusted", [False, True])
class TestValues:
    @pytest.mark.parametrize("weight", [None, sample_weight], ids=["equal", "weighted"])
    def test_equals_the_formula_and_scikit_learn(self, adjusted, weight):
        actual = accuracy(labels, predicted, weight, adjusted)
        options = {"adjusted": adjusted, "sample_weight": weight}
        expected = reference.balanced_accuracy(
            labels, predicted, CLASSES, sparse_y_pred=True, **options
        )
        assert actual == pytest.approx(expected, rel=1e-5)
        score = balanced_accuracy_score(labels, predicted, **options)
        assert actual == pytest.approx(score, rel=1e-5)

    def test_a_class_that_is_only_predicted_does_not_count(self, adjusted):
        y_true, y_pred = [0, 0, 1, 1], [0, 4, 1, 3]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's, about this very case
            score = balanced_accuracy_score(y_true, y_pred, adjusted=adjusted)
        assert accuracy(y_true, y_pred, adjusted=adjusted) == pytest.approx(score)

    def test_a_class_of_weight_0_does_not_count(self, adjusted):
        actual = accuracy([0, 1, 2], [0, 0, 1], [1, 1, 0], adjusted)
        assert actual == accuracy([0, 1], [0, 0], adjusted=adjusted)

    def test_nothing_seen_is_0(self, adjusted):
        assert float(BalancedAccuracy(3, adjusted=adjusted).result()) == 0

    def test_perfect_is_1(self, adjusted):
        assert accuracy(labels, labels, adjusted=adjusted) == 1


def test_chance_is_0_when_adjusted():
    assert accuracy([0, 0, 0, 1, 2], [1] * 5, adjusted=True) == 0
    assert accuracy([0, 1, 2], [1, 2, 0], adjusted=True) == pytest.approx(-0.5)


def test_adjusted_for_one_class_is_0():
    assert accuracy([2, 2], [2, 2], adjusted=True) == 0
    assert accuracy([2, 2], [2, 1], adjusted=True) == 0
    assert accuracy([2, 2], [2, 1]) == 0.5


def test_a_wrong_label_is_nan_even_if_its_class_is_else_absent():
    metric = BalancedAccuracy(3, sparse_y_pred=True)
    metric.total.assign(np.diag([np.nan, 2.0, 0.0]))
    assert np.isnan(float(metric.result()))


def test_config_keeps_adjusted():
    config = BalancedAccuracy(3, adjusted=True).get_config()
    assert config["adjusted"] is True
    assert BalancedAccuracy.from_config(config).get_config() == config
