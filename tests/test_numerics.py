"""Norms whose squares neither overflow nor vanish."""

import numpy as np
import pytest
from keras import ops

from keras_ext import _numerics
from tests.backends import compiled, gradients
from tests.metrics.modes import JIT

rng = np.random.default_rng(2)
x = rng.normal(size=(30, 7)).astype("float32")
SIZES = [1e-30, 1e-20, 1.0, 1e20, 1e30]


def unit(rows):
    return _numerics.unit(rows, -1)


def test_a_scale_is_1_or_the_largest():
    rows = np.float32([[3, -4], [0.7, 0.1], [0, 0], [1e-38, 0], [-2e38, 1], [0, 1e-9]])
    np.testing.assert_array_equal(
        _numerics.scale(ops.convert_to_tensor(rows), -1)[:, 0],
        np.float32([1, 1, 1, 1, 2e38, 1e-9]),
    )
    (slope,) = gradients(lambda z: _numerics.scale(z, -1) + 0 * z, rows)
    np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("jit_compile", JIT)
def test_unit_rows(size, jit_compile):
    expected = np.float64(x) / np.linalg.norm(np.float64(x), axis=-1, keepdims=True)
    rows = ops.convert_to_tensor((size * x).astype("float32"))
    found = compiled(unit, jit_compile)(rows)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_slopes_of_unit_rows():
    weights = rng.normal(size=x.shape).astype("float32")
    (expected,) = gradients(lambda z: weights * unit(z), x)
    for size in (2.0**-66, 2.0**100):
        rows = (size * x).astype("float32")
        (slope,) = gradients(lambda z: weights * unit(z), rows)
        np.testing.assert_allclose(size * slope, expected, rtol=1e-4, atol=1e-6)


def test_of_nothing_the_unit_row_is_0():
    rows = np.float32([[1e-38, -1e-37], [0, 0]])
    np.testing.assert_array_equal(unit(ops.convert_to_tensor(rows)), 0)
    (slope,) = gradients(unit, rows)
    np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_of_what_is_not_a_number_there_is_none(wrong):
    rows = ops.convert_to_tensor(np.float32([[wrong, 1], [3, 4]]))
    found = ops.convert_to_numpy(unit(rows))
    assert np.isnan(found[0]).any()
    np.testing.assert_allclose(found[1], [0.6, 0.8], rtol=1e-6)
