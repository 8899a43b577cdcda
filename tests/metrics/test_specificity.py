"""Specificity against the formula, scikit-learn and the recall of Keras."""

import keras
import numpy as np
import pytest
from keras import ops
from sklearn.metrics import recall_score, roc_curve

from keras_ext.metrics import Specificity
from tests.metrics.modes import JIT, result_in_steps
from tests.reference import class_metrics as reference

rng = np.random.default_rng(47)
y_true = (rng.uniform(size=(80, 3)) < [0.2, 0.5, 0.9]).astype("int32")
y_pred = (0.6 * rng.uniform(size=(80, 3)) + 0.3 * y_true).astype("float32")
sample_weight = rng.uniform(size=80).astype("float32")
THRESHOLDS = [0.5, 0.1, 0.5, 0.35, -1.0, 2.0, 0.9]


def specificity(true, pred, sample_weight=None, **options):
    metric = Specificity(**options)
    metric.update_state(true, pred, sample_weight=sample_weight)
    return ops.convert_to_numpy(metric.result())


@pytest.mark.parametrize("weight", [None, sample_weight], ids=["equal", "weighted"])
@pytest.mark.parametrize("class_id", [None, 0, 2])
class TestValues:
    @pytest.mark.parametrize("thresholds", [0.5, 0.2, THRESHOLDS, [0.4]])
    def test_equals_the_formula(self, weight, class_id, thresholds):
        options = {"thresholds": thresholds, "class_id": class_id}
        actual = specificity(y_true, y_pred, weight, **options)
        expected = reference.specificity(
            y_true, y_pred, sample_weight=weight, **options
        )
        assert actual.shape == np.shape(thresholds)
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)

    def test_equals_the_recall_of_the_negatives(self, weight, class_id):
        actual = specificity(y_true, y_pred, weight, class_id=class_id)
        chosen = slice(None) if class_id is None else [class_id]
        true, pred = y_true[:, chosen], y_pred[:, chosen]
        each = None if weight is None else np.repeat(weight, true.shape[1])
        score = recall_score(
            true.reshape(-1), pred.reshape(-1) > 0.5, pos_label=0, sample_weight=each
        )
        assert actual == pytest.approx(score, rel=1e-5)
        recall = keras.metrics.Recall(class_id=class_id)
        weight = None if weight is None else np.broadcast_to(weight[:, None], (80, 1))
        recall.update_state(1 - y_true, 1 - y_pred, sample_weight=weight)
        assert actual == pytest.approx(float(recall.result()), rel=1e-5)


def test_all_thresholds_of_the_roc_curve():
    true, pred = y_true[:, 1], y_pred[:, 1]
    false_alarms, _, at_least = roc_curve(true, pred, drop_intermediate=False)
    above = np.nextafter(at_least[1:], -1, dtype="float32").tolist()
    actual = specificity(true, pred, thresholds=above)
    np.testing.assert_allclose(1 - actual, false_alarms[1:], atol=1e-6)


def test_a_weight_for_every_label_goes_with_a_class():
    weights = rng.uniform(size=(80, 3))
    np.testing.assert_allclose(
        specificity(y_true, y_pred, weights, class_id=1),
        specificity(y_true[:, 1], y_pred[:, 1], weights[:, 1]),
        rtol=1e-6,
    )


def test_targets_of_other_classes_are_not_looked_at():
    targets = np.where([True, False, True], 7, y_true)
    expected = specificity(y_true[:, 1], y_pred[:, 1])
    assert specificity(targets, y_pred, class_id=1) == expected


def test_without_negatives_is_0():
    assert specificity(np.ones(4), np.full(4, 0.1)) == 0
    assert specificity(np.zeros(4), np.full(4, 0.1), np.zeros(4)) == 0


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"thresholds": []}, r"`thresholds` must not be empty. .*=\[\]"),
        ({"thresholds": [0.5, None]}, r"`thresholds\[1\]` must be a finite number"),
        ({"thresholds": "0.5"}, "`thresholds` must be a finite number"),
        ({"class_id": -1}, "`class_id` must be a non-negative integer. .*=-1"),
        ({"class_id": 1.0}, r"class_id=1.0"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        Specificity(**arguments)


def test_no_such_class():
    match = r"Specificity expects a last axis with an entry `class_id`. .*class_id=3"
    with pytest.raises(ValueError, match=match + r", y_pred.shape=\(80, 3\)"):
        specificity(y_true, y_pred, class_id=3)
    with pytest.raises(ValueError, match=r"class_id=0, y_pred.shape=\(80,\)"):
        specificity(y_true[:, 0], y_pred[:, 0], class_id=0)


def test_config_keeps_every_argument():
    metric = Specificity(np.array([0.7, 0.2]), class_id=1, name="s")
    assert metric.get_config() == {
        "name": "s",
        "dtype": "float32",
        "thresholds": [0.7, 0.2],
        "class_id": 1,
    }


@pytest.mark.parametrize("thresholds", [0.5, [-1.0, 0.5]])
@pytest.mark.parametrize("jit_compile", JIT)
def test_a_prediction_of_nan_counts_in_its_class_only(thresholds, jit_compile):
    batch = {"y_true": np.zeros((2, 2)), "y_pred": np.float32([[np.nan, 0.2], [0, 1]])}
    spoiled = Specificity(thresholds, class_id=0)
    assert np.isnan(result_in_steps(spoiled, [batch], jit_compile)).all()
    other = Specificity(thresholds, class_id=1)
    expected = 0.5 if thresholds == 0.5 else [0, 0.5]
    actual = result_in_steps(other, [batch], jit_compile)
    np.testing.assert_array_equal(actual, expected)
