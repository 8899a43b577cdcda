"""Hamming loss against the formula and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import hamming_loss

from keras_ext.metrics import HammingLoss
from tests.reference import class_metrics as reference

rng = np.random.default_rng(41)
y_true = (rng.uniform(size=(80, 6)) < 0.3).astype("int32")
y_pred = rng.uniform(size=(80, 6)).astype("float32")
sample_weight = rng.uniform(size=80).astype("float32")


def loss(true, pred, sample_weight=None, **options):
    metric = HammingLoss(**options)
    metric.update_state(true, pred, sample_weight=sample_weight)
    return float(metric.result())


@pytest.mark.parametrize("weight", [None, sample_weight], ids=["equal", "weighted"])
@pytest.mark.parametrize("threshold", [0.5, 0.2, 0.99])
def test_equals_the_formula_and_scikit_learn(weight, threshold):
    actual = loss(y_true, y_pred, weight, threshold=threshold)
    expected = reference.hamming_loss(
        y_true, y_pred, threshold=threshold, sample_weight=weight
    )
    assert actual == pytest.approx(expected, rel=1e-5)
    score = hamming_loss(y_true, y_pred > threshold, sample_weight=weight)
    assert actual == pytest.approx(score, rel=1e-5)


def test_right_and_wrong():
    assert loss(y_true, y_true) == 0
    assert loss(y_true, 1 - y_true) == 1
    assert loss([[0, 1], [1, 1]], [[0.1, 0.9], [0.2, 0.8]], [1, 3]) == 3 / 8


def test_config_keeps_every_argument():
    assert HammingLoss(threshold=0.3, name="h", dtype="float16").get_config() == {
        "name": "h",
        "dtype": "float16",
        "threshold": 0.3,
    }
