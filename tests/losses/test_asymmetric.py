"""Asymmetric loss against the paper's formula, one label at a time."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.losses import Asymmetric, asymmetric
from tests.backends import gradients
from tests.losses.compiling import assert_compiled_alike, assert_finite
from tests.reference import classification_losses as reference
from tests.slopes import assert_gradient_is_the_slope, needs_double_precision

BACKEND = keras.backend.backend()
OPTIONS = [
    {},
    {"gamma_negative": 0, "gamma_positive": 0, "clip": 0},
    {"gamma_negative": 0.5, "gamma_positive": 0.5, "clip": 0.2},
    {"gamma_negative": 2, "gamma_positive": 3, "clip": 0},
]

rng = np.random.default_rng(15)
y_true = rng.integers(0, 2, size=(16, 6)).astype("float32")
smooth = rng.uniform(size=(16, 6)).astype("float32")
logits = (3 * rng.normal(size=(16, 6))).astype("float32")
probabilities = ops.convert_to_numpy(ops.sigmoid(logits))


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("labels", [y_true, smooth], ids=["labels", "smooth"])
def test_equals_the_formula(options, from_logits, labels):
    y_pred = logits if from_logits else probabilities
    expected = reference.asymmetric(labels, y_pred, from_logits=from_logits, **options)
    values = asymmetric(labels, y_pred, from_logits=from_logits, **options)
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)
    loss = Asymmetric(from_logits=from_logits, **options)
    assert float(loss(labels, y_pred)) == pytest.approx(expected.mean(), rel=1e-5)


@pytest.mark.parametrize("from_logits", [False, True])
def test_without_focus_it_is_keras_binary_crossentropy(from_logits):
    y_pred = logits if from_logits else probabilities
    np.testing.assert_allclose(
        asymmetric(y_true, y_pred, 0, 0, 0, from_logits),
        keras.losses.binary_crossentropy(y_true, y_pred, from_logits),
        rtol=1e-5,
    )


def test_with_equal_focus_it_is_keras_focal_loss():
    np.testing.assert_allclose(
        asymmetric(y_true, probabilities, 2, 2, 0),
        keras.losses.binary_focal_crossentropy(y_true, probabilities, gamma=2.0),
        rtol=1e-4,
    )


@needs_double_precision
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("from_logits", [False, True])
def test_the_gradient_is_the_slope(options, from_logits):
    y_pred = (logits if from_logits else probabilities).astype("float64")
    assert_gradient_is_the_slope(
        lambda x: asymmetric(y_true, x, from_logits=from_logits, **options), y_pred
    )


@pytest.mark.parametrize("options", OPTIONS)
class TestCorners:
    @pytest.mark.parametrize("dtype", ["float16", "float32"])
    def test_certain_probabilities(self, options, dtype):
        certain = np.array([[0.0, 1.0, 0.0, 1.0]], dtype)
        right, wrong = certain, 1 - certain

        def loss(y, x):
            return asymmetric(y, x, **options)

        np.testing.assert_allclose(loss(right, certain), 0, atol=1e-5)
        assert float(loss(wrong, certain)[0]) > 1
        assert_finite(lambda x: loss(right, x), certain)
        assert_finite(lambda x: loss(wrong, x), certain)

    @pytest.mark.parametrize("dtype", ["float16", "float32"])
    def test_extreme_logits(self, options, dtype):
        extreme = np.array([[-3e4, 3e4, 0.0, -90.0, 90.0]], dtype)
        for label in (0, 0.5, 1):
            labels = np.full_like(extreme, label)
            assert_finite(
                lambda x, y=labels: asymmetric(y, x, from_logits=True, **options),
                extreme,
            )

    def test_compiled(self, options):
        assert_compiled_alike(
            lambda x: asymmetric(smooth, x, from_logits=True, **options), logits
        )


def test_wrong_logits_keep_their_slope():
    wrong = np.array([[-80.0]], "float32")
    (slope,) = gradients(lambda x: asymmetric([[1.0]], x, from_logits=True), wrong)
    np.testing.assert_allclose(slope, -1, rtol=1e-5)


def test_absent_labels_below_clip_are_free():
    below = np.array([[0.01, 0.0499]], "float32")
    values, slope = (
        asymmetric(np.zeros((1, 2)), below),
        gradients(lambda x: asymmetric(np.zeros((1, 2)), x), below)[0],
    )
    np.testing.assert_array_equal(values, 0)
    np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    half = ops.cast(probabilities, dtype)
    values = asymmetric(y_true, half)
    assert keras.backend.standardize_dtype(values.dtype) == "float32"
    expected = asymmetric(y_true, ops.cast(half, "float32"))
    np.testing.assert_array_equal(values, expected)


def test_a_mask_of_the_predictions_is_respected():
    sequence = np.array([[1, 2, 0], [3, 0, 0]])
    y_pred = keras.layers.Embedding(4, 6, mask_zero=True)(sequence)
    targets = y_true[:6].reshape(2, 3, 6)
    loss = Asymmetric(from_logits=True)
    each = ops.convert_to_numpy(
        asymmetric(targets, ops.convert_to_numpy(y_pred), from_logits=True)
    )
    assert float(loss(targets, y_pred)) == pytest.approx(
        (each[0, 0] + each[0, 1] + each[1, 0]) / 3, rel=1e-5
    )


def test_empty_batch():
    empty = ops.convert_to_numpy(asymmetric(y_true[:0], probabilities[:0]))
    assert empty.shape == (0,)


WRONG = [-1, 2, 255, np.nan]


@pytest.mark.parametrize("label", WRONG)
def test_what_cannot_be_a_label_raises_when_eager(label):
    wrong = y_true.copy()
    wrong[3, 2] = label
    match = f"0 for absent labels, or a number between. Received: y_true with {label:g}"
    with pytest.raises(ValueError, match=match):
        asymmetric(wrong, probabilities)


@pytest.mark.parametrize("jit_compile", [True] if BACKEND == "jax" else [False, True])
def test_what_cannot_be_a_label_is_nan_when_compiled(jit_compile):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(6)])
    loss = Asymmetric(from_logits=True)
    model.compile("sgd", loss=loss, jit_compile=jit_compile)
    for label in WRONG:
        wrong = y_true.copy()
        wrong[3, 2] = label
        assert np.isnan(model.test_on_batch(logits, wrong))
        model.reset_metrics()
    assert np.isfinite(model.train_on_batch(logits, y_true))
    assert np.isnan(model.train_on_batch(logits, wrong))
    assert np.isnan(ops.convert_to_numpy(model.weights[0])).any()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"gamma_negative": -1}, r"`gamma_negative` must be a finite number in \[0, i"),
        ({"gamma_positive": "1"}, "`gamma_positive` must be .*gamma_positive='1'"),
        (
            {"clip": 1.0},
            r"`clip` must be a finite number in \[0, 1\). Received: clip=1",
        ),
        ({"clip": -0.1}, "clip=-0.1"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        Asymmetric(**arguments)
    with pytest.raises(ValueError, match=match):
        asymmetric(y_true, probabilities, **arguments)


@pytest.mark.parametrize("shapes", [((4, 2), (4, 3)), ((4,), (4, 2)), ((4,), (4,))])
def test_bad_shapes(shapes):
    match = r"asymmetric expects .* same shape \(batch, ..., labels\). .*y_true.shape="
    with pytest.raises(ValueError, match=match):
        asymmetric(*map(np.zeros, shapes))


def test_config_keeps_every_argument():
    loss = Asymmetric(3, 0, 0.1, True, reduction="sum", name="many", dtype="float64")
    assert loss.get_config() == {
        "name": "many",
        "reduction": "sum",
        "gamma_negative": 3.0,
        "gamma_positive": 0.0,
        "clip": 0.1,
        "from_logits": True,
        "dtype": "float64",
    }


def test_one_label_needs_no_axis_in_the_targets():
    y_true, y_pred = np.array([1.0, 0.0]), np.array([[0.25], [0.5]])
    np.testing.assert_array_equal(
        asymmetric(y_true, y_pred), asymmetric(y_true[:, None], y_pred)
    )
