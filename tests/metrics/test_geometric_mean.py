"""The geometric mean against the formula and SciPy."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from keras_ext.metrics import GeometricMean
from tests.metrics.modes import JIT, in_steps
from tests.reference import mean_metrics as reference

rng = np.random.default_rng(17)
values = np.exp(3 * rng.normal(size=(60, 5))).astype("float32")
weights = (rng.uniform(size=60) * (rng.uniform(size=60) < 0.7)).astype("float32")


def mean(values, sample_weight=None, **options):
    metric = GeometricMean(**options)
    metric.update_state(values, sample_weight=sample_weight)
    return float(metric.result())


@pytest.mark.parametrize("weight", [None, weights, np.outer(weights, np.arange(5))])
def test_equals_the_formula(weight):
    expected = reference.geometric_mean(values, sample_weight=weight)
    assert mean(values, weight) == pytest.approx(expected, rel=1e-5)


def test_equals_scipy():
    weight = np.broadcast_to(weights[:, None], values.shape)
    expected = stats.gmean(values, axis=None, weights=weight)
    assert mean(values, weights) == pytest.approx(expected, rel=1e-5)


def test_numbers_and_axes():
    metric = GeometricMean()
    metric.update_state(2.0)
    metric.update_state(8.0, sample_weight=1.0)
    assert float(metric.result()) == pytest.approx(4.0)
    assert mean(values[:, :1], weights) == mean(values[:, 0], weights[:, None])


def test_corner_points():
    assert float(GeometricMean().result()) == 0
    assert mean(values[:0]) == 0
    assert mean(values, np.zeros(60)) == 0
    assert mean([3.0, 0.0]) == 0
    assert mean([3.0, 0.0], [1.0, 0.0]) == pytest.approx(3)
    assert mean([7.0]) == pytest.approx(7)
    assert mean([2e-38, 1e38]) == pytest.approx(2**0.5, rel=1e-4)


def test_many_batches_lose_nothing():
    metric = GeometricMean()
    for _ in range(300):
        metric.update_state(values)
    expected = reference.geometric_mean(values)
    assert float(metric.result()) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(dtype):
    small = np.float32(rng.uniform(0.5, 2, size=5000))
    metric = GeometricMean(dtype=dtype)
    metric.update_state(keras.ops.cast(small, dtype))
    assert keras.backend.standardize_dtype(metric.result().dtype) == dtype
    rounded = keras.ops.convert_to_numpy(
        keras.ops.cast(keras.ops.cast(small, dtype), "float32")
    )
    assert float(metric.result()) == pytest.approx(stats.gmean(rounded), rel=5e-3)


@pytest.mark.parametrize("wrong", [-1.0, np.inf, np.nan])
class TestWrongValues:
    def test_raise_when_eager(self, wrong):
        match = rf"finite and at least 0. Received: values with {wrong:g}. .*of 0"
        with pytest.raises(ValueError, match=match):
            mean([1.0, wrong])

    def test_are_absent_with_weight_0(self, wrong):
        assert mean([4.0, wrong], [1.0, 0.0]) == pytest.approx(4)

    @pytest.mark.parametrize("jit_compile", JIT)
    def test_are_nan_when_compiled(self, wrong, jit_compile):
        metric = GeometricMean()
        run = in_steps(metric, jit_compile)
        good = {"values": np.float32([1, 2])}
        assert np.isnan(run([{"values": np.float32([0.0, wrong])}, good]))
        metric.reset_state()
        assert run([good]) == pytest.approx(2**0.5)


def test_bad_shapes():
    match = r"one weight for each value .*values being of shape \(6,\). .*shape=\(5,\)"
    with pytest.raises(ValueError, match=match):
        mean(np.ones(6), np.ones(5))


def test_config_keeps_every_argument():
    metric = GeometricMean(name="speed", dtype="float16")
    assert metric.get_config() == {"name": "speed", "dtype": "float16"}


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.permutations(range(8)), st.integers(0, 8), st.floats(0.1, 10))
def test_order_batches_and_scale_of_weights_do_not_matter(order, cut, scale):
    metric = GeometricMean()
    for part in (order[:cut], order[cut:]):
        metric.update_state(values[part], scale * weights[part])
    expected = mean(values[:8], weights[:8])
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)
