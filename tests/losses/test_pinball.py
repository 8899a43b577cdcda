"""Pinball loss against the paper's formula, and as an estimator of quantiles."""

import keras
import numpy as np
import pytest
from keras import ops
from sklearn.metrics import mean_pinball_loss

from keras_ext.losses import Pinball, pinball
from tests.reference import losses as reference

rng = np.random.default_rng(5)
y_true = rng.normal(size=(40, 3)).astype("float32")
y_pred = rng.normal(size=(40, 3)).astype("float32")


def numpy(x):
    return ops.convert_to_numpy(x)


@pytest.mark.parametrize("tau", [0.5, 0.01, 0.9, 0, 1.0, [0.1, 0.5, 0.9], [0, 0.5, 1]])
@pytest.mark.parametrize("shape", [(40, 3), (8, 5, 3)])
def test_equals_the_formula(tau, shape):
    true, predicted = y_true.reshape(shape), y_pred.reshape(shape)
    expected = reference.pinball(true, predicted, tau)
    np.testing.assert_allclose(
        pinball(true, predicted, tau), expected, rtol=1e-5, atol=1e-6
    )
    assert float(Pinball(tau)(true, predicted)) == pytest.approx(
        expected.mean(), rel=1e-5
    )


@pytest.mark.parametrize("tau", [0.5, 0.1])
def test_equals_scikit_learn(tau):
    weight = rng.uniform(size=40)
    loss = Pinball(tau, reduction="mean_with_sample_weight")
    assert float(loss(y_true, y_pred, sample_weight=weight)) == pytest.approx(
        mean_pinball_loss(y_true, y_pred, sample_weight=weight, alpha=tau), rel=1e-5
    )


@pytest.mark.parametrize(
    ("tau", "expected"), [(0, [1.5, 0.75]), (0.5, [0.9375, 1.375]), (1, [0.375, 2.0])]
)
def test_equals_tensorflow_addons(tau, expected):
    # tfa.losses.pinball_loss, version 0.23.0.
    true, predicted = [[1.0, -2.0], [0.5, 3.0]], [[0.25, 1.0], [2.0, -1.0]]
    np.testing.assert_array_equal(pinball(true, predicted, tau), expected)


def test_half_is_half_the_mean_absolute_error():
    expected = numpy(keras.losses.mean_absolute_error(y_true, y_pred)) / 2
    np.testing.assert_allclose(pinball(y_true, y_pred), expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(40, 1), (40,)])
def test_one_target_for_several_quantiles(shape):
    target = y_true[:, 0]
    expected = reference.pinball(target[:, None], y_pred, [0.1, 0.5, 0.9])
    values = pinball(target.reshape(shape), y_pred, [0.1, 0.5, 0.9])
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


def test_targets_without_an_axis_are_not_spread_over_the_batch():
    column = y_pred[:, :1]
    np.testing.assert_array_equal(
        pinball(y_true[:, 0], column), pinball(y_true[:, :1], column)
    )


def test_the_minimum_is_the_quantile():
    sample = rng.exponential(size=1001).astype("float32")
    grid = np.sort(sample)
    for tau in (0.1, 0.5, 0.75):
        losses = [
            numpy(pinball(sample[None], np.full((1, 1001), g), tau)) for g in grid
        ]
        assert grid[np.argmin(losses)] == np.quantile(sample, tau)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    half = ops.cast(y_pred, dtype)
    values = pinball(y_true + 1e5, half, 0.9)
    assert keras.backend.standardize_dtype(values.dtype) == "float32"
    np.testing.assert_allclose(
        values,
        reference.pinball(y_true + 1e5, numpy(ops.cast(half, "float32")), 0.9),
        rtol=1e-5,
    )


def test_integers():
    assert float(pinball([[3]], [[1]], 0.25)[0]) == 0.5


def test_empty_batch():
    assert numpy(pinball(y_true[:0], y_pred[:0])).shape == (0,)


def test_a_mask_of_the_predictions_is_respected():
    sequence = np.array([[1, 2, 0], [3, 0, 0]])
    predicted = keras.layers.Embedding(4, 1, mask_zero=True)(sequence)
    target = np.ones((2, 3, 1), "float32")
    values = numpy(pinball(target, numpy(predicted), 0.9))
    assert float(Pinball(0.9)(target, predicted)) == pytest.approx(
        (values[0, 0] + values[0, 1] + values[1, 0]) / 3, rel=1e-5
    )


@pytest.mark.parametrize(
    ("tau", "match"),
    [
        (-0.1, r"`tau` must be a finite number in \[0, 1\]. Received: tau=-0.1"),
        (1.01, r"tau=1.01"),
        (float("nan"), "tau=nan"),
        ("0.5", "tau='0.5'"),
        ([0.1, 1.5], r"`tau\[1\]` must be a finite number in \[0, 1\]"),
    ],
)
def test_bad_tau(tau, match):
    with pytest.raises(ValueError, match=match):
        Pinball(tau)
    with pytest.raises(ValueError, match=match):
        pinball(y_true, y_pred, tau)


@pytest.mark.parametrize(
    ("true", "predicted", "tau", "match"),
    [
        ((4, 2), (4, 3), 0.5, r"the same shape, or with a last axis of 1. .*\(4, 2\)"),
        ((1, 3), (4, 3), 0.5, r"y_true.shape=\(1, 3\), y_pred.shape=\(4, 3\)"),
        ((4, 3), (4, 1), 0.5, r"y_true.shape=\(4, 3\), y_pred.shape=\(4, 1\)"),
        ((4,), (4,), 0.5, r"y_pred of shape \(batch, ..., outputs\).*shape=\(4,\)"),
        ((), (), 0.5, r"y_pred of shape \(batch, ..., outputs\)"),
        ((4, 1), (4, 3), [0.1, 0.9], r"each entry of y_pred's last axis.*2 numbers"),
    ],
)
def test_bad_shapes(true, predicted, tau, match):
    with pytest.raises(ValueError, match=match):
        pinball(np.zeros(true), np.zeros(predicted), tau)


def test_config_keeps_every_argument():
    loss = Pinball(tau=(0.1, 0.9), reduction="sum", name="interval", dtype="float64")
    assert loss.get_config() == {
        "name": "interval",
        "reduction": "sum",
        "tau": [0.1, 0.9],
        "dtype": "float64",
    }
