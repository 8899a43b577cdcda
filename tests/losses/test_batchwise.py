"""What all losses over pairs of a batch do about labels, weights and masks."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_ext import losses
from keras_ext.losses._function_loss import Masked
from tests.backends import compiled, gradients
from tests.markers import needs_tensorflow
from tests.reference import metric_learning as reference

BACKEND = keras.backend.backend()
PLAIN = [
    losses.LiftedStruct,
    losses.SupervisedContrastive,
    losses.TripletHard,
    losses.TripletSemiHard,
]
PAIRED = [losses.NPairs, losses.NPairsMultilabel, losses.NTXent]
EVERY = [*PLAIN, *PAIRED]
LABELLED = [*PLAIN, losses.NPairs]

rng = np.random.default_rng(17)
LABELS = rng.integers(0, 5, size=20, dtype="int32")
LABELS[:3] = [7, 8, 1]  # two that are alone
VIEWS = rng.normal(size=(20, 2, 6)).astype("float32")
TAGS = (rng.uniform(size=(20, 4)) < 0.3).astype("int32")
WEIGHTS = rng.integers(0, 3, size=20).astype("float32")


def case(cls, size=20):
    """Return targets and predictions for a class of losses."""
    y_true = TAGS if cls is losses.NPairsMultilabel else LABELS
    y_pred = VIEWS if cls in PAIRED else VIEWS[:, 0]
    return y_true[:size], y_pred[:size]


def formula(cls):
    """Return the reference of a class of losses."""
    return getattr(reference, cls().name)


def expected(cls, weights=None, **options):
    """Return the reference's values, and which of them count."""
    return formula(cls)(*case(cls), sample_weight=weights, **options)


def numpy(x):
    return ops.convert_to_numpy(x)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize(
    ("cls", "options"),
    [(cls, {}) for cls in EVERY] + [(cls, {"ignore_class": 1}) for cls in LABELLED],
)
class TestReductions:
    def test_values_equal_the_formula(self, cls, options, weights):
        values, counted = expected(cls, weights, **options)
        loss = cls(reduction="none", **options)
        np.testing.assert_allclose(
            loss(*case(cls), sample_weight=weights),
            np.where(counted, values, 0),
            rtol=1e-5,
            atol=1e-5,
        )

    def test_the_mean_is_over_those_that_count(self, cls, options, weights):
        values, counted = expected(cls, weights, **options)
        loss = cls(**options)
        mean = values.sum() / counted.sum()
        for shaped in (weights, None if weights is None else weights[:, None]):
            got = loss(*case(cls), sample_weight=shaped)
            assert float(got) == pytest.approx(mean, rel=1e-5)

    def test_the_weighted_mean_is_over_those_that_count(self, cls, options, weights):
        values, counted = expected(cls, weights, **options)
        loss = cls(reduction="mean_with_sample_weight", **options)
        total = counted.sum() if weights is None else (weights * counted).sum()
        got = loss(*case(cls), sample_weight=weights)
        assert float(got) == pytest.approx(values.sum() / total, rel=1e-5)


@pytest.mark.parametrize("cls", EVERY)
@settings(max_examples=10)
@given(kept=st.lists(st.booleans(), min_size=12, max_size=12))
def test_a_sample_of_weight_0_is_absent_for_the_others_too(cls, kept):
    y_true, y_pred = case(cls, 12)
    kept = np.array(kept)
    loss = cls(reduction="none")
    values = numpy(loss(y_true, y_pred, sample_weight=kept.astype("float32")))
    alone, _ = formula(cls)(y_true[kept], y_pred[kept])
    np.testing.assert_allclose(values[kept], alone, rtol=1e-5, atol=1e-5)
    assert not values[~kept].any()


