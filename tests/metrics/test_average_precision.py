"""Average precision against the formula and scikit-learn."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from sklearn.metrics import average_precision_score

from keras_ext.metrics import AveragePrecision
from tests.metrics.modes import JIT, in_steps, result_in_steps
from tests.reference import rank_metrics as reference

AVERAGES = ["macro", "micro", "weighted", None]

rng = np.random.default_rng(41)
labels = (rng.uniform(size=(80, 3)) < [0.1, 0.4, 0.8]).astype("int32")
scores = (labels + 2 * rng.normal(size=(80, 3))).astype("float32")
weights = (rng.uniform(size=80) * (rng.uniform(size=80) < 0.7)).astype("float32")
WEIGHTS = {"equal": None, "weighted": weights, "counts": np.arange(80.0) % 3}


def precision(y_true, y_pred, num_labels=1, sample_weight=None, **options):
    metric = AveragePrecision(num_labels, **{"capacity": 100, **options})
    metric.update_state(y_true, y_pred, sample_weight=sample_weight)
    return ops.convert_to_numpy(metric.result())


@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize("digits", [None, 0], ids=["distinct", "tied"])
class TestValues:
    @pytest.mark.parametrize("average", AVERAGES)
    def test_labels(self, weight, digits, average):
        y_pred = scores if digits is None else np.round(scores, digits)
        got = precision(labels, y_pred, 3, weight, average=average)
        options = {"average": average, "sample_weight": weight}
        expected = reference.average_precision(labels, y_pred, 3, **options)
        np.testing.assert_allclose(got, expected, atol=1e-5)
        expected = average_precision_score(labels, y_pred, **options)
        np.testing.assert_allclose(got, expected, atol=1e-5)

    def test_one_label(self, weight, digits):
        y_pred = scores if digits is None else np.round(scores, digits)
        for label in range(3):
            y_true, p = labels[:, label], y_pred[:, label]
            expected = average_precision_score(y_true, p, sample_weight=weight)
            for true in (y_true, y_true[:, None].astype("float32")):
                for predicted in (p, p[:, None]):
                    got = precision(true, predicted, sample_weight=weight)
                    assert got == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("jit_compile", JIT)
@pytest.mark.parametrize("average", AVERAGES)
def test_compiled(average, jit_compile):
    metric = AveragePrecision(3, average=average, capacity=80)
    run = in_steps(metric, jit_compile)
    for weight in (np.ones(80, "float32"), weights):
        for y_pred in (scores, np.round(scores)):
            batches = [
                {
                    "y_true": labels[part],
                    "y_pred": y_pred[part],
                    "sample_weight": weight[part],
                }
                for part in np.split(np.arange(80), 2)
            ]
            expected = average_precision_score(
                labels, y_pred, average=average, sample_weight=weight
            )
            np.testing.assert_allclose(run(batches), expected, atol=1e-5)
            metric.reset_state()


@pytest.mark.parametrize("jit_compile", JIT)
def test_stays_exact_with_as_many_samples_as_it_keeps(jit_compile):
    y_true = np.float32(rng.uniform(size=8192) < 0.3)
    y_pred = np.float32(y_true + rng.normal(size=8192))
    weight = np.float32(rng.uniform(size=8192))
    batch = {"y_true": y_true, "y_pred": y_pred, "sample_weight": weight}
    expected = average_precision_score(y_true, y_pred, sample_weight=weight)
    got = result_in_steps(AveragePrecision(), [batch], jit_compile)
    assert got == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("average", AVERAGES)
def test_labels_without_positives_are_0(average):
    shape = (3,) if average is None else ()
    zeros = np.zeros(shape)
    metric = AveragePrecision(3, average=average)
    np.testing.assert_array_equal(metric.result(), zeros)
    for weight in (None, np.zeros(80)):
        got = precision(0 * labels, scores, 3, weight, average=average)
        np.testing.assert_array_equal(got, zeros)
    some = labels * [1, 0, 1]
    got = precision(some, scores, 3, average=average)
    expected = reference.average_precision(some, scores, 3, average=average)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_corner_points():
    assert precision([1], [0.0]) == 1
    assert precision([0], [0.0]) == 0
    assert precision(labels[:0, 0], scores[:0, 0]) == 0
    assert precision(labels[:, 0], np.ones(80)) == pytest.approx(labels[:, 0].mean())
    assert precision([1, 0, 1], [np.inf, 0.0, -np.inf]) == pytest.approx(5 / 6)
    assert precision([1, 0], [0.0, -0.0]) == 0.5
    assert np.isnan(precision([1, 0], [np.nan, 1.0]))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(dtype):
    y_pred = ops.cast(scores, dtype)
    exact = ops.convert_to_numpy(ops.cast(y_pred, "float32"))
    metric = AveragePrecision(3, dtype=dtype)
    metric.update_state(labels, y_pred)
    assert keras.backend.standardize_dtype(metric.result().dtype) == dtype
    expected = average_precision_score(labels, exact)
    assert float(metric.result()) == pytest.approx(expected, abs=4e-3)


@pytest.mark.parametrize("wrong", [2, -1, 0.5, np.nan])
class TestWrongTargets:
    def test_raise_when_eager(self, wrong):
        match = f"to hold 0 or 1 for every label. Received: .* target {wrong:g}. Give"
        with pytest.raises(ValueError, match=match):
            precision([1, wrong], [0.5, 0.5])

    def test_are_absent_with_weight_0(self, wrong):
        assert precision([1, wrong], [0.5, 0.9], sample_weight=[1, 0]) == 1

    @pytest.mark.parametrize("jit_compile", JIT)
    def test_are_nan_when_compiled(self, wrong, jit_compile):
        batch = {"y_true": np.float32([[1, 0], [wrong, 1]]), "y_pred": scores[:2, :2]}
        metric = AveragePrecision(2, capacity=4)
        assert np.isnan(result_in_steps(metric, [batch], jit_compile))


def test_too_many_samples_are_an_error():
    with pytest.raises(
        ValueError, match="AveragePrecision expects at most `capacity=79`"
    ):
        precision(labels, scores, 3, capacity=79)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"num_labels": 0}, "`num_labels` must be a positive integer"),
        ({"average": "samples"}, "'macro', 'micro', 'weighted', None. .*'samples'"),
        ({"capacity": 1.5}, "`capacity` must be a positive integer"),
    ],
)
def test_bad_arguments(options, match):
    with pytest.raises(ValueError, match=match):
        AveragePrecision(**options)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "weight", "labels", "match"),
    [
        ((6,), (6, 2), None, 1, r"`y_pred` of shape \(batch, 1\).*shape=\(6, 2\)"),
        ((6,), (6, 2), None, 2, r"`y_true` .*`num_labels=2` says. .*shape=\(6,\)"),
        ((5,), (6,), None, 1, "many targets and predictions. Received: 5 .*, 6 in"),
        ((6,), (6,), (5,), 1, r"one weight for each target .*\(5,\)"),
    ],
)
def test_bad_shapes(y_true, y_pred, weight, labels, match):
    weight = None if weight is None else np.ones(weight)
    with pytest.raises(ValueError, match=match):
        precision(np.ones(y_true), np.ones(y_pred), labels, weight)


def test_config_keeps_every_argument():
    assert AveragePrecision(3, average=None, capacity=7).get_config() == {
        "name": "average_precision",
        "dtype": "float32",
        "num_labels": 3,
        "average": None,
        "capacity": 7,
    }


@given(
    st.permutations(range(10)),
    st.integers(0, 10),
    st.permutations(range(3)),
    st.floats(0.1, 10),
)
def test_order_batches_and_names_of_labels_do_not_matter(order, cut, names, scale):
    metric = AveragePrecision(3, capacity=10)
    for part in (order[:cut], order[cut:]):
        true, predicted = labels[part][:, names], np.exp(scores[part][:, names])
        metric.update_state(true, predicted, scale * weights[part])
    expected = precision(labels[:10], scores[:10], 3, weights[:10])
    assert float(metric.result()) == pytest.approx(float(expected), abs=1e-5)
