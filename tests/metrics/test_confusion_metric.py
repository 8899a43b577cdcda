"""What holds for every metric that is read from the confusion matrix."""

import re

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_ext import metrics
from tests.markers import needs_tensorflow

BACKEND = keras.backend.backend()
# JAX has float64 only where it is asked to when it starts.
DTYPES = ["float16", "bfloat16", *([] if BACKEND == "jax" else ["float64"])]
CLASSES = 4
METRICS = [
    metrics.BalancedAccuracy,
    metrics.CohenKappa,
    metrics.ConfusionMatrix,
    metrics.MatthewsCorrelationCoefficient,
]

rng = np.random.default_rng(17)
labels = rng.integers(0, CLASSES, size=60, dtype="int32")
predicted = np.where(rng.uniform(size=60) < 0.5, labels, rng.permutation(labels))
predicted = predicted.astype("int32")
scores = rng.uniform(size=(60, CLASSES)).astype("float32") + np.eye(CLASSES)[predicted]

every_metric = pytest.mark.parametrize("kind", METRICS, ids=lambda kind: kind.__name__)


def result(kind, y_true, y_pred, sample_weight=None, **options):
    options = {"num_classes": CLASSES, "sparse_y_pred": True, **options}
    metric = kind(**options)
    metric.update_state(y_true, y_pred, sample_weight=sample_weight)
    return ops.convert_to_numpy(metric.result())