@pytest.mark.parametrize("cls", EVERY)
@settings(max_examples=5)
@given(order=st.permutations(range(12)))
def test_the_order_of_the_samples_does_not_matter(cls, order):
    y_true, y_pred = case(cls, 12)
    loss = cls(reduction="none")
    np.testing.assert_allclose(
        loss(y_true[order], y_pred[order]),
        numpy(loss(y_true, y_pred))[order],
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("cls", LABELLED)
@settings(max_examples=5)
@given(names=st.permutations([-3, 0, 1, 5, 2**24, 2**24 + 1, 2**31 - 1, -(2**31)]))
def test_only_which_labels_are_equal_matters(cls, names):
    y_true, y_pred = case(cls, 12)
    renamed = np.unique(y_true, return_inverse=True)[1]
    np.testing.assert_array_equal(
        cls()(np.array(names, "int32")[renamed], y_pred), cls()(y_true, y_pred)
    )


@needs_tensorflow
def test_labels_of_64_bits_stay_apart():
    y_pred = VIEWS[:4, 0]
    labels = 2**60 + np.array([0, 1, 0, 1])
    loss = losses.TripletHard()
    expected = float(loss(np.array([0, 1, 0, 1]), y_pred))
    assert expected > 0
    model = keras.Sequential([keras.Input((6,)), keras.layers.Identity()])
    model.compile(loss=loss)
    assert model.evaluate(y_pred, labels, verbose=0) == pytest.approx(expected)


@pytest.mark.parametrize("cls", LABELLED)
def test_labels_of_any_dtype_and_with_an_axis(cls):
    y_true, y_pred = case(cls)
    expected = cls()(y_true, y_pred)
    for dtype in ("int8", "uint8", "int64", "float16", "float32"):
        for shaped in (y_true.astype(dtype), y_true[:, None].astype(dtype)):
            np.testing.assert_array_equal(cls()(shaped, y_pred), expected)


@pytest.mark.parametrize("cls", EVERY)
def test_absent_samples_may_hold_anything(cls):
    y_true, y_pred = case(cls)
    broken = np.where(
        (WEIGHTS == 0)[(..., *[None] * (y_pred.ndim - 1))], np.nan, y_pred
    )
    y_true = y_true.astype("float32")
    loss = cls(reduction="sum")
    expected = float(loss(y_true, y_pred, sample_weight=WEIGHTS))
    y_true[WEIGHTS == 0] = np.nan
    got = float(loss(y_true, broken, sample_weight=WEIGHTS))
    assert got == pytest.approx(expected, rel=1e-6)
    (slope,) = gradients(lambda x: loss(y_true, x, sample_weight=WEIGHTS), broken)
    assert np.isfinite(slope).all()
    assert not slope[WEIGHTS == 0].any()
    assert slope.any()


@pytest.mark.parametrize("cls", EVERY)
def test_masked_samples_are_left_out(cls):
    y_true, y_pred = case(cls)
    kept = np.arange(20) % 4 > 0
    axes = tuple(range(1, y_pred.ndim))
    blank = np.where(np.expand_dims(kept, axes), y_pred, 0)
    masked = keras.layers.Masking()(blank)
    expected = float(cls()(y_true[kept], y_pred[kept]))
    assert float(cls()(y_true, masked)) == pytest.approx(expected, rel=1e-5)
    spoiled = np.where(np.expand_dims(kept, axes), y_pred, np.nan)
    mask = ops.convert_to_tensor(kept if y_pred.ndim == 2 else kept[:, None])
    masked = Masked("float32")(ops.convert_to_tensor(spoiled), mask=mask)
    assert float(cls()(y_true, masked)) == pytest.approx(expected, rel=1e-5)


TRIPLETS = [losses.LiftedStruct, losses.TripletHard, losses.TripletSemiHard]
NOTHING = {
    "a batch of one": [(cls, *case(cls, 1), {}) for cls in EVERY],
    "ignored": [
        (cls, np.full(20, 3, "int32"), case(cls)[1], {"ignore_class": 3})
        for cls in LABELLED
    ],
    "one class": [(cls, np.zeros(20, "int32"), VIEWS[:, 0], {}) for cls in TRIPLETS],
    "no positive": [(cls, np.arange(20), VIEWS[:, 0], {}) for cls in PLAIN],
}


@pytest.mark.parametrize("kind", NOTHING)
def test_a_batch_without_pairs_is_0(kind):
    for cls, y_true, y_pred, options in NOTHING[kind]:
        loss = cls(**options)
        assert float(loss(y_true, y_pred)) == 0
        (slope,) = gradients(lambda x, loss=loss, y=y_true: loss(y, x), y_pred)
        np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize("size", [2.0**-66, 2.0**100])
@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (losses.NTXent, {}),
        (losses.SupervisedContrastive, {}),
        *((cls, {"distance": "cosine"}) for cls in TRIPLETS),
    ],
)
def test_what_is_normalised_may_be_large_or_small(cls, options, size):
    y_true, y_pred = case(cls)
    loss = cls(**options)
    each = np.where(np.arange(20) % 2, size, 1).astype("float32")
    sizes = each.reshape((-1, *[1] * (y_pred.ndim - 1)))
    expected = float(loss(y_true, y_pred))
    assert float(loss(y_true, sizes * y_pred)) == pytest.approx(expected, rel=1e-5)
    (slope,) = gradients(lambda x: loss(y_true, x), sizes * y_pred)
    (alone,) = gradients(lambda x: loss(y_true, x), y_pred)
    np.testing.assert_allclose(slope * sizes, alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [2.0**-66, 2.0**100])
