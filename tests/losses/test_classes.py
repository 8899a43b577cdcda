"""What all losses over integer labels do with labels, ignored samples and axes."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext import losses
from tests.backends import gradients
from tests.markers import needs_tensorflow

BACKEND = keras.backend.backend()
CLASSES = 5

rng = np.random.default_rng(3)
logits = (3 * rng.normal(size=(24, CLASSES))).astype("float32")
labels = rng.integers(0, CLASSES, size=24, dtype="int32")

KINDS = {
    "Poly": (losses.Poly, losses.poly, {"from_logits": True}),
    "SparseCategoricalCrossentropy": (
        losses.SparseCategoricalCrossentropy,
        losses.sparse_categorical_crossentropy,
        {"from_logits": True, "label_smoothing": 0.1},
    ),
}
WRONG = [-1, CLASSES, 300, 0.5, np.nan]


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request):
    """Return what makes the loss, what gives its values, and its function."""
    cls, function, options = request.param

    def make(**more):
        return cls(**options, **more)

    def values(y_true, y_pred, **more):
        return ops.convert_to_numpy(function(y_true, y_pred, **options, **more))

    return make, values, lambda y, x, **more: function(y, x, **options, **more)


def labels_with(label):
    wrong = labels[:4].astype("float32")
    wrong[2] = label
    return wrong


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "float16", "float32"])
def test_labels_of_any_dtype_and_with_a_class_axis(kind, dtype):
    _, values, _ = kind
    for shaped in (labels, labels[:, None]):
        np.testing.assert_array_equal(
            values(shaped.astype(dtype), logits), values(labels, logits)
        )


@pytest.mark.parametrize("axis", [1, 2, 3, -1, -2])
def test_images_with_classes_on_any_axis(kind, axis):
    _, values, _ = kind
    expected = values(labels, logits).reshape(2, 3, 4)
    images = np.moveaxis(logits.reshape(2, 3, 4, CLASSES), -1, axis)
    shaped = labels.reshape(2, 3, 4)
    for true in (shaped, np.expand_dims(shaped, axis)):
        np.testing.assert_allclose(values(true, images, axis=axis), expected, rtol=1e-5)


@pytest.mark.parametrize("ignored", [-1, 2, 255])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum"])
def test_ignored_samples_count_neither_in_sum_nor_in_mean(kind, ignored, reduction):
    make, _, _ = kind
    some = labels.copy()
    some[::3] = ignored
    kept = some != ignored
    expected = make(reduction=reduction)(some[kept], logits[kept])
    loss = make(ignore_class=ignored, reduction=reduction)
    for shaped in (some, some[:, None]):
        np.testing.assert_allclose(loss(shaped, logits), expected, rtol=1e-5)
    assert float(loss(np.full(24, ignored), logits)) == 0


def test_ignored_samples_have_no_gradient_even_where_predictions_are_not_finite(kind):
    _, _, function = kind
    broken = np.array([[np.nan, np.inf, 0.0], [1.0, 2.0, 3.0]], "float32")
    (slope,) = gradients(lambda x: function([9, 0], x, ignore_class=9), broken)
    assert (slope[0] == 0).all()
    assert np.isfinite(slope).all()
    assert (slope[1] != 0).any()


@pytest.mark.parametrize("label", WRONG)
def test_a_wrong_label_raises_when_eager(kind, label):
    _, values, _ = kind
    received = f"Received: y_true with a label {label:.10g}. "
    with pytest.raises(ValueError, match=received + ".*pass it as `ignore_class`"):
        values(labels_with(label), logits[:4])
    with pytest.raises(ValueError, match=received + ".*label `ignore_class=7`"):
        values(labels_with(label), logits[:4], ignore_class=7)


@pytest.mark.parametrize("jit_compile", [True] if BACKEND == "jax" else [False, True])
def test_a_wrong_label_is_nan_when_compiled(kind, jit_compile):
    make, _, _ = kind
    model = keras.Sequential([keras.Input((CLASSES,)), keras.layers.Dense(CLASSES)])
    model.compile("sgd", loss=make(ignore_class=7), jit_compile=jit_compile)
    for label in WRONG:
        assert np.isnan(model.test_on_batch(logits[:4], labels_with(label)))
        model.reset_metrics()
    assert np.isfinite(model.train_on_batch(logits[:4], labels_with(7)))
    assert np.isnan(model.train_on_batch(logits[:4], labels_with(-1)))
    assert np.isnan(ops.convert_to_numpy(model.weights[0])).any()


def test_a_mask_of_the_predictions_is_respected(kind):
    make, values, _ = kind
    sequence = np.array([[1, 2, 0], [3, 0, 0]])
    y_pred = keras.layers.Embedding(4, CLASSES, mask_zero=True)(sequence)
    targets = np.array([[0, 4, 1], [2, 1, 1]])
    each = values(targets, ops.convert_to_numpy(y_pred))
    assert float(make(ignore_class=4)(targets, y_pred)) == pytest.approx(
        (each[0, 0] + each[1, 0]) / 2, rel=1e-5
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(kind, dtype):
    _, values, function = kind
    half = ops.cast(logits, dtype)
    each = function(labels, half)
    assert keras.backend.standardize_dtype(each.dtype) == "float32"
    np.testing.assert_array_equal(each, values(labels, ops.cast(half, "float32")))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_labels_that_half_precision_cannot_tell_apart(kind, dtype):
    make, _, _ = kind
    with pytest.raises(ValueError, match=rf"can represent 3000 classes.*{dtype}"):
        make(dtype=dtype)(np.zeros(2), np.ones((2, 3000), "float32"))


@needs_tensorflow
def test_one_graph_for_batches_of_any_size(kind):
    import tensorflow as tf

    _, values, function = kind
    of_any_size = tf.function(
        function,
        input_signature=[
            tf.TensorSpec((None,), "int32"),
            tf.TensorSpec((None, CLASSES)),
        ],
        jit_compile=True,
    )
    for batch in (1, 24):
        np.testing.assert_allclose(
            of_any_size(labels[:batch], logits[:batch]),
            values(labels[:batch], logits[:batch]),
            rtol=1e-5,
            atol=1e-6,
        )


def test_empty_batch(kind):
    assert kind[1](labels[:0], logits[:0]).shape == (0,)


def test_bad_arguments(kind):
    make, values, _ = kind
    for call in (make, lambda **options: values(labels, logits, **options)):
        with pytest.raises(ValueError, match=r"`ignore_class` must be an integer.*1.5"):
            call(ignore_class=1.5)
    with pytest.raises(ValueError, match=r"`axis` must be an integer.*axis=True"):
        make(axis=True)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "axis", "match"),
    [
        ((4,), (3, 5), -1, r"\(3, 5\) goes with y_true of shape \(3,\).*shape=\(4,\)"),
        ((3, 5), (3, 5), -1, r"one integer label .* Received: y_true.shape=\(3, 5\)"),
        ((3,), (3, 5), 2, r"classes on axis 2 .*shape=\(3, 5\)"),
        ((3,), (3, 1), -1, "known size of at least 2. .*size=1. For a model with a si"),
    ],
)
def test_bad_shapes(kind, y_true, y_pred, axis, match):
    with pytest.raises(ValueError, match=match):
        kind[1](np.zeros(y_true), np.ones(y_pred, "float32"), axis=axis)
