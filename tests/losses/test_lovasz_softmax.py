"""Lovász-softmax loss against the paper's definition, and against IoUs."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from keras_ext.losses import LovaszSoftmax, lovasz_softmax
from tests.backends import gradients
from tests.losses.compiling import assert_compiled_alike, assert_finite
from tests.reference import classification_losses as reference
from tests.slopes import assert_gradient_is_the_slope, needs_double_precision

CLASSES = 4
VOID = 9

rng = np.random.default_rng(12)
logits = (2 * rng.normal(size=(6, 5, 3, CLASSES))).astype("float32")
probabilities = ops.convert_to_numpy(ops.softmax(logits))
labels = rng.integers(0, CLASSES, size=(6, 5, 3), dtype="int32")
labels[1] = 2  # one class in the whole image
some = labels.copy()
some[rng.uniform(size=some.shape) < 0.3] = VOID
some[3] = VOID  # no pixel left
some[4] = VOID
some[4, 0, 0] = 1  # one pixel left


def values(*args, **options):
    return ops.convert_to_numpy(lovasz_softmax(*args, **options))


@pytest.mark.parametrize("classes", ["present", "all"])
@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("ignore_class", [None, VOID])
class TestValues:
    def test_equal_the_formula(self, classes, from_logits, ignore_class):
        y_true = labels if ignore_class is None else some
        y_pred = logits if from_logits else probabilities
        options = {
            "classes": classes,
            "from_logits": from_logits,
            "ignore_class": ignore_class,
        }
        expected, counts = reference.lovasz_softmax(y_true, y_pred, **options)
        np.testing.assert_allclose(
            values(y_true, y_pred, **options), expected, rtol=1e-5, atol=1e-5
        )
        loss = LovaszSoftmax(**options)
        assert float(loss(y_true, y_pred)) == pytest.approx(
            expected[counts].mean(), rel=1e-5
        )

    def test_shapes_of_pixels_do_not_matter(self, classes, from_logits, ignore_class):
        y_true = labels if ignore_class is None else some
        y_pred = logits if from_logits else probabilities
        options = (classes, from_logits, ignore_class)
        expected = values(y_true, y_pred, *options)
        for shape in ((15,), (15, 1), (1, 3, 5), (5, 3)):
            pixels = y_pred.reshape(6, *shape, CLASSES)
            for last in ((), (1,)):
                actual = values(y_true.reshape(6, *shape, *last), pixels, *options)
                np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("classes", ["present", "all"])
def test_compiled(classes):
    assert_compiled_alike(
        lambda x: lovasz_softmax(some, x, classes, True, ignore_class=VOID), logits
    )


def test_certain_predictions_give_1_minus_the_iou():
    predicted = rng.integers(0, CLASSES, size=labels.shape)
    certain = np.eye(CLASSES, dtype="float32")[predicted]
    expected = []
    for true, of_image in zip(labels, predicted, strict=True):
        ious = [
            np.sum((true == c) & (of_image == c))
            / np.sum((true == c) | (of_image == c))
            for c in np.unique(true)
        ]
        expected.append(1 - np.mean(ious))
    np.testing.assert_allclose(values(labels, certain), expected, rtol=1e-6)


@given(st.randoms(use_true_random=False), st.sampled_from(["present", "all"]))
def test_pixels_and_classes_have_no_order(random, classes):
    pixels, names = list(range(15)), list(range(CLASSES))
    random.shuffle(pixels)
    random.shuffle(names)
    y_true = np.asarray(names)[labels.reshape(6, 15)[:, pixels]]
    y_pred = np.empty((6, 15, CLASSES), "float32")
    y_pred[..., names] = probabilities.reshape(6, 15, CLASSES)[:, pixels]
    np.testing.assert_allclose(
        values(y_true, y_pred, classes),
        values(labels, probabilities, classes),
        rtol=1e-5,
    )


@pytest.mark.parametrize("cut", [1, 4])
def test_images_of_a_batch_do_not_mix(cut):
    parts = [
        values(some[part], logits[part], from_logits=True, ignore_class=VOID)
        for part in (slice(0, cut), slice(cut, 6))
    ]
    np.testing.assert_allclose(
        np.concatenate(parts),
        values(some, logits, from_logits=True, ignore_class=VOID),
        rtol=1e-6,
    )


@pytest.mark.parametrize("classes", ["present", "all"])
def test_ignored_pixels_are_as_good_as_cut_out(classes):
    kept = some[0] != VOID
    expected = values(some[:1, kept], probabilities[:1, kept], classes)
    actual = values(some[:1], probabilities[:1], classes, ignore_class=VOID)
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


@needs_double_precision
@pytest.mark.parametrize("classes", ["present", "all"])
@pytest.mark.parametrize("from_logits", [False, True])
def test_the_gradient_is_the_slope(classes, from_logits):
    y_pred = (logits if from_logits else probabilities).astype("float64")
    assert_gradient_is_the_slope(
        lambda x: lovasz_softmax(some, x, classes, from_logits, VOID), y_pred
    )


def test_the_gradient_of_a_large_image_keeps_its_digits():
    # All errors are of pixels outside of the one class, in the order of the image.
    size = 2**20
    p = np.linspace(0.9, 0.1, size, dtype="float32")
    y_pred = np.stack([1 - p, p], axis=-1)[None]
    y_true = np.zeros((1, size), "int32")
    y_true[0, -1000:] = 1
    y_pred[0, -1000:] = [0, 1]
    (slope,) = gradients(lambda x: lovasz_softmax(y_true, x), y_pred)
    union = 1000 + np.arange(1, size - 999, dtype="float64")
    expected = 0.5 * 1000 / (union * (union - 1))
    np.testing.assert_allclose(slope[0, :-1000, 1], expected, rtol=1e-5)


class TestCorners:
    def test_certain_and_right(self):
        certain = np.eye(CLASSES, dtype="float32")[labels]
        for classes in ("present", "all"):
            np.testing.assert_array_equal(values(labels, certain, classes), 0)
            assert_finite(lambda x, c=classes: lovasz_softmax(labels, x, c), certain)

    def test_certain_and_right_has_a_slope_towards_less_certainty(self):
        y_true, certain = np.array([[0, 1]]), np.eye(2, dtype="float32")[None]
        (slope,) = gradients(lambda x: lovasz_softmax(y_true, x), certain)
        assert (slope[0, [0, 1], [0, 1]] < 0).all()
        assert (slope[0, [0, 1], [1, 0]] >= 0).all()

    def test_certain_and_wrong(self):
        certain = np.eye(CLASSES, dtype="float32")[(labels + 1) % CLASSES]
        np.testing.assert_allclose(values(labels, certain), 1)
        assert_finite(lambda x: lovasz_softmax(labels, x), certain)

    def test_extreme_logits(self):
        extreme = 3e4 * np.eye(CLASSES, dtype="float16")[labels]
        # The value is no greater than the largest error, 1 - p, and a softmax that
        # multiplies by the inverse of its sum misses 1 by a rounding or two.
        actual = values(labels, extreme, from_logits=True)
        np.testing.assert_allclose(actual, 0, atol=2 * np.finfo("float32").eps)
        assert_finite(lambda x: lovasz_softmax(labels, x, from_logits=True), extreme)

    def test_equal_errors(self):
        equal = np.full((6, 15, CLASSES), 1 / CLASSES, "float32")
        y_true = labels.reshape(6, 15)
        expected, _ = reference.lovasz_softmax(y_true, equal)
        np.testing.assert_allclose(values(y_true, equal), expected, rtol=1e-5)
        assert_finite(lambda x: lovasz_softmax(y_true, x), equal)

    def test_an_absent_class_counts_with_its_largest_probability(self):
        y_pred = np.array([[[0.9, 0.1], [0.3, 0.7], [0.6, 0.4]]], "float32")
        y_true = np.zeros((1, 3), "int32")
        of_present = values(y_true, y_pred)
        np.testing.assert_allclose(
            values(y_true, y_pred, "all"), (of_present + 0.7) / 2, rtol=1e-6
        )

    def test_a_batch_without_any_pixel_that_counts(self):
        void = np.full_like(labels, VOID)
        for classes in ("present", "all"):
            loss = LovaszSoftmax(classes, ignore_class=VOID)
            assert float(loss(void, probabilities)) == 0
            (slope,) = gradients(lambda x, loss=loss: loss(void, x), probabilities)
            np.testing.assert_array_equal(slope, 0)

    def test_ignored_pixels_have_no_gradient_whatever_their_predictions(self):
        broken = np.where(some[..., None] == VOID, np.nan, probabilities)
        (slope,) = gradients(
            lambda x: lovasz_softmax(some, x, ignore_class=VOID), broken
        )
        np.testing.assert_array_equal(slope[some == VOID], 0)
        assert np.isfinite(slope).all()

    def test_predictions_that_are_nan_make_their_image_nan(self):
        broken = logits.copy()
        broken[2][some[2] != VOID] = np.nan
        actual = values(some, broken, from_logits=True, ignore_class=VOID)
        expected = values(some, logits, from_logits=True, ignore_class=VOID)
        expected[2] = np.nan
        np.testing.assert_array_equal(actual, expected)

    def test_one_image_of_one_pixel(self):
        y_pred = np.array([[[0.25, 0.75]]], "float32")
        assert values([[0]], y_pred).tolist() == [0.75]

    def test_an_empty_batch(self):
        assert values(labels[:0], logits[:0]).shape == (0,)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    half = ops.cast(logits, dtype)
    actual = lovasz_softmax(labels, half, from_logits=True)
    assert keras.backend.standardize_dtype(actual.dtype) == "float32"
    expected = values(labels, ops.cast(half, "float32"), from_logits=True)
    np.testing.assert_array_equal(ops.convert_to_numpy(actual), expected)
    loss = LovaszSoftmax(from_logits=True, dtype=dtype)
    assert float(loss(labels, logits)) == pytest.approx(
        values(labels, logits, from_logits=True).mean(), rel=1e-2
    )


@needs_double_precision
def test_float64():
    loss = LovaszSoftmax(from_logits=True, dtype="float64", reduction="none")
    expected, _ = reference.lovasz_softmax(labels, logits, from_logits=True)
    np.testing.assert_allclose(loss(labels, logits), expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_weights_of_images(shape):
    weights = rng.uniform(size=shape).astype("float32")
    each = values(some, probabilities, ignore_class=VOID)
    weighted = LovaszSoftmax(ignore_class=VOID, reduction="mean_with_sample_weight")(
        some, probabilities, sample_weight=weights
    )
    counted = np.ravel(weights) * (np.arange(6) != 3)
    assert float(weighted) == pytest.approx(np.average(each, weights=counted), rel=1e-5)


def test_weights_of_pixels_are_refused():
    with pytest.raises(
        ValueError, match=r"one `sample_weight` for each .*shape=\(6, 5"
    ):
        LovaszSoftmax()(labels, probabilities, sample_weight=np.ones((6, 5, 3)))


@pytest.mark.parametrize("ignore_class", [None, VOID])
def test_pixels_that_a_mask_leaves_out_do_not_count(ignore_class):
    y_true = (labels if ignore_class is None else some).reshape(6, 15)
    y_pred = probabilities.reshape(6, 15, CLASSES).copy()
    y_pred[0, 10:] = y_pred[2] = y_pred[5, ::2] = -1
    loss = LovaszSoftmax(ignore_class=ignore_class)
    masked = np.where(y_pred[..., 0] == -1, VOID, y_true)
    expected, counts = reference.lovasz_softmax(masked, y_pred, ignore_class=VOID)
    actual = loss(y_true, keras.layers.Masking(-1.0)(y_pred))
    assert not counts[2]
    assert float(actual) == pytest.approx(expected[counts].mean(), rel=1e-5)


def test_a_mask_of_rows_leaves_out_their_pixels():
    y_pred = probabilities.copy()
    y_pred[:, 2] = -1
    rows = keras.layers.Masking(-1.0)(y_pred.reshape(6, 5, 3 * CLASSES))
    images = keras.layers.TimeDistributed(keras.layers.Reshape((3, CLASSES)))(rows)
    expected = values(np.delete(labels, 2, 1), np.delete(probabilities, 2, 1)).mean()
    assert float(LovaszSoftmax()(labels, images)) == pytest.approx(expected, rel=1e-5)


def test_a_compiled_fit_raises_the_iou():
    x = rng.normal(size=(8, 6, 6, CLASSES)).astype("float32")
    y = x.argmax(axis=-1).astype("int32")
    model = keras.Sequential(
        [keras.Input((None, None, CLASSES)), keras.layers.Conv2D(CLASSES, 1)]
    )
    model.compile(
        keras.optimizers.Adam(0.2),
        loss=LovaszSoftmax(from_logits=True),
        jit_compile=True,
    )
    history = model.fit(x, y, batch_size=4, epochs=10, verbose=0).history["loss"]
    assert history[-1] < 0.4 * history[0]


WRONG = [-1, CLASSES, 300, 0.5, np.nan]


def labels_with(label):
    wrong = labels.astype("float32")
    wrong[2, 1, 1] = label
    return wrong


@pytest.mark.parametrize("label", WRONG)
def test_a_wrong_label_raises_when_eager(label):
    with pytest.raises(ValueError, match=r"lovasz_softmax expects `y_true` .* a label"):
        lovasz_softmax(labels_with(label), probabilities)


def test_a_wrong_label_is_nan_when_compiled():
    model = keras.Sequential(
        [keras.Input((5, 3, CLASSES)), keras.layers.Dense(CLASSES)]
    )
    model.compile("sgd", loss=LovaszSoftmax(from_logits=True), jit_compile=True)
    for label in WRONG:
        assert np.isnan(model.test_on_batch(logits, labels_with(label)))
        model.reset_metrics()
    assert np.isfinite(model.train_on_batch(logits, labels_with(0)))
    assert np.isnan(model.train_on_batch(logits, labels_with(-1)))
    assert np.isnan(ops.convert_to_numpy(model.weights[0])).any()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"classes": "some"}, r"`classes` must be one of 'present', 'all'. .*'some'"),
        ({"ignore_class": 1.5}, r"`ignore_class` must be an integer. .*=1.5"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        LovaszSoftmax(**arguments)
    with pytest.raises(ValueError, match=match):
        lovasz_softmax(labels, probabilities, **arguments)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "match"),
    [
        ((6,), (6, 4), r"at least one axis of pixels. .*y_pred.shape=\(6, 4\)"),
        ((), (4,), r"at least one axis of pixels. .*y_pred.shape=\(4,\)"),
        ((6, 4), (6, 5, 3), r"lovasz_softmax expects one integer label .*\(6, 4\)"),
        ((6, 5), (6, 5, 1), "at least 2. .*size=1. Two classes need two outputs"),
    ],
)
def test_bad_shapes(y_true, y_pred, match):
    for loss in (lovasz_softmax, LovaszSoftmax()):
        with pytest.raises(ValueError, match=match):
            loss(np.zeros(y_true), np.ones(y_pred))


def test_config_keeps_every_argument():
    loss = LovaszSoftmax("all", True, 255, reduction="sum", name="l", dtype="float64")
    assert loss.get_config() == {
        "name": "l",
        "reduction": "sum",
        "classes": "all",
        "from_logits": True,
        "ignore_class": 255,
        "dtype": "float64",
    }
