"""Sparsemax loss against the paper's formulas, and against its gradient."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.layers import Sparsemax as Layer
from keras_ext.losses import Sparsemax, sparsemax
from tests.backends import gradients
from tests.losses.compiling import assert_compiled_alike, assert_finite
from tests.reference import classification_losses as reference
from tests.slopes import assert_gradient_is_the_slope, needs_double_precision

rng = np.random.default_rng(12)
logits = (2 * rng.normal(size=(32, 5))).astype("float32")
labels = rng.integers(0, 5, size=32)
one_hot = np.eye(5, dtype="float32")[labels]
soft = rng.dirichlet(np.ones(5), size=32).astype("float32")


def values(*args, **options):
    return ops.convert_to_numpy(sparsemax(*args, **options))


@pytest.mark.parametrize("scale", [0.01, 1, 10])
class TestValues:
    def test_of_labels_equal_the_formula(self, scale):
        some = np.where(np.arange(32) % 4, labels, -1)
        expected, counts = reference.sparsemax_loss(
            some, scale * logits, ignore_class=-1
        )
        np.testing.assert_allclose(
            values(some, scale * logits, ignore_class=-1),
            expected,
            rtol=1e-5,
            atol=1e-5,
        )
        loss = Sparsemax(ignore_class=-1)
        assert float(loss(some, scale * logits)) == pytest.approx(
            expected[counts].mean(), rel=1e-5
        )

    def test_of_distributions_equal_the_formula(self, scale):
        expected, _ = reference.sparsemax_loss(
            soft, scale * logits, sparse_y_true=False
        )
        np.testing.assert_allclose(
            values(soft, scale * logits, sparse_y_true=False),
            expected,
            rtol=1e-5,
            atol=1e-5,
        )
        loss = Sparsemax(sparse_y_true=False)
        assert float(loss(soft, scale * logits)) == pytest.approx(
            expected.mean(), rel=1e-5
        )

    def test_one_hot_targets_are_labels(self, scale):
        np.testing.assert_array_equal(
            values(one_hot, scale * logits, sparse_y_true=False),
            values(labels, scale * logits),
        )


@pytest.mark.parametrize("axis", [1, 2, -1, -2])
@pytest.mark.parametrize("sparse", [True, False])
def test_with_classes_on_any_axis(axis, sparse):
    true = labels if sparse else soft
    expected = values(true, logits, sparse_y_true=sparse).reshape(4, 8)
    y_pred = np.moveaxis(logits.reshape(4, 8, 5), -1, axis)
    y_true = labels.reshape(4, 8)
    if not sparse:
        y_true = np.moveaxis(soft.reshape(4, 8, 5), -1, axis)
    np.testing.assert_allclose(
        values(y_true, y_pred, sparse_y_true=sparse, axis=axis), expected, atol=1e-6
    )


def test_is_0_where_the_own_logit_exceeds_all_others_by_1():
    y_pred = np.array([[1.0, 0, 0], [0.99, 0, 0], [1e4, 0, 9999]], "float32")
    wrong = values(np.zeros(3), y_pred)
    np.testing.assert_array_equal(wrong[[0, 2]], 0)
    assert wrong[1] > 0


def test_large_logits_keep_their_digits():
    near = np.float32(2**20) + np.array([[0.5, 0.0]], "float32")
    np.testing.assert_array_equal(values([0], near), values([0], near - 2**20))


@pytest.mark.parametrize("sparse", [True, False])
def test_the_gradient_is_what_the_layer_predicts_less_the_target(sparse):
    true = labels if sparse else soft
    (slope,) = gradients(lambda x: sparsemax(true, x, sparse_y_true=sparse), logits)
    p = reference.sparsemax(logits)
    np.testing.assert_allclose(slope, p - (one_hot if sparse else soft), atol=1e-6)


@needs_double_precision
@pytest.mark.parametrize("sparse", [True, False])
def test_the_gradient_is_the_slope(sparse):
    true = labels if sparse else soft
    assert_gradient_is_the_slope(
        lambda x: sparsemax(true, x, sparse_y_true=sparse), logits.astype("float64")
    )


@pytest.mark.parametrize("sparse", [True, False])
def test_compiled(sparse):
    true = labels if sparse else soft
    assert_compiled_alike(lambda x: sparsemax(true, x, sparse_y_true=sparse), logits)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    half = ops.cast(logits, dtype)
    actual = sparsemax(labels, half)
    assert keras.backend.standardize_dtype(actual.dtype) == "float32"
    np.testing.assert_array_equal(
        ops.convert_to_numpy(actual), values(labels, ops.cast(half, "float32"))
    )


@needs_double_precision
def test_float64():
    loss = Sparsemax(dtype="float64", reduction="none")
    expected, _ = reference.sparsemax_loss(labels, logits)
    np.testing.assert_allclose(loss(labels, logits), expected, rtol=1e-12, atol=1e-14)


class TestCorners:
    def test_equal_logits(self):
        equal = np.zeros((2, 4), "float32")
        # tau = -1/4: 4 times -(1/4)^2 / 2, and 1/2.
        np.testing.assert_allclose(values([0, 3], equal), 0.375)
        assert_finite(lambda x: sparsemax([0, 3], x), equal)

    def test_extreme_logits(self):
        extreme = 6e4 * np.eye(3, dtype="float16")
        np.testing.assert_allclose(values([0, 2, 1], extreme), [0, 6e4, 6e4], rtol=1e-3)
        assert_finite(lambda x: sparsemax([0, 2, 1], x), extreme)

    @pytest.mark.parametrize("sparse", [True, False])
    def test_a_class_that_is_ruled_out(self, sparse):
        ruled_out = np.array([[0.5, 0.0, -np.inf]], "float32")
        true = np.array([0]) if sparse else np.array([[0.75, 0.25, 0.0]])
        np.testing.assert_array_equal(
            values(true, ruled_out, sparse_y_true=sparse), 0.0625 if sparse else 0
        )
        assert_finite(lambda x: sparsemax(true, x, sparse_y_true=sparse), ruled_out)

    def test_an_empty_batch(self):
        assert values(labels[:0], logits[:0]).shape == (0,)

    def test_ignored_samples_have_no_gradient_whatever_their_logits(self):
        broken = np.array([[np.nan, np.inf, 0.0], [1.0, 2.0, 3.0]], "float32")
        (slope,) = gradients(lambda x: sparsemax([9, 0], x, ignore_class=9), broken)
        np.testing.assert_array_equal(slope[0], 0)
        assert np.isfinite(slope).all()

    def test_all_ignored_is_0(self):
        assert float(Sparsemax(ignore_class=0)(np.zeros(32), logits)) == 0


def test_a_mask_of_the_predictions_is_respected():
    masked = keras.layers.Masking(9.0)(
        np.array([[[1.0, 0.5], [9.0, 9.0]], [[0.0, 0.0], [0.0, 1.0]]], "float32")
    )
    y_true = np.array([[0, 0], [0, 0]])
    each = values([0, 0, 0], np.array([[1.0, 0.5], [0.0, 0.0], [0.0, 1.0]], "float32"))
    assert float(Sparsemax()(y_true, masked)) == pytest.approx(each.mean(), rel=1e-6)


def test_training_sets_most_probabilities_to_0():
    x = rng.normal(size=(64, 6)).astype("float32")
    y = rng.integers(0, 5, size=64, dtype="int32")
    x += 3 * np.eye(6, dtype="float32")[y]
    inputs = keras.Input((6,))
    scores = keras.layers.Dense(5)(inputs)
    model = keras.Model(inputs, scores)
    model.compile(keras.optimizers.SGD(0.5), loss=Sparsemax())
    history = model.fit(x, y, epochs=10, verbose=0).history["loss"]
    assert history[-1] < 0.3 * history[0]
    p = keras.Model(inputs, Layer()(scores)).predict(x, verbose=0)
    assert np.mean(p == 0) > 0.5
    assert np.mean(p.argmax(axis=-1) == y) > 0.9


def test_a_file_with_loss_and_layer_tells_them_apart(tmp_path):
    model = keras.Sequential([keras.Input((5,)), Layer(), keras.layers.Dense(5)])
    model.compile("sgd", loss=Sparsemax(ignore_class=3))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.layers[0], Layer)
    assert isinstance(loaded.loss, Sparsemax)
    assert loaded.loss.ignore_class == 3


WRONG = [-1, 5, 0.5, np.nan]


def labels_with(label):
    wrong = labels.astype("float32")
    wrong[2] = label
    return wrong


@pytest.mark.parametrize("label", WRONG)
def test_a_wrong_label_raises_when_eager(label):
    with pytest.raises(ValueError, match=r"sparsemax expects `y_true` .* a label"):
        sparsemax(labels_with(label), logits)


def test_a_wrong_label_is_nan_when_compiled():
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(5)])
    model.compile("sgd", loss=Sparsemax(), jit_compile=True)
    for label in WRONG:
        assert np.isnan(model.test_on_batch(logits, labels_with(label)))
        model.reset_metrics()
    assert np.isfinite(model.train_on_batch(logits, labels_with(0)))
    assert np.isnan(model.train_on_batch(logits, labels_with(-1)))
    assert np.isnan(ops.convert_to_numpy(model.weights[0])).any()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"ignore_class": 1.5}, r"`ignore_class` must be an integer. .*=1.5"),
        (
            {"ignore_class": 3, "sparse_y_true": False},
            "needs `sparse_y_true=True`. Received: ignore_class=3, sparse_y_true=False",
        ),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        Sparsemax(**arguments)
    with pytest.raises(ValueError, match=match):
        sparsemax(labels, logits, **arguments)


def test_bad_axis():
    with pytest.raises(ValueError, match=r"`axis` must be an integer. .*axis=None"):
        Sparsemax(axis=None)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "options", "match"),
    [
        ((4,), (3, 5), {}, r"sparsemax expects one integer label .*shape=\(4,\)"),
        ((3,), (3, 5), {"axis": 2}, "sparsemax expects classes on axis 2"),
        ((3,), (3, 1), {}, "at least 2. .*size=1. Two classes need two outputs"),
        ((3, 4), (3, 5), {"sparse_y_true": False}, r"y_true.shape=\(3, 4\)"),
    ],
)
def test_bad_shapes(y_true, y_pred, options, match):
    with pytest.raises(ValueError, match=match):
        sparsemax(np.zeros(y_true), np.ones(y_pred), **options)


def test_config_keeps_every_argument():
    loss = Sparsemax(True, 255, 1, reduction="sum", name="s", dtype="float64")
    assert loss.get_config() == {
        "name": "s",
        "reduction": "sum",
        "sparse_y_true": True,
        "ignore_class": 255,
        "axis": 1,
        "dtype": "float64",
    }
