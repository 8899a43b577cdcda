"""Spearman's correlation against the formula and SciPy."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from scipy import stats

from keras_ext.metrics import SpearmanCorrelation
from tests.metrics.modes import JIT, in_steps
from tests.reference import rank_metrics as reference

rng = np.random.default_rng(31)
y_true = rng.normal(size=90).astype("float32")
PREDICTIONS = {
    "distinct": y_true + rng.normal(size=90),
    "tied": np.round(y_true + rng.normal(size=90)),
    "two values": np.float32(rng.uniform(size=90) < 0.3),
    "falling": -np.exp(y_true),
}
weights = (rng.uniform(size=90) * (rng.uniform(size=90) < 0.7)).astype("float32")


def rho(y_true, y_pred, sample_weight=None, **options):
    metric = SpearmanCorrelation(**{"capacity": 100, **options})
    metric.update_state(y_true, y_pred, sample_weight=sample_weight)
    return float(metric.result())


@pytest.mark.parametrize("y_pred", PREDICTIONS.values(), ids=PREDICTIONS)
class TestValues:
    @pytest.mark.parametrize("weight", [None, weights, np.arange(90.0) % 4])
    def test_equals_the_formula(self, y_pred, weight):
        for true in (y_true, np.round(y_true)):
            expected = reference.spearman_correlation(
                true, np.float32(y_pred), sample_weight=weight
            )
            assert rho(true, y_pred, weight) == pytest.approx(expected, abs=1e-5)

    def test_equals_scipy(self, y_pred):
        expected, _ = stats.spearmanr(y_true, np.float32(y_pred))
        for true in (y_true, y_true[:, None]):
            for predicted in (y_pred, y_pred[:, None]):
                assert rho(true, predicted) == pytest.approx(expected, abs=1e-5)

    def test_a_weight_is_a_frequency(self, y_pred):
        counts = np.arange(90) % 3
        repeated = [np.repeat(np.float32(x), counts) for x in (y_true, y_pred)]
        expected, _ = stats.spearmanr(*repeated)
        assert rho(y_true, y_pred, counts) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("jit_compile", JIT)
def test_compiled(jit_compile):
    metric = SpearmanCorrelation(capacity=90)
    run = in_steps(metric, jit_compile)
    for y_pred in PREDICTIONS.values():
        batches = [
            {"y_true": y_true[part], "y_pred": np.float32(y_pred)[part]}
            for part in np.split(np.arange(90), 3)
        ]
        expected, _ = stats.spearmanr(y_true, np.float32(y_pred))
        assert run(batches) == pytest.approx(expected, abs=1e-5)
        metric.reset_state()


@pytest.mark.parametrize("jit_compile", JIT)
def test_stays_exact_with_as_many_samples_as_it_keeps(jit_compile):
    x = rng.normal(size=8192).astype("float32")
    rare = np.float32(x == x.max())
    metric = SpearmanCorrelation()
    run = in_steps(metric, jit_compile)
    for y in (np.float32(x + rng.normal(size=8192)), np.round(x), rare):
        expected, _ = stats.spearmanr(x, y)
        got = run([{"y_true": x, "y_pred": y}])
        assert got == pytest.approx(expected, abs=1e-5)
        metric.reset_state()


def test_every_element_is_a_sample():
    y_pred = PREDICTIONS["distinct"]
    expected = rho(y_true, y_pred, np.repeat(weights[:9], 10))
    images = [x.reshape(9, 5, 2) for x in (y_true, y_pred)]
    assert rho(*images, weights[:9]) == pytest.approx(expected, rel=1e-6)


def test_undefined_is_0():
    assert float(SpearmanCorrelation().result()) == 0
    assert rho(y_true[:0], y_true[:0]) == 0
    assert rho(y_true, y_true, np.zeros(90)) == 0
    assert rho(y_true, np.ones(90)) == 0
    assert rho(np.ones(90), y_true) == 0
    assert rho([3.0], [4.0]) == 0
    assert rho([0.0, -0.0], [1.0, 2.0]) == 0


@pytest.mark.parametrize("size", [1e-20, 1e-10, 1e10, 1e20, 1e30])
def test_the_size_of_the_weights_does_not_matter(size):
    y_pred = PREDICTIONS["tied"]
    got = rho(y_true, y_pred, size * np.float64(weights))
    assert got == pytest.approx(rho(y_true, y_pred, weights), rel=1e-5)


def test_infinite_values_have_ranks_and_nan_has_none():
    assert rho([-np.inf, 0, np.inf], [1, 2, 3]) == pytest.approx(1)
    assert np.isnan(rho([np.nan, 0, 1], [1, 2, 3]))
    assert rho([np.nan, 0, 1], [1, 2, 3], [0, 1, 1]) == pytest.approx(1)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(dtype):
    y_pred = ops.cast(PREDICTIONS["distinct"], dtype)
    exact = ops.convert_to_numpy(ops.cast(y_pred, "float32"))
    metric = SpearmanCorrelation(dtype=dtype)
    metric.update_state(y_true, y_pred)
    assert keras.backend.standardize_dtype(metric.result().dtype) == dtype
    expected, _ = stats.spearmanr(y_true, exact)
    assert float(metric.result()) == pytest.approx(expected, abs=4e-3)


def test_too_many_samples_are_an_error():
    with pytest.raises(
        ValueError, match="SpearmanCorrelation expects at most `capacity=89`"
    ):
        rho(y_true, y_true, capacity=89)
    assert rho(y_true, y_true, np.arange(90) > 0, capacity=89) == pytest.approx(1)


@pytest.mark.parametrize("capacity", [0, -1, 2.5, None])
def test_bad_capacity(capacity):
    with pytest.raises(ValueError, match="`capacity` must be a positive integer"):
        SpearmanCorrelation(capacity=capacity)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "weight", "match"),
    [
        ((6,), (5,), None, r"same shape. .*shape=\(6,\), y_pred.shape=\(5,\)"),
        ((6,), (6, 2), None, r"same shape. .*y_pred.shape=\(6, 2\)"),
        ((6,), (6,), (5,), r"one weight for each target .*with targets of .*\(5,\)"),
    ],
)
def test_bad_shapes(y_true, y_pred, weight, match):
    weight = None if weight is None else np.ones(weight)
    with pytest.raises(ValueError, match=match):
        rho(np.ones(y_true), np.ones(y_pred), weight)


def test_config_keeps_every_argument():
    assert SpearmanCorrelation(capacity=7, name="rho").get_config() == {
        "name": "rho",
        "dtype": "float32",
        "capacity": 7,
    }


@given(st.permutations(range(10)), st.integers(0, 10), st.floats(0.1, 10))
def test_only_the_order_of_values_matters(order, cut, scale):
    y_pred = PREDICTIONS["tied"]
    metric = SpearmanCorrelation(capacity=10)
    for part in (order[:cut], order[cut:]):
        metric.update_state(np.exp(y_true[part]), scale * y_pred[part], weights[part])
    expected = rho(y_true[:10], y_pred[:10], weights[:10])
    assert float(metric.result()) == pytest.approx(expected, abs=1e-5)
