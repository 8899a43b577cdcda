"""Kendall's tau against the count of all pairs, and SciPy."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from scipy import stats

from keras_ext.metrics import KendallTau
from tests.metrics.modes import JIT, in_steps
from tests.reference import rank_metrics as reference

rng = np.random.default_rng(37)
y_true = rng.normal(size=90).astype("float32")
PREDICTIONS = {
    "distinct": y_true + rng.normal(size=90),
    "tied": np.round(y_true + rng.normal(size=90)),
    "two values": np.float32(rng.uniform(size=90) < 0.3),
    "falling": -np.exp(y_true),
}
weights = (rng.uniform(size=90) * (rng.uniform(size=90) < 0.7)).astype("float32")


def tau(y_true, y_pred, variant="b", sample_weight=None, **options):
    metric = KendallTau(variant, **{"capacity": 100, **options})
    metric.update_state(y_true, y_pred, sample_weight=sample_weight)
    return float(metric.result())


@pytest.mark.parametrize("variant", ["b", "c"])
@pytest.mark.parametrize("y_pred", PREDICTIONS.values(), ids=PREDICTIONS)
class TestValues:
    @pytest.mark.parametrize("weight", [None, weights, np.arange(90.0) % 4])
    def test_equals_the_count_of_pairs(self, y_pred, weight, variant):
        for true in (y_true, np.round(y_true)):
            expected = reference.kendall_tau(
                true, np.float32(y_pred), variant, sample_weight=weight
            )
            got = tau(true, y_pred, variant, weight)
            assert got == pytest.approx(expected, abs=1e-5)

    def test_equals_scipy(self, y_pred, variant):
        expected, _ = stats.kendalltau(y_true, np.float32(y_pred), variant=variant)
        for true in (y_true, y_true[:, None]):
            for predicted in (y_pred, y_pred[:, None]):
                got = tau(true, predicted, variant)
                assert got == pytest.approx(expected, abs=1e-5)

    def test_a_weight_is_a_frequency(self, y_pred, variant):
        counts = np.arange(90) % 3
        repeated = [np.repeat(np.float32(x), counts) for x in (y_true, y_pred)]
        expected, _ = stats.kendalltau(*repeated, variant=variant)
        got = tau(y_true, y_pred, variant, counts)
        assert got == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("jit_compile", JIT)
@pytest.mark.parametrize("variant", ["b", "c"])
def test_compiled(variant, jit_compile):
    metric = KendallTau(variant, capacity=90)
    run = in_steps(metric, jit_compile)
    true = np.round(y_true)  # to both zeros, which a compiler may sort apart
    for y_pred in PREDICTIONS.values():
        batches = [
            {"y_true": true[part], "y_pred": np.float32(y_pred)[part]}
            for part in np.split(np.arange(90), 3)
        ]
        expected, _ = stats.kendalltau(true, np.float32(y_pred), variant=variant)
        assert run(batches) == pytest.approx(expected, abs=1e-5)
        metric.reset_state()


def _weighted_tau(x, y, weights):
    signs = np.sign(x - x[:, None]) * np.sign(y - y[:, None])
    pairs = weights.astype("float64") * weights[:, None]
    unequal = [np.sum(pairs * (v != v[:, None])) for v in (x, y)]
    return np.sum(pairs * signs) / np.sqrt(np.prod(unequal))


@pytest.mark.parametrize("jit_compile", JIT)
def test_stays_exact_where_pairs_exceed_what_float32_can_count(jit_compile):
    x = rng.normal(size=8192).astype("float32")
    noisy, rare = np.float32(x + rng.normal(size=8192)), np.float32(x == x.max())
    equal, unequal = np.full(8192, 1e4, "float32"), np.float32(rng.uniform(size=8192))
    metric = KendallTau()
    run = in_steps(metric, jit_compile)
    cases = [
        (y, equal, stats.kendalltau(x, y)[0]) for y in (noisy, np.round(x), -x, rare)
    ]
    cases.append((np.round(x), unequal, _weighted_tau(x, np.round(x), unequal)))
    for y, weights, expected in cases:
        got = run([{"y_true": x, "y_pred": y, "sample_weight": weights}])
        assert got == pytest.approx(expected, abs=1e-5)
        metric.reset_state()


@pytest.mark.parametrize("capacity", [1, 2, 3, 17, 64])
def test_any_capacity(capacity):
    x, y = y_true[:capacity], np.float32(PREDICTIONS["distinct"])[:capacity]
    expected = reference.kendall_tau(x, y)
    assert tau(x, y, capacity=capacity) == pytest.approx(expected, abs=1e-5)


def test_every_element_is_a_sample():
    y_pred = PREDICTIONS["distinct"]
    expected = tau(y_true, y_pred, sample_weight=np.repeat(weights[:9], 10))
    images = [x.reshape(9, 5, 2) for x in (y_true, y_pred)]
    got = tau(*images, sample_weight=weights[:9])
    assert got == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("variant", ["b", "c"])
def test_undefined_is_0(variant):
    assert float(KendallTau(variant).result()) == 0
    assert tau(y_true[:0], y_true[:0], variant) == 0
    assert tau(y_true, y_true, variant, np.zeros(90)) == 0
    assert tau(y_true, np.ones(90), variant) == 0
    assert tau(np.ones(90), y_true, variant) == 0
    assert tau([3.0], [4.0], variant) == 0
    assert tau([0.0, -0.0], [1.0, 2.0], variant) == 0


@pytest.mark.parametrize("variant", ["b", "c"])
@pytest.mark.parametrize("size", [1e-20, 1e-10, 1e10, 1e20, 1e30])
def test_the_size_of_the_weights_does_not_matter(variant, size):
    y_pred = PREDICTIONS["tied"]
    expected = tau(y_true, y_pred, variant, weights)
    got = tau(y_true, y_pred, variant, size * np.float64(weights))
    assert got == pytest.approx(expected, rel=1e-5)


def test_infinite_values_have_an_order_and_nan_has_none():
    assert tau([-np.inf, 0, np.inf], [1, 2, 3]) == pytest.approx(1)
    assert np.isnan(tau([np.nan, 0, 1], [1, 2, 3]))
    assert tau([np.nan, 0, 1], [1, 2, 3], sample_weight=[0, 1, 1]) == pytest.approx(1)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(dtype):
    y_pred = ops.cast(PREDICTIONS["distinct"], dtype)
    exact = ops.convert_to_numpy(ops.cast(y_pred, "float32"))
    metric = KendallTau(dtype=dtype)
    metric.update_state(y_true, y_pred)
    assert keras.backend.standardize_dtype(metric.result().dtype) == dtype
    expected, _ = stats.kendalltau(y_true, exact)
    assert float(metric.result()) == pytest.approx(expected, abs=4e-3)


def test_too_many_samples_are_an_error():
    with pytest.raises(ValueError, match="KendallTau expects at most `capacity=89`"):
        tau(y_true, y_true, capacity=89)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"variant": "a"}, "`variant` must be one of 'b', 'c'. Received: variant='a'"),
        ({"capacity": 0}, "`capacity` must be a positive integer"),
    ],
)
def test_bad_arguments(options, match):
    with pytest.raises(ValueError, match=match):
        KendallTau(**options)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "weight", "match"),
    [
        ((6,), (6, 2), None, r"KendallTau .*same shape. .*y_pred.shape=\(6, 2\)"),
        ((6,), (6,), (5,), r"one weight for each target .*with targets of .*\(5,\)"),
    ],
)
def test_bad_shapes(y_true, y_pred, weight, match):
    weight = None if weight is None else np.ones(weight)
    with pytest.raises(ValueError, match=match):
        tau(np.ones(y_true), np.ones(y_pred), sample_weight=weight)


def test_config_keeps_every_argument():
    assert KendallTau("c", capacity=7, name="tau").get_config() == {
        "name": "tau",
        "dtype": "float32",
        "variant": "c",
        "capacity": 7,
    }


@given(st.permutations(range(10)), st.integers(0, 10), st.floats(0.1, 10))
def test_only_the_order_of_values_matters(order, cut, scale):
    y_pred = PREDICTIONS["tied"]
    metric = KendallTau(capacity=10)
    for part in (order[:cut], order[cut:]):
        metric.update_state(np.exp(y_true[part]), scale * y_pred[part], weights[part])
    expected = tau(y_true[:10], y_pred[:10], sample_weight=weights[:10])
    assert float(metric.result()) == pytest.approx(expected, abs=1e-5)
