"""Charbonnier loss against its formula."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.losses import Charbonnier, charbonnier
from tests.backends import gradients
from tests.losses.compiling import assert_compiled_alike
from tests.reference import image_losses as reference
from tests.slopes import assert_gradient_is_the_slope, needs_double_precision

EPSILONS = [1e-12, 1e-3, 0.5, 10.0]

rng = np.random.default_rng(14)
y_true = rng.normal(size=(24, 3)).astype("float32")
y_pred = rng.normal(size=(24, 3)).astype("float32")


@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("shape", [(24, 3), (2, 4, 3, 3)])
def test_equals_the_formula(epsilon, shape):
    true, predicted = y_true.reshape(shape), y_pred.reshape(shape)
    expected = reference.charbonnier(true, predicted, epsilon=epsilon)
    values = charbonnier(true, predicted, epsilon)
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)
    loss = Charbonnier(epsilon)
    assert float(loss(true, predicted)) == pytest.approx(expected.mean(), rel=1e-5)


def test_a_small_epsilon_gives_the_mean_absolute_error():
    expected = keras.losses.mean_absolute_error(y_true, y_pred)
    np.testing.assert_allclose(charbonnier(y_true, y_pred, 1e-9), expected, rtol=1e-5)


@needs_double_precision
@pytest.mark.parametrize("epsilon", EPSILONS)
def test_the_gradient_is_the_slope(epsilon):
    assert_gradient_is_the_slope(
        lambda x: charbonnier(y_true, x, epsilon), y_pred.astype("float64")
    )


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_the_slope_is_0_without_an_error(epsilon):
    (slope,) = gradients(lambda x: charbonnier(y_true, x, epsilon), y_true)
    np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize("error", [1e-30, 1e-20, 1e-12, 1e6, 1e18, 1e30])
def test_tiny_and_huge_errors(error):
    errors = np.array([[error, -error]], "float32")
    value = charbonnier(np.zeros((1, 2)), errors, 1e-12)
    exact = np.hypot(np.float64(errors[0, 0]), 1e-12)
    np.testing.assert_allclose(value, [exact], rtol=1e-5)
    (slope,) = gradients(lambda x: charbonnier(np.zeros((1, 2)), x, 1e-12), errors)
    np.testing.assert_allclose(slope, errors / exact / 2, rtol=1e-5)


def test_compiled():
    assert_compiled_alike(lambda x: charbonnier(y_true, x), y_pred)


def test_targets_of_one_output_need_no_axis():
    column = y_pred[:, :1]
    np.testing.assert_array_equal(
        charbonnier(y_true[:, 0], column), charbonnier(y_true[:, :1], column)
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    half = ops.cast(y_pred, dtype)
    values = charbonnier(y_true + 1e5, half)
    assert keras.backend.standardize_dtype(values.dtype) == "float32"
    expected = charbonnier(y_true + 1e5, ops.cast(half, "float32"))
    np.testing.assert_array_equal(values, expected)


def test_a_mask_of_the_predictions_is_respected():
    sequence = np.array([[1, 2, 0], [3, 0, 0]])
    predicted = keras.layers.Embedding(4, 1, mask_zero=True)(sequence)
    target = np.ones((2, 3, 1), "float32")
    values = ops.convert_to_numpy(charbonnier(target, ops.convert_to_numpy(predicted)))
    assert float(Charbonnier()(target, predicted)) == pytest.approx(
        (values[0, 0] + values[0, 1] + values[1, 0]) / 3, rel=1e-5
    )


def test_empty_batch():
    assert ops.convert_to_numpy(charbonnier(y_true[:0], y_pred[:0])).shape == (0,)


@pytest.mark.parametrize("epsilon", [0, 1e-13, -1.0, float("nan"), "1"])
def test_bad_epsilon(epsilon):
    match = rf"`epsilon` must be a finite number in \[1e-12, inf\). .*{epsilon!r}"
    with pytest.raises(ValueError, match=match):
        Charbonnier(epsilon)
    with pytest.raises(ValueError, match=match):
        charbonnier(y_true, y_pred, epsilon)


@pytest.mark.parametrize(
    ("true", "predicted", "match"),
    [
        ((4, 2), (4, 3), r"charbonnier expects .* \(batch, ..., outputs\). .*\(4, 2\)"),
        ((4,), (4, 3), r"y_true.shape=\(4,\), y_pred.shape=\(4, 3\)"),
        ((4,), (4,), r"y_pred.shape=\(4,\)"),
    ],
)
def test_bad_shapes(true, predicted, match):
    with pytest.raises(ValueError, match=match):
        charbonnier(np.zeros(true), np.zeros(predicted))


def test_config_keeps_every_argument():
    loss = Charbonnier(epsilon=1, reduction="sum", name="smooth", dtype="float64")
    assert loss.get_config() == {
        "name": "smooth",
        "reduction": "sum",
        "epsilon": 1.0,
        "dtype": "float64",
    }
