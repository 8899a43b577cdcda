"""The geometric and the harmonic mean against their formulas and SciPy."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from keras_ext.metrics import GeometricMean, HarmonicMean
from tests.metrics.modes import JIT, in_steps, result_in_steps
from tests.reference import mean_metrics as reference

rng = np.random.default_rng(17)
values = np.exp(3 * rng.normal(size=(60, 5))).astype("float32")
weights = (rng.uniform(size=60) * (rng.uniform(size=60) < 0.7)).astype("float32")


FORMULAS = {
    GeometricMean: reference.geometric_mean,
    HarmonicMean: reference.harmonic_mean,
}
SCIPY = {GeometricMean: stats.gmean, HarmonicMean: stats.hmean}

pytestmark = pytest.mark.parametrize("kind", FORMULAS, ids=lambda kind: kind.__name__)


def mean(kind, values, sample_weight=None):
    metric = kind()
    metric.update_state(values, sample_weight=sample_weight)
    return float(metric.result())


@pytest.mark.parametrize("weight", [None, weights, np.outer(weights, np.arange(5))])
def test_equals_the_formula(kind, weight):
    expected = FORMULAS[kind](values, sample_weight=weight)
    assert mean(kind, values, weight) == pytest.approx(expected, rel=1e-5)


def test_equals_scipy(kind):
    weight = np.broadcast_to(weights[:, None], values.shape)
    expected = SCIPY[kind](values, axis=None, weights=weight)
    assert mean(kind, values, weights) == pytest.approx(expected, rel=1e-5)


def test_numbers_and_axes(kind):
    metric = kind()
    metric.update_state(2.0)
    metric.update_state(8.0, sample_weight=1.0)
    assert float(metric.result()) == pytest.approx(
        {GeometricMean: 4.0, HarmonicMean: 3.2}[kind]
    )
    assert mean(kind, values[:, :1], weights) == mean(
        kind, values[:, 0], weights[:, None]
    )


def test_corner_points(kind):
    assert float(kind().result()) == 0
    assert mean(kind, values[:0]) == 0
    assert mean(kind, values, np.zeros(60)) == 0
    assert mean(kind, [3.0, 0.0]) == 0
    assert mean(kind, [3.0, 0.0], [1.0, 0.0]) == pytest.approx(3)
    assert mean(kind, [7.0]) == pytest.approx(7)
    assert mean(kind, [2e-38, 1e38]) == pytest.approx(
        SCIPY[kind]([2e-38, 1e38]), rel=1e-4
    )


def test_many_batches_lose_nothing(kind):
    metric = kind()
    for _ in range(300):
        metric.update_state(values)
    expected = FORMULAS[kind](values)
    assert float(metric.result()) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(kind, dtype):
    small = np.float32(rng.uniform(0.5, 2, size=5000))
    metric = kind(dtype=dtype)
    metric.update_state(keras.ops.cast(small, dtype))
    assert keras.backend.standardize_dtype(metric.result().dtype) == dtype
    rounded = keras.ops.convert_to_numpy(
        keras.ops.cast(keras.ops.cast(small, dtype), "float32")
    )
    assert float(metric.result()) == pytest.approx(SCIPY[kind](rounded), rel=5e-3)


@pytest.mark.parametrize("wrong", [-1.0, np.inf, np.nan])
class TestWrongValues:
    def test_raise_when_eager(self, kind, wrong):
        if np.isnan(wrong):  # of a model that has diverged
            assert np.isnan(mean(kind, [0.0, wrong]))
            return
        match = rf"finite and at least 0. Received: values with {wrong:g}. .*of 0"
        with pytest.raises(ValueError, match=match):
            mean(kind, [1.0, wrong])

    def test_are_absent_with_weight_0(self, kind, wrong):
        assert mean(kind, [4.0, wrong], [1.0, 0.0]) == pytest.approx(4)

    @pytest.mark.parametrize("jit_compile", JIT)
    def test_are_nan_when_compiled(self, kind, wrong, jit_compile):
        metric = kind()
        run = in_steps(metric, jit_compile)
        good = {"values": np.float32([1, 2])}
        assert np.isnan(run([{"values": np.float32([0.0, wrong])}, good]))
        metric.reset_state()
        assert run([good]) == pytest.approx(SCIPY[kind]([1, 2]))


@pytest.mark.parametrize("jit_compile", JIT)
def test_a_zero_does_not_hide_a_weight_of_nan(kind, jit_compile):
    batch = {"values": np.float32([0, 1]), "sample_weight": np.float32([1, np.nan])}
    assert np.isnan(result_in_steps(kind(), [batch], jit_compile))


def test_bad_shapes(kind):
    match = r"one weight for each value .*with values of shape \(6,\). .*shape=\(5,\)"
    with pytest.raises(ValueError, match=match):
        mean(kind, np.ones(6), np.ones(5))


def test_config_keeps_every_argument(kind):
    metric = kind(name="speed", dtype="float16")
    assert metric.get_config() == {"name": "speed", "dtype": "float16"}


@given(st.permutations(range(8)), st.integers(0, 8), st.floats(0.1, 10))
def test_order_batches_and_scale_of_weights_do_not_matter(kind, order, cut, scale):
    metric = kind()
    for part in (order[:cut], order[cut:]):
        metric.update_state(values[part], scale * weights[part])
    expected = mean(kind, values[:8], weights[:8])
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)
