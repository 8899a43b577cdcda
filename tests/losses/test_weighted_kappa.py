"""Weighted kappa loss against the paper's formula and scikit-learn's kappa."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from sklearn.metrics import cohen_kappa_score

from keras_ext.losses import WeightedKappa, weighted_kappa
from tests.backends import gradients
from tests.losses.compiling import assert_compiled_alike, assert_finite
from tests.reference import classification_losses as reference
from tests.slopes import assert_gradient_is_the_slope, needs_double_precision

BACKEND = keras.backend.backend()
CLASSES = 5

rng = np.random.default_rng(17)
logits = (2 * rng.normal(size=(24, CLASSES))).astype("float32")
labels = rng.integers(0, CLASSES, size=24)
probabilities = ops.convert_to_numpy(ops.softmax(logits))
both_weights = pytest.mark.parametrize("weights", ["linear", "quadratic"])


@both_weights
@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_the_formula(weights, from_logits, weighted):
    y_pred = logits if from_logits else probabilities
    sample_weight = np.arange(24) % 3 * 0.5 if weighted else None
    options = {"num_classes": CLASSES, "weights": weights, "from_logits": from_logits}
    expected = reference.weighted_kappa(
        labels, y_pred, **options, sample_weight=sample_weight
    )
    for shaped in (labels, labels[:, None]):
        each = WeightedKappa(**options, reduction="none")
        np.testing.assert_allclose(
            each(shaped, y_pred, sample_weight), expected, rtol=1e-5, atol=1e-5
        )
    loss = WeightedKappa(**options)
    assert float(loss(labels, y_pred, sample_weight)) == pytest.approx(
        expected.mean(), rel=1e-5
    )
    if not weighted:
        np.testing.assert_allclose(
            weighted_kappa(labels, y_pred, **options), expected, rtol=1e-5, atol=1e-5
        )


@both_weights
def test_of_decisions_it_is_1_minus_scikit_learns_kappa(weights):
    decisions = rng.integers(0, CLASSES, size=24)
    loss = WeightedKappa(CLASSES, weights)
    expected = 1 - cohen_kappa_score(labels, decisions, weights=weights)
    one_hot = np.eye(CLASSES, dtype="float32")[decisions]
    assert float(loss(labels, one_hot)) == pytest.approx(expected, rel=1e-5)


def test_its_logarithm_is_the_number_that_tensorflow_addons_documents():
    y_pred = np.array(
        [
            [0.1, 0.2, 0.6, 0.1],
            [0.1, 0.5, 0.3, 0.1],
            [0.8, 0.05, 0.05, 0.1],
            [0.01, 0.09, 0.1, 0.8],
        ]
    )
    value = float(WeightedKappa(num_classes=4)(np.array([2, 1, 0, 3]), y_pred))
    assert np.log(value) == pytest.approx(-1.1611925, rel=1e-5)


def test_a_prediction_that_knows_nothing_is_1():
    same = np.tile(probabilities[:1], (24, 1))
    assert float(WeightedKappa(CLASSES)(labels, same)) == pytest.approx(1, rel=1e-6)


@both_weights
@needs_double_precision
def test_the_gradient_is_the_slope(weights):
    assert_gradient_is_the_slope(
        lambda x: weighted_kappa(labels, x, CLASSES, weights), probabilities
    )
    assert_gradient_is_the_slope(
        lambda x: weighted_kappa(labels, x, CLASSES, weights, from_logits=True), logits
    )


@both_weights
def test_compiled(weights):
    assert_compiled_alike(
        lambda x: weighted_kappa(labels, x, CLASSES, weights, from_logits=True), logits
    )


@settings(max_examples=15)
@given(st.permutations(range(24)), st.lists(st.booleans(), min_size=24, max_size=24))
def test_order_does_not_matter_and_weight_0_is_absent(order, kept):
    loss = WeightedKappa(CLASSES, reduction="none")
    weights = np.array(kept, "float32")
    values = ops.convert_to_numpy(loss(labels, probabilities, sample_weight=weights))
    there = weights > 0
    np.testing.assert_array_equal(values[~there], 0)
    np.testing.assert_allclose(
        values[there], loss(labels[there], probabilities[there]), rtol=1e-5, atol=1e-6
    )
    order = np.array(order)
    np.testing.assert_allclose(
        loss(labels[order], probabilities[order], sample_weight=weights[order]),
        values[order],
        rtol=1e-5,
        atol=1e-6,
    )


def test_classes_in_the_reverse_order_cost_the_same():
    values = weighted_kappa(labels, probabilities, CLASSES)
    turned = weighted_kappa(CLASSES - 1 - labels, probabilities[:, ::-1], CLASSES)
    np.testing.assert_allclose(turned, values, rtol=1e-5)


class TestCorners:
    def _loss(self, y_true, x):
        return weighted_kappa(y_true, x, 3)

    def test_right_and_certain_is_0(self):
        certain = np.eye(3, dtype="float32")
        np.testing.assert_array_equal(self._loss([0, 1, 2], certain), 0)
        assert_finite(lambda x: self._loss([0, 1, 2], x), certain)
        assert_finite(lambda x: self._loss([2, 0, 1], x), certain)

    @pytest.mark.parametrize("count", [1, 4])
    @pytest.mark.parametrize("p", [1.0, 1 - 1e-7, 0.9, 0.0])
    def test_a_batch_of_one_class_is_finite(self, count, p):
        y_pred = np.tile(np.array([[p, 1 - p, 0.0]], "float32"), (count, 1))
        y_true = np.zeros(count)
        expected = 0 if p == 1 else 1
        np.testing.assert_allclose(self._loss(y_true, y_pred), expected, rtol=1e-5)
        assert_finite(lambda x: self._loss(y_true, x), y_pred)

    @pytest.mark.parametrize("scale", [1.0, 20.0, 60.0, 3e4])
    def test_extreme_logits_of_one_class_have_a_slope_of_0(self, scale):
        extreme = np.tile(scale * np.eye(3, dtype="float32")[:1], (2, 1))
        (slope,) = gradients(
            lambda x: weighted_kappa([0, 0], x, 3, from_logits=True), extreme
        )
        np.testing.assert_allclose(slope, 0, atol=1e-6)

    def test_rows_of_zeros_are_finite(self):
        assert_finite(lambda x: self._loss([0, 2], x), np.zeros((2, 3), "float32"))

    def test_a_batch_without_samples_is_0(self):
        assert ops.convert_to_numpy(self._loss([], np.zeros((0, 3)))).shape == (0,)
        weights = np.zeros(24, "float32")
        loss = WeightedKappa(CLASSES)
        assert float(loss(labels, probabilities, sample_weight=weights)) == 0

        def nobody(x):
            return loss(labels, x, sample_weight=weights)

        assert_finite(nobody, probabilities)


def test_absent_samples_are_not_read():
    weights = np.arange(24) % 2
    absent = weights == 0
    loss = WeightedKappa(CLASSES, from_logits=True)
    expected = float(loss(labels, logits, sample_weight=weights))
    unread = np.where(absent, 99, labels)
    broken = np.where(absent[:, None], np.nan, logits).astype("float32")
    value = loss(unread, broken, sample_weight=weights)
    assert float(value) == pytest.approx(expected, rel=1e-6)
    (slope,) = gradients(lambda x: loss(unread, x, sample_weight=weights), broken)
    assert np.isfinite(slope).all()
    np.testing.assert_array_equal(slope[absent], 0)


def test_masked_samples_are_absent():
    kept = np.arange(24) % 2 == 1
    expected = float(WeightedKappa(CLASSES)(labels[kept], probabilities[kept]))
    blank = np.where(kept[:, None], probabilities, 0)
    masked = keras.layers.Masking()(blank)
    assert float(WeightedKappa(CLASSES)(labels, masked)) == pytest.approx(
        expected, rel=1e-5
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    half = ops.cast(probabilities, dtype)
    values = weighted_kappa(labels, half, CLASSES)
    assert keras.backend.standardize_dtype(values.dtype) == "float32"
    expected = weighted_kappa(labels, ops.cast(half, "float32"), CLASSES)
    np.testing.assert_array_equal(values, expected)


WRONG = [-1, CLASSES, 0.5, np.nan]


@pytest.mark.parametrize("label", WRONG)
def test_a_wrong_label_raises_when_eager(label):
    wrong = labels.astype("float32")
    wrong[3] = label
    match = f"from 0 to 4. Received: y_true with a label {label:.10g}. Give samples"
    with pytest.raises(ValueError, match=match):
        weighted_kappa(wrong, probabilities, CLASSES)


@pytest.mark.parametrize("jit_compile", [True] if BACKEND == "jax" else [False, True])
def test_a_wrong_label_is_nan_when_compiled(jit_compile):
    model = keras.Sequential([keras.Input((CLASSES,)), keras.layers.Dense(CLASSES)])
    loss = WeightedKappa(CLASSES, from_logits=True)
    model.compile("sgd", loss=loss, jit_compile=jit_compile)
    for label in WRONG:
        wrong = labels.astype("float32")
        wrong[3] = label
        assert np.isnan(model.test_on_batch(logits, wrong))
        model.reset_metrics()
    assert np.isfinite(model.train_on_batch(logits, labels))
    assert np.isnan(model.train_on_batch(logits, wrong))
    assert np.isnan(ops.convert_to_numpy(model.weights[0])).any()


def test_training_raises_the_kappa():
    x = rng.normal(size=(200, 3)).astype("float32")
    y = np.digitize(x.sum(axis=-1), [-1.5, 0, 1.5]).astype("int32")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    model.compile(keras.optimizers.Adam(0.1), WeightedKappa(4, from_logits=True))
    history = model.fit(x, y, batch_size=50, epochs=15, verbose=0).history["loss"]
    assert history[0] > 0.5
    assert history[-1] < 0.4


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"num_classes": 1}, "`num_classes` must be an integer of at least 2. .*=1"),
        ({"num_classes": 2.5}, "num_classes=2.5"),
        (
            {"num_classes": CLASSES, "weights": "cubic"},
            "`weights` must be one of 'linear', 'quadratic'. Received: weights='cubic'",
        ),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        WeightedKappa(**arguments)
    with pytest.raises(ValueError, match=match):
        weighted_kappa(labels, probabilities, **arguments)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "match"),
    [
        ((3,), (3, 4), r"y_pred of shape \(batch, num_classes\), with num_classes=5."),
        ((3, 2), (3, 2, 5), r"num_classes=5. Received: y_pred.shape=\(3, 2, 5\)"),
        ((3, 5), (3, 5), "expects one integer label for each prediction"),
    ],
)
def test_bad_shapes(y_true, y_pred, match):
    with pytest.raises(ValueError, match=match):
        weighted_kappa(np.zeros(y_true), np.ones(y_pred, "float32"), 5)


@pytest.mark.parametrize("shape", [(24, 2), (1, 24), (3,)])
def test_bad_weights(shape):
    with pytest.raises(ValueError, match="one `sample_weight` for each sample"):
        WeightedKappa(CLASSES)(labels, probabilities, sample_weight=np.ones(shape))


def test_config_keeps_every_argument():
    loss = WeightedKappa(
        7, "linear", True, reduction="sum", name="qwk", dtype="float64"
    )
    assert loss.get_config() == {
        "name": "qwk",
        "reduction": "sum",
        "num_classes": 7,
        "weights": "linear",
        "from_logits": True,
        "dtype": "float64",
    }
