"""The CRF's loss against the sum over all sequences of tags."""

import re

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.losses import CRFNegativeLogLikelihood, crf_negative_log_likelihood
from tests.backends import compiled, gradients
from tests.layers import chains
from tests.layers.chains import EMISSIONS, MASK, MASKS, TAGS, TIME, TRUE_TAGS, WEIGHTS
from tests.layers.weights import assert_close
from tests.markers import needs_tensorflow
from tests.reference import crf as reference

BACKEND = keras.backend.backend()
rng = np.random.default_rng(4)
POTENTIALS = rng.normal(size=(6, TIME, TAGS, TAGS)).astype("float32")
LABELS = rng.integers(0, TAGS, size=(6, TIME))


def nll(*args):
    return ops.convert_to_numpy(crf_negative_log_likelihood(*args))


def expected_nll(weights=WEIGHTS):
    return [
        reference.negative_log_likelihood(one, tags, *weights, mask)
        for one, tags, mask in zip(EMISSIONS, TRUE_TAGS, MASK, strict=True)
    ]


def test_equals_the_sum_over_all_sequences():
    expected = [
        reference.log_partition_of_potentials(one) - reference.score(one, tags)
        for one, tags in zip(POTENTIALS, LABELS, strict=True)
    ]
    assert_close(nll(LABELS, POTENTIALS), expected)
    assert_close(nll(LABELS[..., None], POTENTIALS), expected)


def test_masked_steps_are_left_out():
    assert_close(nll(TRUE_TAGS, chains.crf()(EMISSIONS, mask=MASK)), expected_nll())


@pytest.mark.parametrize("unread", [-1, 99, np.nan])
def test_tags_of_masked_steps_are_not_read(unread):
    potentials = chains.crf()(EMISSIONS, mask=MASK)
    tags = np.where(MASK, TRUE_TAGS, unread).astype("float32")
    np.testing.assert_array_equal(nll(tags, potentials), nll(TRUE_TAGS, potentials))


def test_one_step_is_softmax_crossentropy():
    boundary = WEIGHTS[1] + WEIGHTS[2]
    expected = keras.losses.sparse_categorical_crossentropy(
        TRUE_TAGS[:, 0], EMISSIONS[:, 0] + boundary, from_logits=True
    )
    assert_close(nll(TRUE_TAGS[:, :1], chains.crf()(EMISSIONS[:, :1])), expected)


def test_without_transitions_the_steps_are_independent():
    zeros = [np.zeros((TAGS, TAGS), "float32")]
    expected = keras.losses.sparse_categorical_crossentropy(
        TRUE_TAGS, EMISSIONS, from_logits=True
    )
    assert_close(nll(TRUE_TAGS, chains.crf(zeros)(EMISSIONS)), np.sum(expected, axis=1))


class TestGradient:
    def test_equals_finite_differences_of_the_reference(self):
        def total(*weights):
            return sum(expected_nll(weights))

        layer = chains.crf()

        def loss(*weights):
            potentials = chains.potentials(layer, EMISSIONS, weights, MASK)
            return crf_negative_log_likelihood(TRUE_TAGS, potentials)

        weights = [weight.astype("float64") for weight in WEIGHTS]
        for weight, gradient in zip(weights, gradients(loss, *WEIGHTS), strict=True):
            for index in np.ndindex(weight.shape):
                value, sums = weight[index], []
                for moved in (value + 1e-4, value - 1e-4):
                    weight[index] = moved
                    sums.append(total(*weights))
                weight[index] = value
                slope = (sums[0] - sums[1]) / 2e-4
                assert gradient[index] == pytest.approx(slope, rel=1e-5, abs=1e-5)

    @pytest.mark.parametrize("kind", MASKS)
    def test_is_the_marginals_less_the_true_tags(self, kind):
        row = list(MASKS).index(kind)
        mask, tags = MASK[row : row + 1], TRUE_TAGS[row : row + 1]

        layer = chains.crf()

        def loss(emissions):
            return crf_negative_log_likelihood(tags, layer(emissions, mask=mask))

        (gradient,) = gradients(loss, EMISSIONS[row : row + 1])
        marginals = reference.marginals(EMISSIONS[row], *WEIGHTS, mask[0])
        kept = mask[0]
        assert_close(gradient[0][kept], marginals - np.eye(TAGS)[tags[0][kept]])
        assert np.all(gradient[0][~kept] == 0)

    @pytest.mark.parametrize("forbidden", [-32768.0, -1e9, -np.inf])
    def test_of_forbidden_tags_is_0(self, forbidden):
        potentials = POTENTIALS.copy()
        potentials[:, 1:, 0, 1] = forbidden  # never tag 1 behind tag 0
        potentials[:, 2, :, 2] = forbidden  # never tag 2 at step 2
        tags = np.array([[0, 0, 0, 2, 1]])
        potentials = potentials[:1]
        expected = reference.log_partition_of_potentials(potentials[0])
        expected -= reference.score(potentials[0], tags[0])
        assert_close(nll(tags, potentials), [expected])
        (gradient,) = gradients(
            lambda x: crf_negative_log_likelihood(tags, x), potentials
        )
        assert np.isfinite(gradient).all()
        assert np.all(gradient[potentials == forbidden] == 0)

    def test_sums_to_0_at_every_step_of_a_long_sequence(self):
        long = 3 * rng.normal(size=(1, 2000, TAGS, TAGS)).astype("float32")
        tags = rng.integers(0, TAGS, size=(1, 2000))
        (gradient,) = gradients(lambda x: crf_negative_log_likelihood(tags, x), long)
        np.testing.assert_allclose(gradient.sum(axis=(2, 3)), 0, atol=1e-6)


