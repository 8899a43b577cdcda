"""Distances between embeddings against SciPy."""

from typing import get_args

import numpy as np
import pytest
from keras import ops
from scipy.spatial.distance import cdist

from keras_ext.losses import _pairwise
from tests.backends import compiled, gradients
from tests.metrics.modes import JIT
from tests.slopes import assert_gradient_is_the_slope, needs_double_precision

SCIPY = {"squared_euclidean": "sqeuclidean"}
rng = np.random.default_rng(2)
x = rng.normal(size=(30, 7)).astype("float32")
y = rng.normal(size=(30, 7)).astype("float32")


@pytest.mark.parametrize("distance", get_args(_pairwise.Distance))
class TestBoth:
    def test_pairwise_equals_scipy(self, distance):
        expected = cdist(x, x, SCIPY.get(distance, distance))
        np.testing.assert_allclose(
            _pairwise.distances(ops.convert_to_tensor(x), distance),
            expected,
            rtol=1e-5,
            atol=1e-5,
        )

    def test_paired_equals_scipy(self, distance):
        expected = np.diagonal(cdist(x, y, SCIPY.get(distance, distance)))
        np.testing.assert_allclose(
            _pairwise.paired(ops.convert_to_tensor(x), y, distance),
            expected,
            rtol=1e-5,
        )

    @needs_double_precision
    def test_gradients_are_the_slopes(self, distance):
        assert_gradient_is_the_slope(lambda z: _pairwise.distances(z, distance), x[:5])
        other = y[:5].astype("float64")
        assert_gradient_is_the_slope(
            lambda z: _pairwise.paired(z, other, distance), x[:5]
        )

    @pytest.mark.parametrize("value", [0.0, 0.3, 1e4])
    def test_of_equal_rows_it_is_0_with_a_finite_gradient(self, distance, value):
        flat = np.full((9, 7), value, "float32")
        expected = 1 if distance == "cosine" and not value else 0
        for function in (
            lambda z: _pairwise.distances(z, distance),
            lambda z: _pairwise.paired(z, ops.flip(z, axis=0), distance),
        ):
            np.testing.assert_allclose(
                function(ops.convert_to_tensor(flat)), expected, atol=1e-6
            )
            (slope,) = gradients(function, flat)
            assert np.isfinite(slope).all()


@pytest.mark.parametrize("distance", ["euclidean", "squared_euclidean"])
def test_embeddings_close_to_each_other_and_far_from_0_keep_their_digits(distance):
    close = (1000 + x).astype("float32")
    expected = cdist(close.astype("float64"), close, SCIPY.get(distance, distance))
    np.testing.assert_allclose(
        _pairwise.distances(ops.convert_to_tensor(close), distance),
        expected,
        rtol=1e-4,
        atol=1e-4,
    )


def test_what_rounding_leaves_of_equal_rows_is_0():
    twice = np.concatenate([x, x])
    found = ops.convert_to_numpy(
        _pairwise.distances(ops.convert_to_tensor(twice), "euclidean")
    )
    np.testing.assert_array_equal(np.diagonal(found[:30, 30:]), 0)


SIZES = [1e-30, 1e-20, 1e20, 1e30]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("jit_compile", JIT)
def test_euclidean_distances_may_be_large_or_small(size, jit_compile):
    rows = (size * x).astype("float32")
    expected = cdist(np.float64(rows), np.float64(rows))
    function = compiled(lambda z: _pairwise.distances(z, "euclidean"), jit_compile)
    found = function(ops.convert_to_tensor(rows))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    function = compiled(
        lambda z: _pairwise.paired(z, ops.flip(z, axis=0), "euclidean"),
        jit_compile,
    )
    found = function(ops.convert_to_tensor(rows))
    np.testing.assert_allclose(found, np.diag(expected[:, ::-1]), rtol=1e-5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_slopes_of_large_and_small_rows_are_those_of_rows_of_size_1(size, distance):
    weights = rng.normal(size=(30, 30)).astype("float32")
    power = 2.0 ** np.round(np.log2(size))
    for function in (
        lambda z: _pairwise.distances(z, distance) * weights,
        lambda z: _pairwise.paired(z, ops.flip(z, axis=0), distance) * weights[0],
    ):
        (expected,) = gradients(function, x)
        (slope,) = gradients(function, (power * x).astype("float32"))
        if distance == "cosine":
            slope = slope * power
        np.testing.assert_allclose(slope, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 1e-30, 1.0, 1e30])
def test_just_above_is_more_by_little(value):
    number = ops.convert_to_tensor(np.float32(value))
    above = float(_pairwise.just_above(number))
    assert np.float32(value) < above <= value * (1 + 1e-6) + 1e-36