@pytest.mark.parametrize("cls", [losses.TripletHard, losses.TripletSemiHard])
def test_distances_may_be_large_or_small(cls, size):
    y_true, y_pred = case(cls)
    loss = cls(margin=0.0, distance="euclidean")
    expected = size * float(loss(y_true, y_pred))
    y_pred = np.float32(size) * y_pred
    assert float(loss(y_true, y_pred)) == pytest.approx(expected, rel=1e-5)
    (slope,) = gradients(lambda x: loss(y_true, x), y_pred)
    (alone,) = gradients(lambda x: loss(y_true, x), y_pred / np.float32(size))
    np.testing.assert_allclose(slope, alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("cls", EVERY)
class TestCorners:
    def test_a_batch_without_weights(self, cls):
        y_true, y_pred = case(cls)
        zeros = np.zeros(20, "float32")
        assert float(cls()(y_true, y_pred, sample_weight=zeros)) == 0
        (slope,) = gradients(lambda x: cls()(y_true, x, sample_weight=zeros), y_pred)
        np.testing.assert_array_equal(slope, 0)

    def test_an_empty_batch(self, cls):
        loss = cls(reduction="none")
        assert numpy(loss(*case(cls, 0))).shape == (0,)

    @pytest.mark.parametrize("value", [0.0, 1.0, -300.0])
    def test_equal_embeddings(self, cls, value):
        y_true, y_pred = case(cls)
        flat = np.full_like(y_pred, value)
        assert np.isfinite(float(cls()(y_true, flat)))
        (slope,) = gradients(lambda x: cls()(y_true, x), flat)
        assert np.isfinite(slope).all()

    def test_clusters_of_equal_embeddings(self, cls):
        y_true, y_pred = case(cls)
        clusters = y_pred[LABELS % 3]
        assert np.isfinite(float(cls()(y_true, clusters)))
        (slope,) = gradients(lambda x: cls()(y_true, x), clusters)
        assert np.isfinite(slope).all()

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    def test_half_precision_is_computed_in_float32(self, cls, dtype):
        y_true, y_pred = case(cls)
        half = ops.cast(y_pred, dtype)
        loss = cls(reduction="none")
        np.testing.assert_array_equal(
            loss(y_true, half), loss(y_true, ops.cast(half, "float32"))
        )
        function = getattr(losses, loss.name)
        values = function(y_true, half)
        assert keras.backend.standardize_dtype(values.dtype) == "float32"
        np.testing.assert_allclose(loss(y_true, half), values, rtol=1e-6)

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    def test_a_loss_in_half_precision(self, cls, dtype):
        value = cls(dtype=dtype)(*case(cls), sample_weight=WEIGHTS)
        assert keras.backend.standardize_dtype(value.dtype) == dtype
        expected = cls()(*case(cls), sample_weight=WEIGHTS)
        assert float(value) == pytest.approx(float(expected), rel=0.02)

    def test_a_prediction_that_is_not_finite_is_seen(self, cls):
        y_true, y_pred = case(cls)
        broken = y_pred.copy()
        broken[5] = np.nan
        assert np.isnan(float(cls()(y_true, broken)))


@pytest.mark.parametrize("cls", EVERY)
def test_call_is_the_function(cls):
    loss = cls()
    function = getattr(losses, loss.name)
    np.testing.assert_array_equal(loss.call(*case(cls)), function(*case(cls)))


@needs_tensorflow
@pytest.mark.parametrize("cls", EVERY)
def test_a_batch_of_unknown_size(cls):
    import tensorflow as tf

    y_true, y_pred = case(cls)
    specs = [
        tf.TensorSpec((None, *array.shape[1:]), array.dtype)
        for array in (y_true, y_pred, WEIGHTS)
    ]
    loss = cls(reduction="none")
    function = tf.function(loss, input_signature=specs)
    for size in (20, 1, 0):
        arrays = y_true[:size], y_pred[:size], WEIGHTS[:size]
        np.testing.assert_allclose(
            function(*arrays), loss(*arrays), rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("cls", LABELLED)
def test_class_weights_of_0_in_fit(cls):
    y_true, y_pred = case(cls)
    dense = keras.layers.Dense(6, kernel_initializer="identity")
    model = keras.Sequential([keras.Input(y_pred.shape[1:]), dense])
    model.compile("sgd", loss=cls(reduction="sum"))
    weights = {int(label): float(label != 2) for label in np.unique(y_true)}
    history = model.fit(
        y_pred, y_true, batch_size=20, class_weight=weights, verbose=0
    ).history
    kept = y_true != 2
    expected = float(cls(reduction="sum")(y_true[kept], y_pred[kept]))
    assert history["loss"][0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("cls", LABELLED)
def test_labels_must_be_given(cls):
    with pytest.raises(ValueError, match=f"{cls().name} expects .*label.*y_true=None"):
        cls()(None, case(cls)[1])


@pytest.mark.parametrize("cls", LABELLED)
def test_a_large_label_beside_that_to_ignore_is_not_ignored(cls):
    y_true, y_pred = case(cls)
    large = np.int32(2**24) + y_true.astype("int32")
    expected = cls(ignore_class=int(y_true.min()))(y_true, y_pred)
    actual = cls(ignore_class=int(large.min()))(large, y_pred)
    np.testing.assert_array_equal(actual, expected)


WRONG = [0.5, np.nan, np.inf]


@pytest.mark.parametrize("cls", LABELLED)
def test_a_label_that_is_none_raises_when_eager(cls):
    y_true, y_pred = case(cls)
    wrong = y_true.astype("float32")
    for label in WRONG:
        wrong[4] = label
        match = f"{cls().name} expects .*integer labels. Received: .*label {label:.10g}"
        for function in (cls(), getattr(losses, cls().name)):
            with pytest.raises(ValueError, match=match):
                function(wrong, y_pred)


def value_and_gradient(loss, y_true, y_pred, weights):
    """Return both, inside of a compiled function."""
    if BACKEND == "jax":
        import jax

        return jax.value_and_grad(lambda x: loss(y_true, x, weights))(y_pred)
    import tensorflow as tf

    value = loss(y_true, y_pred, weights)
    return value, tf.gradients(value, y_pred)[0]


@pytest.mark.parametrize("cls", EVERY)
def test_compiled_it_is_the_same_and_nan_for_a_label_that_is_none(cls):
    loss = cls()
    y_true, y_pred = case(cls)
    right = y_true.astype("float32")
    both = compiled(lambda y, x, w: value_and_gradient(loss, y, x, w))
    value, slope = both(right, y_pred, WEIGHTS)
    np.testing.assert_allclose(value, loss(right, y_pred, WEIGHTS), rtol=1e-5)
    (eager,) = gradients(lambda x: loss(right, x, WEIGHTS), y_pred)
    np.testing.assert_allclose(slope, eager, rtol=1e-5, atol=1e-6)
    if cls is losses.NTXent:  # which does not read labels
        return
    for label in WRONG:
        wrong = right.copy()
        wrong[np.argmax(WEIGHTS)] = label
        value, slope = both(wrong, y_pred, WEIGHTS)
        assert np.isnan(numpy(value))
        assert np.isnan(numpy(slope)).any()


@pytest.mark.parametrize("cls", PLAIN)
def test_embeddings_of_a_wrong_rank(cls):
    match = rf"{cls().name} expects y_pred .*\(batch, dim\).*shape=\(4, 3, 2, 2\)"
    with pytest.raises(ValueError, match=match):
        cls()(np.zeros(4), np.zeros((4, 3, 2, 2)))


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5)])
@pytest.mark.parametrize("cls", PAIRED)
def test_other_than_two_embeddings_each(cls, shape):
    match = rf"{cls().name} expects y_pred .*\(batch, 2, dim\). .*{shape[1]}"
    with pytest.raises(ValueError, match=match):
        cls()(np.zeros((4, 2)), np.zeros(shape))