def test_a_small_loss_of_a_long_sequence_keeps_its_digits():
    time = 2000
    tags = rng.integers(0, TAGS, size=(1, time))
    emissions = 9.0 * np.eye(TAGS, dtype="float32")[tags]
    zeros = [np.zeros((TAGS, TAGS), "float32")]
    expected = time * np.log1p((TAGS - 1) * np.exp(-9.0))
    value = nll(tags, chains.crf(zeros)(emissions))[0]
    assert value == pytest.approx(expected, rel=1e-3)  # both sums are about 18,000


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    half = ops.cast(chains.crf()(EMISSIONS, mask=MASK), dtype)
    values = crf_negative_log_likelihood(TRUE_TAGS, half)
    assert keras.backend.standardize_dtype(values.dtype) == "float32"
    full = ops.cast(half, "float32")
    np.testing.assert_array_equal(values, nll(TRUE_TAGS, full))
    assert_close(values, expected_nll(), 0.05)


@pytest.mark.skipif(BACKEND == "jax", reason="JAX has float64 only where enabled")
def test_float64():
    layer = chains.crf(dtype="float64")
    values = crf_negative_log_likelihood(
        TRUE_TAGS, layer(EMISSIONS.astype("float64"), mask=MASK)
    )
    assert values.dtype == "float64"
    assert_close(values, expected_nll(), 1e-13)


@pytest.mark.parametrize("time", [1, TIME])
def test_xla_gives_the_same_values_and_gradients(time):
    emissions, mask, tags = (x[:, :time] for x in (EMISSIONS, MASK, TRUE_TAGS))
    layer = chains.crf()

    def loss(emissions):
        return crf_negative_log_likelihood(tags, layer(emissions, mask=mask))

    assert_close(compiled(loss)(emissions), loss(emissions), 1e-6)
    (expected,) = gradients(loss, emissions)
    if BACKEND == "jax":
        import jax

        actual = jax.jit(jax.grad(lambda x: ops.sum(loss(x))))(emissions)
    else:
        import tensorflow as tf

        actual = tf.function(
            lambda x: tf.gradients(tf.reduce_sum(loss(x)), x)[0], jit_compile=True
        )(tf.constant(emissions))
    assert_close(actual, expected, 1e-6)


@needs_tensorflow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_one_graph_for_batches_of_any_size_and_length(jit_compile):
    import tensorflow as tf

    def gradient(tags, potentials):
        return tf.gradients(crf_negative_log_likelihood(tags, potentials), potentials)

    of_any_size = tf.function(
        gradient,
        input_signature=[
            tf.TensorSpec((None, None), "int64"),
            tf.TensorSpec((None, None, TAGS, TAGS)),
        ],
        jit_compile=jit_compile,
    )
    for batch, time in [(6, TIME), (2, 1), (1, 2)]:
        tags, potentials = LABELS[:batch, :time], POTENTIALS[:batch, :time]
        (expected,) = gradients(
            lambda x, tags=tags: crf_negative_log_likelihood(tags, x), potentials
        )
        assert_close(of_any_size(tags, potentials)[0], expected, 1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("reduction", "divide"),
    [
        ("sum_over_batch_size", lambda weights: len(weights)),
        ("sum", lambda weights: 1),
        ("mean_with_sample_weight", np.sum),
        ("none", None),
    ],
)
def test_reductions_count_sequences(reduction, divide, weighted):
    potentials = chains.crf()(EMISSIONS, mask=MASK)
    weights = np.arange(len(MASK), dtype="float32") if weighted else np.ones(len(MASK))
    value = CRFNegativeLogLikelihood(reduction=reduction)(
        TRUE_TAGS, potentials, sample_weight=weights if weighted else None
    )
    expected = weights * expected_nll()
    if divide is not None:
        divisor = divide(weights) if weighted else divide(np.ones(len(MASK)))
        weighted_mean = reduction == "mean_with_sample_weight" and not weighted
        expected = expected.sum() / (len(MASK) if weighted_mean else divisor)
    assert_close(value, expected)


@pytest.mark.parametrize("shape", [(TIME, TIME), (TIME, TIME, 1), (1, TIME)])
def test_weights_of_single_steps_are_refused(shape):
    loss = CRFNegativeLogLikelihood(name="chain")
    match = (
        r"chain expects one `sample_weight` for each sequence, of shape \(batch,\) or "
        rf"\(batch, 1\). Received: sample_weight.shape={re.escape(str(shape))}. Mask "
        "the steps to leave out"
    )
    with pytest.raises(ValueError, match=match):
        loss(LABELS[:TIME], POTENTIALS[:TIME], sample_weight=np.ones(shape))