@every_metric
class TestEveryMetric:
    def test_all_forms_of_the_same_samples_agree(self, kind):
        expected = result(kind, labels, predicted)
        one_hot = np.eye(CLASSES, dtype="float32")[labels]
        forms = [
            (labels[:, None], predicted[:, None], {}),
            (labels.astype("uint8"), predicted.astype("float16"), {}),
            (labels.reshape(10, 3, 2), predicted.reshape(10, 3, 2), {}),
            (labels, scores, {"sparse_y_pred": False}),
            (one_hot, scores, {"sparse_y_pred": False, "sparse_y_true": False}),
        ]
        for y_true, y_pred, options in forms:
            np.testing.assert_array_equal(
                result(kind, y_true, y_pred, **options), expected
            )

    def test_ignored_class_is_absent(self, kind):
        marked = np.where(np.arange(60) % 7 == 0, 255, labels)
        kept = marked != 255
        weights = rng.uniform(size=60)
        np.testing.assert_allclose(
            result(kind, marked, predicted, weights, ignore_class=255),
            result(kind, labels[kept], predicted[kept], weights[kept]),
            rtol=1e-5,
        )

    def test_a_wrong_label_raises_and_is_absent_with_weight_0(self, kind):
        wrong = labels.copy()
        wrong[3] = CLASSES
        match = (
            rf"{kind.__name__} expects `y_true` to hold class labels, whole numbers "
            "from 0 to 3. Received: y_true with a label 4. .*`sample_weight` of 0"
        )
        with pytest.raises(ValueError, match=match):
            result(kind, wrong, predicted)
        kept = np.arange(60) != 3
        np.testing.assert_allclose(
            result(kind, wrong, predicted, kept),
            result(kind, labels[kept], predicted[kept]),
            rtol=1e-6,
        )

    @pytest.mark.parametrize(
        "jit_compile", [True] if BACKEND == "jax" else [False, True]
    )
    def test_a_wrong_label_is_nan_when_compiled(self, kind, jit_compile):
        model = keras.Sequential([keras.Input((CLASSES,)), keras.layers.Identity()])
        model.compile(
            loss=lambda y, p: ops.mean(p, axis=-1),
            weighted_metrics=[kind(CLASSES, name="metric")],
            jit_compile=jit_compile,
        )

        def evaluate(y_true, weights):
            model.reset_metrics()
            options = {"sample_weight": weights, "return_dict": True}
            return np.asarray(model.test_on_batch(scores, y_true, **options)["metric"])

        wrong = labels.copy()
        wrong[3] = -1
        weights = np.ones(60, "float32")
        assert np.isnan(evaluate(wrong, weights)).all()
        weights[3] = 0
        np.testing.assert_allclose(
            evaluate(wrong, weights), result(kind, wrong, predicted, weights), rtol=1e-6
        )

    def test_every_score_of_nan_is_seen(self, kind):
        options = {"sparse_y_pred": False}
        for column in range(CLASSES):
            spoiled = scores.copy()
            spoiled[3, column] = np.nan
            assert np.isnan(result(kind, labels, spoiled, **options)).all()
        one_hot = np.where(np.eye(CLASSES)[labels] == 0, np.nan, 1)
        options = {"sparse_y_true": False}
        assert np.isnan(result(kind, one_hot, predicted, **options)).all()
        column = np.where(np.arange(60) == 3, np.nan, predicted / CLASSES)[:, None]
        options = {"num_classes": 2, "sparse_y_pred": False}
        assert np.isnan(result(kind, labels % 2, column, **options)).all()

    def test_infinite_scores_have_an_order(self, kind):
        infinite = np.where(np.eye(CLASSES)[predicted] == 1, np.inf, -np.inf)
        np.testing.assert_array_equal(
            result(kind, labels, infinite, sparse_y_pred=False),
            result(kind, labels, predicted),
        )

    def test_an_ignored_label_may_have_any_weight(self, kind):
        weights = np.where(labels == 3, -1.0, 1.0)
        np.testing.assert_array_equal(
            result(kind, labels, predicted, weights, ignore_class=3),
            result(kind, labels, predicted, ignore_class=3),
        )

    def test_bad_shapes_name_the_metric(self, kind):
        with pytest.raises(ValueError, match=rf"{kind.__name__} .*sparse_y_pred=True"):
            kind(CLASSES).update_state(labels, predicted)
        with pytest.raises(ValueError, match=r"\(batch, ..., 5\), .*num_classes=4`."):
            kind(5).update_state(labels, scores)
        with pytest.raises(ValueError, match=r"or \(batch, ..., 1\), the probability"):
            kind(2).update_state(labels, scores[:, 0])
        is_sparse = kind(CLASSES, sparse_y_pred=True)
        with pytest.raises(ValueError, match=r"If these are scores, .*_y_pred=False"):
            is_sparse.update_state(labels, scores)
        with pytest.raises(ValueError, match=r"If these are scores, .*_y_pred=False"):
            is_sparse.update_state(labels, predicted + CLASSES)
        with pytest.raises(ValueError, match=rf"{kind.__name__} expects one integer"):
            kind(CLASSES).update_state(labels[:5], scores)
        shape = rf"y_pred of shape {re.escape(str(scores.shape))} goes with"
        with pytest.raises(ValueError, match=shape):  # one-hot
            kind(CLASSES).update_state(scores, scores)
        with pytest.raises(ValueError, match=rf"{kind.__name__} expects `sample_weig"):
            kind(CLASSES).update_state(labels, scores, sample_weight=np.ones(5))

    def test_bad_arguments(self, kind):
        with pytest.raises(ValueError, match="`num_classes` must be an integer of at"):
            kind(1)
        with pytest.raises(
            ValueError, match=r"`ignore_class` must be an integer. .*1.5"
        ):
            kind(3, ignore_class=1.5)

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_other_dtypes(self, kind, dtype):
        tolerance = 1e-5 if dtype == "float64" else 0.02
        metric = kind(CLASSES, sparse_y_pred=True, dtype=dtype)
        metric.update_state(labels, predicted)
        expected = result(kind, labels, predicted)
        value = ops.convert_to_numpy(ops.cast(metric.result(), "float32"))
        np.testing.assert_allclose(value, expected, atol=tolerance)
        if kind is not metrics.ConfusionMatrix:  # whose counts need float32
            assert keras.backend.standardize_dtype(metric.result().dtype) == dtype

    def test_an_empty_batch_changes_nothing(self, kind):
        metric = kind(CLASSES, sparse_y_pred=True)
        np.testing.assert_array_equal(metric.result(), 0 * metric.result())
        metric.update_state(labels[:0], predicted[:0])
        np.testing.assert_array_equal(metric.result(), 0 * metric.result())

    def test_config_keeps_every_argument(self, kind):
        options = {"sparse_y_true": False, "sparse_y_pred": True, "ignore_class": 9}
        config = kind(3, name="m", **options).get_config()
        assert config | options | {"num_classes": 3, "name": "m"} == config

    @needs_tensorflow
    def test_a_batch_of_any_size_needs_no_new_trace(self, kind):
        import tensorflow as tf

        metric = kind(CLASSES)

        @tf.function(
            input_signature=[
                tf.TensorSpec([None], "int32"),
                tf.TensorSpec([None, CLASSES], "float32"),
            ]
        )
        def update(y_true, y_pred):
            metric.update_state(y_true, y_pred)

        for part in np.array_split(np.arange(60), [1, 2, 40]):
            update(labels[part], scores[part].astype("float32"))
        np.testing.assert_array_equal(metric.result(), result(kind, labels, predicted))


@every_metric
@settings(max_examples=10)
@given(seed=st.integers(0, 2**16), cuts=st.lists(st.integers(0, 60), max_size=5))
def test_order_and_batches_do_not_matter(kind, seed, cuts):
    order = np.random.default_rng(seed).permutation(60)
    metric = kind(CLASSES, sparse_y_pred=True)
    for part in np.split(order, sorted(cuts)):
        metric.update_state(labels[part], predicted[part], sample_weight=part % 3)
    expected = result(kind, labels, predicted, np.arange(60) % 3)
    np.testing.assert_array_equal(metric.result(), expected)


@every_metric
@settings(max_examples=10)
@given(renamed=st.permutations(range(CLASSES)))
def test_the_names_of_the_classes_do_not_matter(kind, renamed):
    new = np.array(renamed, "int32")
    expected = result(kind, labels, predicted)
    if kind is metrics.ConfusionMatrix:
        expected = expected[np.ix_(np.argsort(new), np.argsort(new))]
    actual = result(kind, new[labels], new[predicted])
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
