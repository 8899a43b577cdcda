"""The confusion matrix against the formula and scikit-learn, and its ways into logs."""

import csv
import json

import keras
import numpy as np
import pytest
from keras import ops
from sklearn import metrics as sklearn_metrics

import keras_ext
from keras_ext.metrics import ConfusionMatrix
from tests.reference import class_metrics as reference

CLASSES = 4
# The progress bar of Keras 3.12 can't print arrays, and raises an error.
PRINTED = [0] if keras.__version__.startswith("3.12.") else [0, 1, 2]

rng = np.random.default_rng(19)
labels = rng.integers(0, CLASSES, size=100, dtype="int32")
predicted = np.where(rng.uniform(size=100) < 0.6, labels, rng.permutation(labels))
sample_weight = rng.uniform(size=100).astype("float32")


def matrix(y_true, y_pred, normalize=None, sample_weight=None, **options):
    options = {"num_classes": CLASSES, "sparse_y_pred": True, **options}
    metric = ConfusionMatrix(normalize=normalize, **options)
    metric.update_state(y_true, y_pred, sample_weight=sample_weight)
    return ops.convert_to_numpy(metric.result())


@pytest.mark.parametrize("normalize", [None, "true", "pred", "all"])
class TestValues:
    @pytest.mark.parametrize("weight", [None, sample_weight], ids=["equal", "weighted"])
    def test_equals_the_formula_and_scikit_learn(self, normalize, weight):
        options = {"normalize": normalize, "sample_weight": weight}
        actual = matrix(labels, predicted, **options)
        for expected in (
            reference.confusion_matrix(
                labels, predicted, CLASSES, sparse_y_pred=True, **options
            ),
            sklearn_metrics.confusion_matrix(labels, predicted, **options),
        ):
            np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)

    def test_classes_that_are_missing_have_zeros(self, normalize):
        y_true, y_pred = np.array([0, 1, 1]), np.array([1, 1, 0])
        options = {"normalize": normalize}
        np.testing.assert_allclose(
            matrix(y_true, y_pred, **options),
            sklearn_metrics.confusion_matrix(
                y_true, y_pred, labels=range(CLASSES), **options
            ),
            rtol=1e-6,
        )

    def test_a_column_of_probabilities(self, normalize):
        probability = np.array([[0.9], [0.2], [0.5], [0.6]], "float32")
        y_true = np.array([1, 0, 0, 0])
        np.testing.assert_array_equal(
            matrix(y_true, probability, normalize, num_classes=2, sparse_y_pred=False),
            matrix(y_true, np.array([1, 0, 0, 1]), normalize, num_classes=2),
        )


def test_half_precision_counts_on():
    counted = matrix([0] * 70001, [1] * 70001, dtype="float16")
    assert counted.dtype == "float32"
    assert counted[0, 1] == 70001
    share = matrix([0, 0, 0], [1, 1, 0], "all", dtype="float16")
    assert share.dtype == "float16"
    assert share[0, 1] == np.float16(2 / 3)


def test_bad_normalize():
    with pytest.raises(ValueError, match=r"None, 'true', 'pred', 'all'. .*'rows'"):
        ConfusionMatrix(3, normalize="rows")


def test_config_keeps_normalize():
    config = ConfusionMatrix(3, normalize="pred").get_config()
    assert config["normalize"] == "pred"
    assert ConfusionMatrix.from_config(config).get_config() == config


@pytest.mark.parametrize("verbose", PRINTED)
def test_fit_and_evaluate_report_it_as_an_array(verbose, tmp_path, capsys):
    model = keras.Sequential(
        [
            keras.Input((CLASSES,)),
            keras.layers.Dense(CLASSES, kernel_initializer="identity"),
        ]
    )
    model.compile(
        keras.optimizers.SGD(0.0),
        "sparse_categorical_crossentropy",
        metrics=[ConfusionMatrix(CLASSES)],
    )
    x = np.eye(CLASSES, dtype="float32")[predicted]
    ours = keras_ext.callbacks.CSVLogger(tmp_path / "ours.csv")
    keras_s = keras.callbacks.CSVLogger(tmp_path / "keras.csv")
    history = model.fit(
        x,
        labels,
        epochs=2,
        validation_data=(x, labels),
        callbacks=[ours, keras_s],
        verbose=verbose,
    ).history
    expected = sklearn_metrics.confusion_matrix(labels, predicted)
    for name in ("confusion_matrix", "val_confusion_matrix"):
        np.testing.assert_array_equal(history[name], [expected, expected])
    _, evaluated = model.evaluate(x, labels, verbose=verbose)
    assert isinstance(evaluated, np.ndarray)
    np.testing.assert_array_equal(evaluated, expected)
    assert bool(capsys.readouterr().out) == bool(verbose)
    with open(tmp_path / "ours.csv", newline="") as file:
        for row in csv.DictReader(file):
            cell = json.loads(row["val_confusion_matrix"])
            np.testing.assert_array_equal(cell, expected)
    assert (tmp_path / "keras.csv").read_text().count("\n0,") == 1
