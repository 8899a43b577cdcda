"""What holds for every metric of labels that are 0 or 1."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_ext import metrics
from tests.markers import needs_tensorflow
from tests.metrics.modes import JIT, result_in_steps

BACKEND = keras.backend.backend()
# JAX has float64 only where it is asked to when it starts.
DTYPES = ["float16", "bfloat16", *([] if BACKEND == "jax" else ["float64"])]
LABELS = 3
METRICS = {
    "ExactMatch": metrics.ExactMatch,
    "HammingLoss": metrics.HammingLoss,
    "MultiLabelConfusionMatrix": lambda threshold=0.5, **options: (
        metrics.MultiLabelConfusionMatrix(LABELS, threshold=threshold, **options)
    ),
    "Specificity": lambda threshold=0.5, **options: metrics.Specificity(
        threshold, **options
    ),
}

rng = np.random.default_rng(31)
y_true = (rng.uniform(size=(60, LABELS)) < 0.4).astype("int32")
y_pred = np.abs(y_true - rng.beta(1, 2, size=(60, LABELS))).astype("float32")

every_metric = pytest.mark.parametrize("name", METRICS)


def result(name, true, pred, sample_weight=None, **options):
    metric = METRICS[name](**options)
    metric.update_state(true, pred, sample_weight=sample_weight)
    return ops.convert_to_numpy(ops.cast(metric.result(), "float32"))


@every_metric
class TestEveryMetric:
    def test_targets_of_any_dtype(self, name):
        expected = result(name, y_true, y_pred)
        for dtype in ("bool", "uint8", "int64", "float16", "float64"):
            np.testing.assert_array_equal(
                result(name, y_true.astype(dtype), y_pred), expected
            )

    def test_hard_predictions(self, name):
        expected = result(name, y_true, y_pred)
        for dtype in ("bool", "uint8", "int32", "float16"):
            hard = (y_pred > 0.5).astype(dtype)
            np.testing.assert_array_equal(result(name, y_true, hard), expected)

    def test_a_prediction_at_the_threshold_is_none(self, name):
        ones, zeros = np.ones((1, LABELS)), np.zeros((1, LABELS))
        for at, above in ((0.3, 0.30001), (0.0, 1e-6), (-2.0, -1.9)):
            for true in (ones, zeros):
                for pred, same_as in ((at, zeros), (above, ones)):
                    np.testing.assert_array_equal(
                        result(name, true, pred * ones, threshold=at),
                        result(name, true, same_as),
                    )

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    def test_half_precision_predictions_are_compared_in_float32(self, name, dtype):
        # 0.7 is no number of half precision: which side of it a prediction is on, is
        # known only in more.
        near = ops.cast(np.full((1, LABELS), 0.7), dtype)
        exact = ops.convert_to_numpy(ops.cast(near, "float32"))
        true = np.ones((1, LABELS))
        np.testing.assert_array_equal(
            result(name, true, near, threshold=0.7),
            result(name, true, exact, threshold=0.7),
        )

    def test_more_axes(self, name):
        weights = rng.uniform(size=60)
        shape = (10, 6, LABELS)
        for weight in (None, weights):
            by_step = None if weight is None else weight.reshape(10, 6)
            np.testing.assert_allclose(
                result(name, y_true.reshape(shape), y_pred.reshape(shape), by_step),
                result(name, y_true, y_pred, weight),
                rtol=1e-5,
            )
        per_sample = rng.uniform(size=10)
        np.testing.assert_allclose(
            result(name, y_true.reshape(shape), y_pred.reshape(shape), per_sample),
            result(name, y_true, y_pred, np.repeat(per_sample, 6)),
            rtol=1e-5,
        )

    def test_a_target_that_is_none_raises_and_is_absent_with_weight_0(self, name):
        for wrong in (2, -1, 0.5, np.nan):
            targets = y_true.astype("float32")
            targets[3, 1] = wrong
            match = (
                rf"{name} expects `y_true` to hold 0 or 1 for every label. Received: "
                rf"y_true with a target {wrong:.10g}. .*`sample_weight` of 0"
            )
            with pytest.raises(ValueError, match=match):
                result(name, targets, y_pred)
            kept = np.arange(60) != 3
            np.testing.assert_allclose(
                result(name, targets, y_pred, kept),
                result(name, y_true[kept], y_pred[kept]),
                rtol=1e-6,
            )

    @pytest.mark.parametrize(
        "jit_compile", [True] if BACKEND == "jax" else [False, True]
    )
    def test_a_target_that_is_none_is_nan_when_compiled(self, name, jit_compile):
        model = keras.Sequential([keras.Input((LABELS,)), keras.layers.Identity()])
        model.compile(
            loss=lambda y, p: ops.mean(p, axis=-1),
            weighted_metrics=[METRICS[name](name="metric")],
            jit_compile=jit_compile,
        )

        def evaluate(true, weights):
            model.reset_metrics()
            options = {"sample_weight": weights, "return_dict": True}
            return np.asarray(model.test_on_batch(y_pred, true, **options)["metric"])

        targets = y_true.copy()
        targets[3, 1] = 2
        weights = np.ones(60, "float32")
        seen = evaluate(targets, weights)
        wrong = seen[1] if seen.ndim else seen
        assert np.isnan(wrong).all()
        if seen.ndim:  # the other labels have matrices of their own
            expected = result(name, y_true, y_pred)
            np.testing.assert_array_equal(seen[[0, 2]], expected[[0, 2]])
        weights[3] = 0
        np.testing.assert_allclose(
            evaluate(targets, weights), result(name, targets, y_pred, weights)
        )

    def test_every_prediction_of_nan_is_seen(self, name):
        for column in range(LABELS):
            pred = y_pred.copy()
            pred[7, column] = np.nan
            seen = result(name, y_true, pred)
            assert np.isnan(seen[column] if seen.ndim else seen).all()
            if seen.ndim:  # the other labels have matrices of their own
                others = np.arange(LABELS) != column
                np.testing.assert_array_equal(
                    seen[others], result(name, y_true, y_pred)[others]
                )

    def test_infinite_predictions_are_compared(self, name):
        infinite = np.where(y_pred > 0.5, np.inf, -np.inf)
        np.testing.assert_array_equal(
            result(name, y_true, infinite), result(name, y_true, y_pred)
        )

    def test_bad_shapes_name_the_metric(self, name):
        match = rf"{name} expects `y_true` and `y_pred` of the same shape, .*\(5, 3\)"
        with pytest.raises(ValueError, match=match):
            result(name, y_true[:5], y_pred)
        with pytest.raises(ValueError, match=rf"{name} expects `sample_weight` to hol"):
            result(name, y_true, y_pred, np.ones(5))

    def test_the_labels_axis_is_needed(self, name):
        if name == "Specificity":  # of which every element counts alike
            assert result(name, [0, 0, 1], [0.1, 0.9, 0.1]) == 0.5
            return
        size = LABELS if name == "MultiLabelConfusionMatrix" else "labels"
        match = rf"{name} expects .* of shape \(batch, ..., {size}\). .*=\(60,\)"
        with pytest.raises(ValueError, match=match):
            result(name, y_true[:, 0], y_pred[:, 0])

    @pytest.mark.parametrize("jit_compile", JIT)
    @pytest.mark.parametrize("place", [(0, 0), (0, 1)])
    def test_a_weight_of_nan_is_not_lost_when_compiled(self, name, jit_compile, place):
        true, pred = np.eye(2, LABELS), np.float32([[0.9, 0.1, 0.2], [0.3, 0.8, 0.1]])
        weights = np.ones((2, LABELS), "float32")
        weights[place] = np.nan
        if name == "ExactMatch":
            weights = weights[:, place[1]]
        batch = {"y_true": true, "y_pred": pred, "sample_weight": weights}
        seen = result_in_steps(METRICS[name](), [batch], jit_compile)
        assert np.isnan(seen[place[1]] if seen.ndim else seen).all()

    @pytest.mark.parametrize("threshold", [np.nan, np.inf, "0.5", True, (1, [2])])
    def test_bad_threshold(self, name, threshold):
        with pytest.raises(ValueError, match=r"`threshold.*` must be a finite number"):
            METRICS[name](threshold=threshold)

    def test_nothing_seen_is_0(self, name):
        metric = METRICS[name]()
        np.testing.assert_array_equal(metric.result(), 0 * metric.result())
        metric.update_state(y_true[:0], y_pred[:0])
        metric.update_state(y_true, y_pred, sample_weight=np.zeros(60))
        np.testing.assert_array_equal(metric.result(), 0 * metric.result())

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_other_dtypes(self, name, dtype):
        value = result(name, y_true, y_pred, dtype=dtype)
        tolerance = 1e-6 if dtype == "float64" else 0.01
        np.testing.assert_allclose(value, result(name, y_true, y_pred), rtol=tolerance)

    @needs_tensorflow
    def test_a_batch_of_any_size_needs_no_new_trace(self, name):
        import tensorflow as tf

        metric = METRICS[name]()

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, LABELS], "int32"),
                tf.TensorSpec([None, LABELS], "float32"),
                tf.TensorSpec([None], "float32"),
            ]
        )
        def update(true, pred, weights):
            metric.update_state(true, pred, sample_weight=weights)

        weights = (np.arange(60) % 3).astype("float32")
        for part in np.array_split(np.arange(60), [1, 2, 40]):
            update(y_true[part], y_pred[part], weights[part])
        expected = result(name, y_true, y_pred, weights)
        np.testing.assert_array_equal(metric.result(), expected)


@every_metric
@settings(max_examples=10)
@given(seed=st.integers(0, 2**16), cuts=st.lists(st.integers(0, 60), max_size=5))
def test_order_and_batches_do_not_matter(name, seed, cuts):
    order = np.random.default_rng(seed).permutation(60)
    metric = METRICS[name]()
    for part in np.split(order, sorted(cuts)):
        metric.update_state(y_true[part], y_pred[part], sample_weight=part % 3)
    expected = result(name, y_true, y_pred, np.arange(60) % 3)
    np.testing.assert_array_equal(metric.result(), expected)


@pytest.mark.parametrize("name", ["ExactMatch", "HammingLoss", "Specificity"])
def test_a_single_label_needs_no_axis_in_the_targets(name):
    expected = result(name, y_true[:, :1], y_pred[:, :1])
    assert result(name, y_true[:, 0], y_pred[:, :1]) == expected


@pytest.mark.parametrize("name", [name for name in METRICS if name != "ExactMatch"])
def test_a_weight_for_every_label(name):
    weights = rng.uniform(size=(60, LABELS)) * (rng.uniform(size=(60, LABELS)) < 0.7)
    unknown = np.where(weights == 0, -1, y_true)
    copies = (weights > 0).astype("int32")
    np.testing.assert_allclose(
        result(name, unknown, y_pred, weights), result(name, y_true, y_pred, weights)
    )
    if name == "HammingLoss":
        wrong = ((y_pred > 0.5) != y_true) * copies
        expected = wrong.sum() / copies.sum()
        assert result(name, unknown, y_pred, copies) == pytest.approx(expected)


def test_more_samples_than_float32_can_count():
    metric = metrics.HammingLoss()
    metric.update_state([[1]], [[0.0]], sample_weight=[2.0**24])
    for _ in range(8):
        metric.update_state([[1]], [[0.0]])
    counts = ops.convert_to_numpy(metric.total) + ops.convert_to_numpy(metric.rest)
    np.testing.assert_array_equal(counts, 2**24 + 8)
