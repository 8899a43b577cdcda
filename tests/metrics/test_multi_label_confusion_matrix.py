"""The matrices of several labels against the formula and scikit-learn."""

import keras
import numpy as np
import pytest
from keras import ops
from sklearn.metrics import multilabel_confusion_matrix

from keras_ext.metrics import MultiLabelConfusionMatrix
from tests.reference import class_metrics as reference

LABELS = 5
# The progress bar of Keras 3.12 can't print arrays, and raises an error.
PRINTED = [0] if keras.__version__.startswith("3.12.") else [0, 1, 2]

rng = np.random.default_rng(37)
y_true = (rng.uniform(size=(80, LABELS)) < [0.1, 0.3, 0.5, 0.9, 0.0]).astype("int32")
y_pred = rng.uniform(size=(80, LABELS)).astype("float32")
sample_weight = rng.uniform(size=80).astype("float32")


@pytest.mark.parametrize("weight", [None, sample_weight], ids=["equal", "weighted"])
@pytest.mark.parametrize("threshold", [0.5, 0.2, 0.99])
def test_equals_the_formula_and_scikit_learn(weight, threshold):
    metric = MultiLabelConfusionMatrix(LABELS, threshold=threshold)
    metric.update_state(y_true, y_pred, sample_weight=weight)
    expected = reference.multi_label_confusion_matrix(
        y_true, y_pred, LABELS, threshold=threshold, sample_weight=weight
    )
    np.testing.assert_allclose(metric.result(), expected, rtol=1e-5, atol=1e-5)
    counted = multilabel_confusion_matrix(
        y_true, y_pred > threshold, sample_weight=weight
    )
    np.testing.assert_allclose(metric.result(), counted, rtol=1e-5, atol=1e-5)


def test_half_precision_counts_on():
    metric = MultiLabelConfusionMatrix(1, dtype="float16")
    metric.update_state(np.ones((70001, 1)), np.ones((70001, 1)))
    assert keras.backend.standardize_dtype(metric.result().dtype) == "float32"
    assert float(ops.sum(metric.result())) == 70001


def test_bad_num_labels():
    for wrong in (0, 2.0, True):
        with pytest.raises(ValueError, match="`num_labels` must be a positive integer"):
            MultiLabelConfusionMatrix(wrong)


def test_another_number_of_labels():
    metric = MultiLabelConfusionMatrix(4)
    match = r"of shape \(batch, ..., 4\). Received: y_pred.shape=\(80, 5\)"
    with pytest.raises(ValueError, match=match):
        metric.update_state(y_true, y_pred)


def test_config_keeps_every_argument():
    assert MultiLabelConfusionMatrix(4, threshold=0, name="m").get_config() == {
        "name": "m",
        "dtype": "float32",
        "num_labels": 4,
        "threshold": 0,
    }


@pytest.mark.parametrize("verbose", PRINTED)
def test_fit_and_evaluate_report_it_as_an_array(verbose):
    model = keras.Sequential([keras.Input((LABELS,)), keras.layers.Dense(LABELS)])
    model.compile(
        keras.optimizers.SGD(0.0), "mse", metrics=[MultiLabelConfusionMatrix(LABELS)]
    )
    history = model.fit(y_pred, y_true, verbose=verbose).history
    expected = multilabel_confusion_matrix(
        y_true, ops.convert_to_numpy(model(y_pred)) > 0.5
    )
    (reported,) = history["multi_label_confusion_matrix"]
    np.testing.assert_array_equal(reported, expected)
    _, evaluated = model.evaluate(y_pred, y_true, verbose=verbose)
    assert isinstance(evaluated, np.ndarray)
    np.testing.assert_array_equal(evaluated, expected)
