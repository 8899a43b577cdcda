"""Metrics of TensorFlow Addons have the values that they had in Keras 2."""

import keras
import numpy as np
import pytest

import keras_ext
from keras_ext import addons
from tests.addons.both_keras import tf_keras, tfa

RNG = np.random.default_rng(3)
ONE_HOT = np.eye(4, dtype="float32")[RNG.integers(0, 4, size=40)]
SHARES = RNG.dirichlet(np.ones(4), size=40).astype("float32")
BINARY = RNG.integers(0, 2, size=(40, 4)).astype("float32")
LISTS = (SHARES[:, 0], SHARES[:, 1])
FOR_CLASSES = (ONE_HOT, SHARES)
FOR_LABELS = (BINARY, SHARES)
METRICS = {
    "CohenKappa": ({"num_classes": 4, "weightage": "linear"}, FOR_CLASSES),
    "F1Score": ({"num_classes": 4, "average": "macro"}, FOR_CLASSES),
    "FBetaScore": ({"num_classes": 4, "threshold": 0.3}, FOR_LABELS),
    "GeometricMean": ({}, LISTS[:1]),
    "HammingLoss": ({"mode": "multilabel", "threshold": 0.3}, FOR_LABELS),
    "HarmonicMean": ({}, LISTS[:1]),
    "KendallsTauB": ({}, LISTS),
    "KendallsTauC": ({}, LISTS),
    "MatthewsCorrelationCoefficient": ({"num_classes": 4}, FOR_CLASSES),
    "MultiLabelConfusionMatrix": ({"num_classes": 4}, (BINARY, BINARY[::-1])),
    "PearsonsCorrelation": ({}, LISTS),
    "RSquare": ({"num_regressors": 2}, (SHARES, BINARY)),
    "SpearmansRank": ({}, LISTS),
}


def make(metric, **others):
    return getattr(tfa.metrics, metric)(**METRICS[metric][0], **others)


@pytest.mark.parametrize("name", METRICS)
def test_values_equal_those_in_keras_2_also_from_a_config(name):
    arrays = METRICS[name][1]
    expected = make(name)
    metrics = [addons.metric(make(name))]
    metrics.append(type(metrics[0]).from_config(metrics[0].get_config()))
    for half in (slice(0, 15), slice(15, 40)):
        batch = [one[half] for one in arrays]
        for metric in (expected, *metrics):
            metric.update_state(*batch)
    for metric in metrics:
        np.testing.assert_array_equal(metric.result(), expected.result())
        assert len(metric.variables) == len(expected.variables)
        metric.reset_state()
        metric.update_state(*arrays)
    again = make(name)
    again.update_state(*arrays)
    np.testing.assert_array_equal(metrics[0].result(), again.result())


def same(of):
    """Return a model that returns its inputs."""

    class Same(of.Model):
        def call(self, inputs):
            return inputs * 1.0

    return Same()


@pytest.mark.parametrize("name", ["CohenKappa", "RSquare"])
def test_evaluation_equals_that_in_keras_2(name):
    """With branches on tensors, and variables that the first batch creates."""
    targets, predictions = METRICS[name][1]
    results = []
    for of in (tf_keras, keras, keras_ext.Trainer):
        adapt = (lambda one: one) if of is tf_keras else addons.metric
        model = same(tf_keras) if of is tf_keras else same(keras)
        if of is keras_ext.Trainer:
            model = of(model)
        model.compile(optimizer="sgd", loss="mse", metrics=[adapt(make(name))])
        for _ in range(2):
            logs = model.evaluate(
                predictions, targets, batch_size=16, verbose=0, return_dict=True
            )
        (key,) = set(logs) - {"loss"}
        results.append((key, np.asarray(logs[key])))
    for key, value in results[1:]:
        assert key == results[0][0]
        np.testing.assert_allclose(value, results[0][1], rtol=1e-6)


def test_weights_of_samples_equal_those_in_keras_2():
    weights = RNG.uniform(size=40).astype("float32")
    targets, predictions = METRICS["RSquare"][1]
    results = []
    for of, adapt in ((tf_keras, lambda one: one), (keras, addons.metric)):
        model = same(of)
        model.compile(
            loss="mse",
            metrics=[adapt(make("RSquare"))],
            weighted_metrics=[adapt(make("RSquare", name="weighted"))],
        )
        results.append(
            model.evaluate(predictions, targets, sample_weight=weights, verbose=0)
        )
    assert results[0][1] != results[0][2]
    np.testing.assert_allclose(results[1], results[0], rtol=1e-6)


@pytest.mark.parametrize("name", ["CohenKappa", "F1Score"])
def test_weights_of_samples_repeat_them(name):
    """Keras 2's `fit` passed them with another axis, which these could not take."""
    times = RNG.integers(0, 3, size=40)
    metrics = [addons.metric(make(name)) for _ in range(2)]
    metrics[0].update_state(*FOR_CLASSES, sample_weight=times.astype("float32"))
    metrics[1].update_state(*(np.repeat(one, times, axis=0) for one in FOR_CLASSES))
    np.testing.assert_allclose(metrics[0].result(), metrics[1].result(), rtol=1e-6)


def test_errors():
    with pytest.raises(TypeError, match=r"`addons\.metric` must be of TensorFlow Ad"):
        addons.metric(tfa.metrics.hamming_loss_fn)
    with pytest.raises(TypeError, match="use it without the adapter"):
        addons.metric(keras.metrics.Mean())
