"""`Snake` against the paper's formula, also where the frequency is 0 or nearly so."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.layers import Snake, snake
from tests.backends import gradients
from tests.layers.steps import weights_after_a_step
from tests.layers.weights import assert_close
from tests.reference import units as reference

X = np.linspace(-7, 7, 50, dtype="float32").reshape(5, 10)


def with_frequency(a):
    return Snake(frequency_initializer=keras.initializers.Constant(a))


@pytest.mark.parametrize("a", [1.0, -1.0, 0.3, 5.0, 30.0, 1e-2, 2e-6, 5e-7, 1e-20, 0.0])
def test_equals_the_reference(a):
    assert_close(with_frequency(a)(X), reference.snake(X, np.float32(a)))


def test_starts_with_a_frequency_of_1():
    assert_close(Snake()(X), reference.snake(X, 1.0))


@pytest.mark.parametrize("a", [1.0, 0.3, 1e-2, 0.0])
def test_slopes_are_those_of_the_formula(a):
    """Those of x - cos(2 a x) / (2 a) + 1 / (2 a); that of `a` is x^2 at 0."""
    x = X.astype("float64")
    of_x = 1 + np.sin(2 * a * x)
    of_a = x * np.sin(2 * a * x) / a - np.sin(a * x) ** 2 / a**2 if a else x**2
    got_x, got_a = gradients(snake, X, np.full_like(X, a))
    np.testing.assert_allclose(got_x, of_x, rtol=1e-5, atol=1e-5)
    # A difference of numbers that are 1 / a as large, in float32.
    np.testing.assert_allclose(got_a, of_a, rtol=1e-5, atol=1e-3 if a == 1e-2 else 1e-4)


def test_a_frequency_for_every_channel():
    frequencies = np.linspace(0, 2, 10, dtype="float32")
    expected = [reference.snake(X[:, i], a) for i, a in enumerate(frequencies)]
    assert_close(snake(X, frequencies), np.stack(expected, axis=1))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_rounded_once(dtype):
    x = ops.cast(X, dtype)
    expected = ops.cast(snake(ops.cast(x, "float32"), 0.3), dtype)
    assert keras.backend.standardize_dtype(snake(x, 0.3).dtype) == dtype
    assert np.all(ops.convert_to_numpy(snake(x, 0.3) == expected))


def test_integers_become_float32():
    assert_close(snake(np.arange(5)), reference.snake(np.arange(5), 1.0))


def test_learns_its_frequency():
    weights = weights_after_a_step(with_frequency(0.5), X[:, :3])
    assert weights["frequency"] != 0.5