@pytest.mark.parametrize("shape", [(5,), (4, 3), (4, 1, 1), ()])
def test_labels_of_a_wrong_shape(shape):
    match = r"one integer label for each sample.*\(batch,\) or \(batch, 1\). Received"
    for cls in LABELLED:
        with pytest.raises(ValueError, match=match):
            cls()(np.zeros(shape), case(cls, 4)[1])


@pytest.mark.parametrize("shape", [(5,), (4, 4), (4, 1, 1), (1,)])
def test_weights_of_a_wrong_shape(shape):
    match = r"one `sample_weight` for each sample, .*Received: sample_weight.shape="
    for cls in EVERY:
        with pytest.raises(ValueError, match=match):
            cls()(*case(cls, 4), sample_weight=np.ones(shape))


@pytest.mark.parametrize("cls", EVERY)
def test_one_weight_for_all(cls):
    expected = 2 * float(cls()(*case(cls)))
    got = float(cls()(*case(cls), sample_weight=2.0))
    assert got == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("cls", LABELLED)
def test_bad_ignore_class(cls):
    with pytest.raises(ValueError, match=r"`ignore_class` must be an integer. .*1.5"):
        cls(ignore_class=1.5)


@pytest.mark.parametrize("cls", EVERY)
def test_bad_reduction(cls):
    with pytest.raises(ValueError, match="Invalid value for argument `reduction`"):
        cls(reduction="average")
