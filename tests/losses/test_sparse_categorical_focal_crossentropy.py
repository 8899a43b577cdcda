"""Focal crossentropy against the paper's formula and Keras's one-hot loss."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.losses import (
    SparseCategoricalFocalCrossentropy,
    sparse_categorical_focal_crossentropy,
)
from tests.reference import losses as reference

BACKEND = keras.backend.backend()
CLASSES = 5
ALPHAS = [0.25, [0.1, 2.0, 1.0, 0.0, 0.5]]
GAMMAS = [0.0, 0.5, 1.0, 2.0, 5.0]

rng = np.random.default_rng(3)
logits = (3 * rng.normal(size=(64, CLASSES))).astype("float32")
labels = rng.integers(0, CLASSES, size=64, dtype="int32")
probabilities = reference.softmax(logits).astype("float32")
one_hot = np.eye(CLASSES, dtype="float32")[labels]


def focal(*args, **kwargs):
    return ops.convert_to_numpy(sparse_categorical_focal_crossentropy(*args, **kwargs))


def gradient(function, x):
    """Return the gradient of the sum of `function(x)`, on TensorFlow or JAX."""
    if BACKEND == "jax":
        import jax

        return np.asarray(jax.grad(lambda x: ops.sum(function(x)))(np.asarray(x)))
    tf = pytest.importorskip("tensorflow")
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(function(x))
    return tape.gradient(total, x).numpy()


@pytest.mark.parametrize("alpha", ALPHAS, ids=["scalar", "per_class"])
@pytest.mark.parametrize("gamma", GAMMAS)
class TestValues:
    def test_probabilities_equal_the_formula(self, alpha, gamma):
        expected = reference.sparse_categorical_focal_crossentropy(
            labels, probabilities, alpha, gamma
        )
        np.testing.assert_allclose(
            focal(labels, probabilities, alpha, gamma), expected, rtol=1e-5, atol=1e-6
        )

    def test_logits_equal_the_formula(self, alpha, gamma):
        expected = reference.sparse_categorical_focal_crossentropy(
            labels, reference.softmax(logits), alpha, gamma
        )
        np.testing.assert_allclose(
            focal(labels, logits, alpha, gamma, from_logits=True),
            expected,
            rtol=1e-5,
            atol=1e-6,
        )

    @pytest.mark.parametrize("scale", [1.0, 7.0, 1e-3])
    def test_probabilities_equal_keras(self, alpha, gamma, scale):
        expected = keras.losses.categorical_focal_crossentropy(
            one_hot, scale * probabilities, alpha=alpha, gamma=gamma
        )
        np.testing.assert_allclose(
            focal(labels, scale * probabilities, alpha, gamma),
            expected,
            rtol=1e-5,
            atol=1e-6,
        )

    def test_logits_equal_keras(self, alpha, gamma):
        expected = keras.losses.categorical_focal_crossentropy(
            one_hot, logits, alpha=alpha, gamma=gamma, from_logits=True
        )
        np.testing.assert_allclose(
            focal(labels, logits, alpha, gamma, from_logits=True),
            expected,
            rtol=1e-5,
            atol=1e-6,
        )


@pytest.mark.parametrize(
    "reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight", "none"]
)
@pytest.mark.parametrize("weighted", [False, True])
def test_class_equals_keras_class(reduction, weighted):
    weight = rng.uniform(size=64).astype("float32") if weighted else None
    ours = SparseCategoricalFocalCrossentropy(reduction=reduction)
    theirs = keras.losses.CategoricalFocalCrossentropy(reduction=reduction)
    np.testing.assert_allclose(
        ours(labels, probabilities, sample_weight=weight),
        theirs(one_hot, probabilities, sample_weight=weight),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int32", "int64", "float16", "float32"]
)
def test_labels_of_any_dtype_and_with_a_class_axis(dtype):
    expected = focal(labels, probabilities)
    for shaped in (labels, labels[:, None]):
        np.testing.assert_array_equal(
            focal(shaped.astype(dtype), probabilities), expected
        )


@pytest.mark.parametrize("axis", [1, 2, 3, -1, -2])
@pytest.mark.parametrize("alpha", ALPHAS, ids=["scalar", "per_class"])
@pytest.mark.parametrize("kept_axis", [False, True])
def test_images_with_classes_on_any_axis(axis, alpha, kept_axis):
    image_labels = labels.reshape(4, 4, 4)
    image = np.moveaxis(probabilities.reshape(4, 4, 4, CLASSES), -1, axis)
    expected = focal(labels, probabilities, alpha).reshape(4, 4, 4)
    if kept_axis:
        image_labels = np.expand_dims(image_labels, axis)
    np.testing.assert_allclose(
        focal(image_labels, image, alpha, axis=axis), expected, rtol=1e-6
    )


@pytest.mark.parametrize("ignored", [-1, 2, 255])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum"])
class TestIgnoreClass:
    def _labels(self, ignored):
        some = labels.copy()
        some[::3] = ignored
        return some

    def test_ignored_samples_count_neither_in_sum_nor_in_mean(self, ignored, reduction):
        some = self._labels(ignored)
        loss = SparseCategoricalFocalCrossentropy(
            ignore_class=ignored, reduction=reduction
        )
        without = SparseCategoricalFocalCrossentropy(reduction=reduction)
        kept = some != ignored
        expected = without(some[kept], probabilities[kept])
        for shaped in (some, some[:, None]):
            np.testing.assert_allclose(loss(shaped, probabilities), expected, rtol=1e-6)

    def test_with_gamma_0_it_is_keras_crossentropy(self, ignored, reduction):
        some = self._labels(ignored).reshape(8, 8)
        images = logits.reshape(8, 8, CLASSES)
        weight = rng.uniform(size=(8, 8)).astype("float32")
        options = {
            "from_logits": True,
            "ignore_class": ignored,
            "reduction": reduction,
        }
        ours = SparseCategoricalFocalCrossentropy(alpha=1, gamma=0, **options)
        theirs = keras.losses.SparseCategoricalCrossentropy(**options)
        for sample_weight in (None, weight):
            np.testing.assert_allclose(
                ours(some, images, sample_weight=sample_weight),
                theirs(some, images, sample_weight=sample_weight),
                rtol=1e-5,
            )


def test_ignored_samples_have_no_gradient_even_where_predictions_are_not_finite():
    broken = np.array([[np.nan, np.inf, 0.0], [1.0, 2.0, 3.0]], "float32")

    def loss(x):
        return sparse_categorical_focal_crossentropy(
            [9, 0], x, from_logits=True, ignore_class=9
        )

    np.testing.assert_array_equal(gradient(loss, broken)[0], 0)
    assert np.isfinite(gradient(loss, broken)).all()


def test_all_ignored_is_0():
    loss = SparseCategoricalFocalCrossentropy(ignore_class=0)
    assert float(loss(np.zeros(64), probabilities)) == 0


def test_ignore_class_in_a_compiled_fit_and_a_keras_file(tmp_path):
    some = np.where(np.arange(64) % 3, labels, 255)
    model = keras.Sequential([keras.Input((CLASSES,)), keras.layers.Identity()])
    loss = SparseCategoricalFocalCrossentropy(from_logits=True, ignore_class=255)
    model.compile(loss=loss, jit_compile=True)
    expected = pytest.approx(float(loss(some, logits)), rel=1e-5)
    assert model.evaluate(logits, some, batch_size=64, verbose=0) == expected
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(logits, some, batch_size=64, verbose=0) == expected


def test_a_mask_of_the_predictions_is_respected():
    sequence = np.array([[1, 2, 0], [3, 0, 0]])
    model = keras.Sequential(
        [
            keras.layers.Embedding(4, CLASSES, mask_zero=True),
            keras.layers.Activation("softmax"),
        ]
    )
    loss = SparseCategoricalFocalCrossentropy(ignore_class=4)
    targets = np.array([[0, 4, 1], [2, 1, 1]])
    y_pred = model(sequence)
    values = focal(targets, ops.convert_to_numpy(y_pred))
    assert float(loss(targets, y_pred)) == pytest.approx(
        (values[0, 0] + values[1, 0]) / 2, rel=1e-5
    )


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
class TestExtremes:
    def test_certain_probabilities(self, gamma, dtype):
        certain = np.eye(3, dtype=dtype)
        right = focal([0, 1, 2], certain, gamma=gamma)
        np.testing.assert_allclose(right, 0, atol=1e-6)
        wrong = focal([1, 2, 0], certain, gamma=gamma)
        expected = -0.25 * np.log(keras.config.epsilon())
        np.testing.assert_allclose(wrong, expected, rtol=1e-5)

    def test_extreme_logits(self, gamma, dtype):
        extreme = np.array([[3e4, -3e4, 0], [-3e4, 3e4, 0]], dtype)
        values = focal([0, 0], extreme, gamma=gamma, from_logits=True)
        np.testing.assert_allclose(values, [0, 0.25 * 6e4], rtol=1e-3)

    @pytest.mark.parametrize("from_logits", [False, True])
    def test_gradients_are_finite(self, gamma, dtype, from_logits):
        scale = 3e4 if from_logits else 1
        extreme = np.concatenate([scale * np.eye(3), np.zeros((3, 3))]).astype(dtype)

        def loss(x):
            return sparse_categorical_focal_crossentropy(
                [0, 0, 0, 0, 1, 2], x, gamma=gamma, from_logits=from_logits
            )

        assert np.isfinite(gradient(loss, extreme)).all()
        assert np.isfinite(ops.convert_to_numpy(loss(extreme))).all()


def test_wrong_logits_keep_their_slope():
    wrong = np.array([[50.0, 0.0]], "float32")
    slope = gradient(
        lambda x: sparse_categorical_focal_crossentropy([1], x, 1.0, from_logits=True),
        wrong,
    )
    np.testing.assert_allclose(slope, [[1, -1]], rtol=1e-5)


def test_gradient_equals_keras():
    ours = gradient(
        lambda x: sparse_categorical_focal_crossentropy(labels, x, from_logits=True),
        logits,
    )
    theirs = gradient(
        lambda x: keras.losses.categorical_focal_crossentropy(
            one_hot, x, from_logits=True
        ),
        logits,
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_half_precision_is_computed_in_float32():
    half = probabilities.astype("float16")
    values = sparse_categorical_focal_crossentropy(labels, half)
    assert keras.backend.standardize_dtype(values.dtype) == "float32"
    np.testing.assert_allclose(values, focal(labels, half.astype("float32")))


@pytest.mark.skipif(BACKEND == "jax", reason="JAX has float64 only where enabled")
def test_float64():
    values = focal(labels, probabilities.astype("float64"), ALPHAS[1])
    assert values.dtype == "float64"


def test_empty_batch():
    assert focal(labels[:0], probabilities[:0]).shape == (0,)


WRONG = [-1, CLASSES, 300, 2**24, 0.5, np.nan]


def labels_with(label):
    wrong = labels[:4].astype("float32")
    wrong[2] = label
    return wrong


@pytest.mark.parametrize("label", WRONG)
def test_a_wrong_label_raises_when_eager(label):
    received = f"Received: y_true with a label {label:.10g}. "
    with pytest.raises(ValueError, match=received + ".*pass it as `ignore_class`"):
        focal(labels_with(label), probabilities[:4])
    with pytest.raises(ValueError, match=received + ".*label `ignore_class=7`"):
        focal(labels_with(label), probabilities[:4], ignore_class=7)


# Without jit_compile, Keras runs JAX models eagerly.
@pytest.mark.parametrize("jit_compile", [True] if BACKEND == "jax" else [False, True])
@pytest.mark.parametrize("ignore_class", [None, 7])
def test_a_wrong_label_is_nan_when_compiled(jit_compile, ignore_class):
    model = keras.Sequential([keras.Input((CLASSES,)), keras.layers.Dense(CLASSES)])
    loss = SparseCategoricalFocalCrossentropy(
        from_logits=True, ignore_class=ignore_class
    )
    model.compile("sgd", loss=loss, jit_compile=jit_compile)
    for label in WRONG:
        assert np.isnan(model.test_on_batch(logits[:4], labels_with(label)))
        model.reset_metrics()
    assert np.isfinite(model.train_on_batch(logits[:4], labels_with(0)))
    assert np.isnan(model.train_on_batch(logits[:4], labels_with(-1)))
    assert np.isnan(ops.convert_to_numpy(model.weights[0])).any()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_labels_that_half_precision_cannot_tell_apart(dtype):
    loss = SparseCategoricalFocalCrossentropy(dtype=dtype)
    with pytest.raises(
        ValueError, match=rf"can represent 3000 classes.*{dtype}.*float32"
    ):
        loss(np.zeros(2), np.ones((2, 3000), "float32"))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"alpha": -0.1}, r"`alpha` must be a finite number in \[0, inf\)"),
        ({"alpha": [0.1, -1]}, r"`alpha\[1\]` must be a finite number"),
        ({"alpha": float("nan")}, "alpha=nan"),
        ({"alpha": {0: 0.5}}, r"alpha=\{0: 0.5\}"),
        ({"gamma": -1}, r"`gamma` must be a finite number in \[0, inf\)"),
        ({"gamma": float("inf")}, "gamma=inf"),
        ({"gamma": "2"}, "gamma='2'"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        SparseCategoricalFocalCrossentropy(**arguments)
    with pytest.raises(ValueError, match=match):
        focal(labels, probabilities, **arguments)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (
            {"ignore_class": 1.5},
            "`ignore_class` must be an integer. .*ignore_class=1.5",
        ),
        ({"axis": True}, "`axis` must be an integer. Received: axis=True"),
        ({"reduction": "average"}, "Invalid value for argument `reduction`"),
    ],
)
def test_bad_arguments_of_the_class(arguments, match):
    with pytest.raises(ValueError, match=match):
        SparseCategoricalFocalCrossentropy(**arguments)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "arguments", "match"),
    [
        ((4,), (3, 5), {}, r"\(3, 5\) goes with y_true of shape \(3,\).*shape=\(4,\)"),
        ((3, 5), (3, 5), {}, r"one integer label .* Received: y_true.shape=\(3, 5\)"),
        ((3,), (3, 5), {"axis": 2}, r"classes on axis 2 .*shape=\(3, 5\)"),
        ((3,), (3, 1), {}, r"size of at least 2. .*size=1.*BinaryFocalCrossentropy"),
        ((3,), (3, 5), {"alpha": [1, 2]}, r"each of y_pred's 5 classes.*2 numbers"),
    ],
)
def test_bad_shapes(y_true, y_pred, arguments, match):
    with pytest.raises(ValueError, match=match):
        focal(np.zeros(y_true), np.ones(y_pred, "float32"), **arguments)


def test_config_keeps_every_argument():
    loss = SparseCategoricalFocalCrossentropy(
        alpha=(1, 2),
        gamma=0,
        from_logits=True,
        ignore_class=-1,
        axis=1,
        dtype="float64",
    )
    assert loss.get_config() == {
        "name": "sparse_categorical_focal_crossentropy",
        "reduction": "sum_over_batch_size",
        "alpha": [1.0, 2.0],
        "gamma": 0.0,
        "from_logits": True,
        "ignore_class": -1,
        "axis": 1,
        "dtype": "float64",
    }
