"""Metrics whose results are arrays, in everything that a Trainer and a Loop report."""

import csv
import json
import math

import keras
import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from keras_ext import Loop, Trainer
from keras_ext.callbacks import Checkpoint, CSVLogger, NaNGuard
from keras_ext.metrics import ConfusionMatrix
from keras_ext.training.loop.callback_contract import next_stop
from keras_ext.training.loop.progress import ProgressBar
from tests.training.problems import LABELS, X

CLASSES = int(LABELS.max()) + 1


def make(kind=Trainer):
    """Return a compiled model that does not learn."""
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [keras.Input(X.shape[1:]), keras.layers.Dense(CLASSES, "softmax")]
    )
    trainer = kind(model) if kind is Trainer else model
    trainer.compile(
        keras.optimizers.SGD(0.0),
        "sparse_categorical_crossentropy",
        metrics=[ConfusionMatrix(CLASSES)],
    )
    return trainer


@pytest.fixture(scope="module")
def expected():
    predicted = make().predict(X, verbose=0).argmax(axis=-1)
    return confusion_matrix(LABELS, predicted, labels=range(CLASSES))


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_fit(verbose, expected, tmp_path, capsys):
    history = make().fit(
        X,
        LABELS,
        epochs=2,
        validation_data=(X, LABELS),
        callbacks=[CSVLogger(tmp_path / "log.csv"), NaNGuard()],
        verbose=verbose,
    )
    for name in ("confusion_matrix", "val_confusion_matrix"):
        np.testing.assert_array_equal(history.history[name], [expected] * 2)
    with open(tmp_path / "log.csv", newline="") as file:
        for row in csv.DictReader(file):
            cell = json.loads(row["val_confusion_matrix"])
            np.testing.assert_array_equal(cell, expected)
    shown = capsys.readouterr().out
    assert ("val_loss: " in shown) == bool(verbose)
    assert "confusion_matrix" not in shown  # of which Keras would show the mean


@pytest.mark.parametrize(
    ("kind", "verbose"), [(Trainer, 0), (Trainer, 1), (Trainer, 2), (keras.Model, 0)]
)
def test_evaluate(kind, verbose, expected):
    _, result = make(kind).evaluate(X, LABELS, verbose=verbose)
    assert isinstance(result, np.ndarray)
    np.testing.assert_array_equal(result, expected)
    logs = make(kind).evaluate(X, LABELS, verbose=verbose, return_dict=True)
    assert isinstance(logs["confusion_matrix"], np.ndarray)


def test_a_progress_bar_of_ones_own_is_the_only_one(capsys):
    trainer = Trainer(make().model)
    trainer.compile("sgd", "sparse_categorical_crossentropy")
    for method in (trainer.fit, trainer.evaluate):
        method(X, LABELS, callbacks=[keras.callbacks.ProgbarLogger()], verbose=2)
        assert capsys.readouterr().out.count("loss: ") == 1


def test_the_bar_needs_to_hear_of_no_batch_but_the_last():
    assert next_stop([ProgressBar()], "train", 0) == math.inf


def test_a_run_that_is_continued(expected, tmp_path):
    def run(epochs):
        options = {"callbacks": [Checkpoint(tmp_path)], "resume": True, "verbose": 0}
        return make().fit(
            X, LABELS, epochs=epochs, validation_data=(X, LABELS), **options
        )

    run(1)
    history = run(3)
    assert history.epoch == [0, 1, 2]
    for name in ("confusion_matrix", "val_confusion_matrix"):
        np.testing.assert_array_equal(history.history[name], [expected] * 3)


def test_a_metric_in_a_loop(expected):
    model = make().model
    metric, unseen = ConfusionMatrix(CLASSES), ConfusionMatrix(CLASSES)
    loop = Loop(model, epochs=2, verbose=0)
    for epoch in loop:
        for x, labels in epoch.batches((X, LABELS), batch_size=16):
            metric.update_state(labels, model(x))
            epoch.log({"matrix": metric})
        unseen.update_state(LABELS, model(X))
        epoch.log_validation({"matrix": unseen})
    for name in ("matrix", "val_matrix"):
        np.testing.assert_array_equal(loop.history.history[name], [expected] * 2)


def test_an_array_that_is_no_metric_of_a_loop():
    for epoch in Loop(make().model, epochs=1, verbose=0):
        for _ in epoch.batches((X, LABELS), steps=1):
            with pytest.raises(ValueError, match=r"log the `keras.Metric` itself"):
                epoch.log({"matrix": np.eye(CLASSES)})
            epoch.log({"loss": 0.0})
