"""Gradients against finite differences, and what JAX has no need of."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.backends import gradients

needs_double_precision = pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="JAX computes in single precision"
)
needs_unknown_sizes = pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="JAX compiles for each size anew"
)


def assert_gradient_is_the_slope(function, x, seed=3):
    """Compare the gradient of a weighted sum of `function(x)` with its slopes."""
    x = np.asarray(x, "float64")
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=function(x).shape)

    def weighted(x):
        return ops.sum(function(x) * weights)

    (gradient,) = gradients(weighted, x)
    assert gradient.dtype == "float64"
    for _ in range(5):
        step = 1e-6 * rng.normal(size=x.shape)
        slope = float(weighted(x + step)) - float(weighted(x - step))
        assert slope == pytest.approx(2 * np.sum(gradient * step), rel=1e-5, abs=1e-12)