def test_weights_of_sequences_may_be_a_column():
    loss, weights = CRFNegativeLogLikelihood(), np.arange(6, dtype="float32")
    column = loss(LABELS, POTENTIALS, sample_weight=weights[:, None])
    assert_close(column, loss(LABELS, POTENTIALS, sample_weight=weights))
    assert_close(column, np.mean(weights * nll(LABELS, POTENTIALS)))


def test_weights_of_single_steps_are_refused_in_fit():
    model = keras.Sequential([keras.Input((None, TAGS)), chains.crf()])
    model.compile("sgd", loss=CRFNegativeLogLikelihood())
    batch = EMISSIONS[:TIME], TRUE_TAGS[:TIME].astype("int32")
    with pytest.raises(ValueError, match="one `sample_weight` for each sequence"):
        model.fit(*batch, sample_weight=np.ones((TIME, TIME)), verbose=0)
    model.fit(*batch, sample_weight=np.ones(TIME), verbose=0)


def test_scores_below_those_of_a_masked_step_are_kept():
    np.testing.assert_array_equal(nll(np.array([[1, 1, 1]]), chains.FAR_BELOW), [0])


def test_a_sequence_that_is_masked_as_a_whole_is_0():
    potentials = chains.crf()(EMISSIONS, mask=np.zeros_like(MASK))
    np.testing.assert_array_equal(nll(TRUE_TAGS, potentials), 0)
    (gradient,) = gradients(
        lambda x: crf_negative_log_likelihood(TRUE_TAGS, x), potentials
    )
    np.testing.assert_array_equal(gradient, 0)


def test_empty_batch():
    assert nll(LABELS[:0], POTENTIALS[:0]).shape == (0,)


WRONG = [-1, TAGS, 0.5, np.nan]


@pytest.mark.parametrize("label", WRONG)
def test_a_wrong_tag_raises_when_eager(label):
    tags = LABELS.astype("float32")
    tags[2, 1] = label
    match = (
        f"expects `y_true` to hold class labels, whole numbers from 0 to {TAGS - 1}. "
        f"Received: y_true with a label {label:.10g}. Mask steps without a tag"
    )
    with pytest.raises(ValueError, match=match):
        nll(tags, POTENTIALS)


@pytest.mark.parametrize("jit_compile", [True] if BACKEND == "jax" else [False, True])
def test_a_wrong_tag_is_nan_when_compiled(jit_compile):
    model = keras.Sequential([keras.Input((None, TAGS)), chains.crf()])
    model.compile("sgd", loss=CRFNegativeLogLikelihood(), jit_compile=jit_compile)
    for label in WRONG:
        tags = TRUE_TAGS.astype("float32")
        tags[2, 1] = label
        assert np.isnan(model.test_on_batch(EMISSIONS, tags))
        model.reset_metrics()
    assert np.isfinite(model.train_on_batch(EMISSIONS, TRUE_TAGS))
    assert np.isnan(model.train_on_batch(EMISSIONS, tags))
    assert np.isnan(ops.convert_to_numpy(model.weights[0])).all()


@pytest.mark.parametrize(
    ("y_true", "y_pred", "match"),
    [
        ((4, 5), (4, 5, 3), r"potentials of `keras_ext.layers.CRF`.*\(4, 5, 3\)"),
        ((4, 5), (4, 5, 3, 2), r"potentials of `keras_ext.layers.CRF`.*\(4, 5, 3, 2\)"),
        (
            (4, 6),
            (4, 5, 3, 3),
            r"y_pred of shape \(4, 5, 3, 3\) .* y_true of shape \(4, 5\). .*=\(4, 6\)",
        ),
        ((4, 6, 1), (4, 5, 3, 3), r"one integer tag .*y_true.shape=\(4, 6, 1\)"),
        ((4,), (4, 5, 3, 3), r"one integer tag .*y_true.shape=\(4,\)"),
        ((4, 5, 3), (4, 5, 3, 3), r"one integer tag .*y_true.shape=\(4, 5, 3\)"),
    ],
)
def test_bad_shapes(y_true, y_pred, match):
    with pytest.raises(ValueError, match=match):
        nll(np.zeros(y_true), np.zeros(y_pred, "float32"))


def test_labels_that_half_precision_cannot_tell_apart():
    with pytest.raises(ValueError, match=r"can represent 300 classes.*bfloat16"):
        CRFNegativeLogLikelihood(dtype="bfloat16")(
            np.zeros((1, 1)), np.zeros((1, 1, 300, 300), "float32")
        )


def test_config_keeps_every_argument():
    loss = CRFNegativeLogLikelihood(reduction="sum", name="tags", dtype="float64")
    assert loss.get_config() == {
        "name": "tags",
        "reduction": "sum",
        "dtype": "float64",
    }
