"""The CRF layer against its definition, and in training with its loss and decoder."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_ext
from keras_ext.layers import CRF, ViterbiDecoder, viterbi_decode
from keras_ext.losses import CRFNegativeLogLikelihood, crf_negative_log_likelihood
from tests.backends import gradients
from tests.layers import chains
from tests.layers.chains import EMISSIONS, MASK, MASKS, TAGS, TIME, TRUE_TAGS, WEIGHTS
from tests.layers.weights import assert_close
from tests.markers import needs_tensorflow
from tests.reference import crf as reference

JAX = keras.backend.backend() == "jax"


def numpy(x):
    return ops.convert_to_numpy(x)


def test_potentials_are_those_of_the_definition():
    for mask, given in [(np.ones_like(MASK), None), (MASK, MASK)]:
        actual = chains.crf()(EMISSIONS, mask=given)
        expected = [
            reference.potentials(one, *WEIGHTS, kept)
            for one, kept in zip(EMISSIONS, mask, strict=True)
        ]
        assert_close(actual, expected)


def test_without_boundary_start_and_end_are_0():
    zeros = np.zeros(TAGS)
    expected = [
        reference.potentials(one, WEIGHTS[0], zeros, zeros, mask)
        for one, mask in zip(EMISSIONS, MASK, strict=True)
    ]
    layer = chains.crf(WEIGHTS[:1])
    assert [weight.name for weight in layer.weights] == ["transitions"]
    assert_close(layer(EMISSIONS, mask=MASK), expected)


@pytest.mark.parametrize("kind", [kind for kind in MASKS if any(MASKS[kind])])
def test_masked_sequences_equal_the_same_sequences_without_the_steps(kind):
    row = list(MASKS).index(kind)
    kept = MASK[row]
    layer = chains.crf()

    def loss(emissions, tags, mask, *weights):
        potentials = chains.potentials(layer, emissions, weights, mask)
        return crf_negative_log_likelihood(tags, potentials)

    def everything(steps, mask):
        emissions, tags = EMISSIONS[row, steps][None], TRUE_TAGS[row, steps][None]
        value = numpy(loss(emissions, tags, mask, *WEIGHTS))
        of_emissions, *others = gradients(
            lambda emissions, *weights: loss(emissions, tags, mask, *weights),
            emissions,
            *WEIGHTS,
        )
        path, score = viterbi_decode(layer(emissions, mask=mask))
        return value, of_emissions[0], others, numpy(path)[0], numpy(score)

    value, of_emissions, others, path, score = everything(
        np.arange(TIME), MASK[row : row + 1]
    )
    expected = everything(np.flatnonzero(kept), None)
    assert_close(value, expected[0], 1e-6)
    assert_close(of_emissions[kept], expected[1], 1e-6)
    assert np.all(of_emissions[~kept] == 0)
    for actual, other in zip(others, expected[2], strict=True):
        assert_close(actual, other, 1e-6)
    np.testing.assert_array_equal(path[kept], expected[3])
    assert_close(score, expected[4], 1e-6)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_what_is_not_finite_at_masked_steps_is_not_seen(broken):
    emissions = np.where(MASK[..., None], EMISSIONS, np.float32(broken))
    layer = chains.crf()

    def loss(emissions, *weights):
        potentials = chains.potentials(layer, emissions, weights, MASK)
        return crf_negative_log_likelihood(TRUE_TAGS, potentials)

    assert_close(loss(emissions, *WEIGHTS), loss(EMISSIONS, *WEIGHTS), 0)
    for actual, expected in zip(
        gradients(loss, emissions, *WEIGHTS),
        gradients(loss, EMISSIONS, *WEIGHTS),
        strict=True,
    ):
        np.testing.assert_array_equal(actual, expected)


WORDS = np.array([[3, 4, 5, 1], [2, 6, 0, 0], [0, 0, 7, 1], [0, 8, 0, 2], [0, 0, 0, 0]])


def tagger():
    """Return a model from words to potentials, and the same one to tags."""
    words = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 4, mask_zero=True)(words)
    x = keras.layers.LSTM(4, return_sequences=True)(x)
    potentials = CRF(TAGS)(keras.layers.Dense(TAGS)(x))
    return keras.Model(words, potentials), keras.Model(
        words, ViterbiDecoder()(potentials)
    )


def test_takes_the_mask_that_keras_hands_on_and_hands_on_none():
    model, _ = tagger()
    emissions = keras.Model(model.input, model.layers[-2].output)(WORDS)
    layer = model.layers[-1]
    potentials = model(WORDS)
    explicit = layer(ops.convert_to_tensor(numpy(emissions)), mask=WORDS != 0)
    np.testing.assert_array_equal(numpy(potentials), numpy(explicit))
    assert getattr(potentials, "_keras_mask", None) is None
    assert np.all(numpy(potentials)[4] == reference.FORBIDDEN * (1 - np.eye(TAGS)))


def test_a_padded_sentence_is_tagged_as_without_padding():
    model, tags = tagger()
    loss = CRFNegativeLogLikelihood()
    for padded, words in [
        (WORDS[1:2], WORDS[1:2, :2]),
        (WORDS[2:3], WORDS[2:3, 2:]),
        (WORDS[3:4], WORDS[3:4, [1, 3]]),
    ]:
        true = np.where(padded == 0, -1, padded % TAGS)
        expected = loss(words % TAGS, model(words))
        assert_close(loss(true, model(padded)), expected, 1e-6)
        found = numpy(tags(padded))[padded != 0]
        np.testing.assert_array_equal(found, numpy(tags(words))[0])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_half_precision_masks_are_exact(policy):
    potentials = chains.crf(dtype=policy)(EMISSIONS, mask=MASK)
    masked = numpy(ops.cast(potentials, "float32"))[~MASK]
    assert np.all(masked == reference.FORBIDDEN * (1 - np.eye(TAGS)))


class TestTraining:
    """Tags that the words tell badly, in an order that is strict: 0 1 2 0 1 2 ..."""

    time, samples = 12, 200

    def _data(self):
        rng = np.random.default_rng(2)
        steps = np.arange(self.time)
        tags = (rng.integers(0, TAGS, size=(self.samples, 1)) + steps) % TAGS
        told = rng.random(tags.shape) < 0.6
        words = 1 + np.where(told, tags, rng.integers(0, TAGS, size=tags.shape))
        lengths = rng.integers(2, self.time + 1, size=(self.samples, 1))
        return np.where(steps < lengths, words, 0).astype("int32"), tags.astype("int32")

    def _models(self):
        words = keras.Input((None,), dtype="int32")
        emissions = keras.layers.Embedding(TAGS + 1, TAGS, mask_zero=True)(words)
        potentials = CRF(TAGS)(emissions)
        return [
            keras.Model(words, output)
            for output in (potentials, ViterbiDecoder()(potentials), emissions)
        ]

    # Without jit_compile, Keras runs JAX models eagerly.
    @pytest.mark.parametrize("jit_compile", [True] if JAX else [False, True])
    def test_learns_which_tags_follow_each_other(self, jit_compile):
        keras.utils.set_random_seed(3)
        words, tags = self._data()
        model, decoder, emissions = self._models()
        model.compile(
            keras.optimizers.Adam(0.1),
            loss=CRFNegativeLogLikelihood(),
            jit_compile=jit_compile,
        )
        history = model.fit(words, tags, batch_size=100, epochs=15, verbose=0)
        assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]

        kept = words != 0
        found = decoder.predict(words, verbose=0)
        single = emissions.predict(words, verbose=0).argmax(axis=-1)
        right, right_single = (np.mean((x == tags)[kept]) for x in (found, single))
        assert right_single < 0.78  # 11 of 15 words are their tags
        assert right > 0.9
        wrong, wrong_single = (
            np.mean((x[:, 1:] != (x[:, :-1] + 1) % TAGS)[kept[:, 1:]])
            for x in (found, single)
        )
        assert wrong_single > 0.3
        assert wrong < 0.01

    @needs_tensorflow
    def test_fit_trainer_and_a_loop_by_hand_train_alike(self):
        import tensorflow as tf

        words, tags = self._data()
        loss = CRFNegativeLogLikelihood()
        trained = []
        for way in ("fit", "Trainer", "Trainer in XLA", "by hand"):
            keras.utils.set_random_seed(3)
            model = self._models()[0]
            optimizer = keras.optimizers.SGD(0.1)
            options = {
                "optimizer": optimizer,
                "loss": loss,
                "jit_compile": way.endswith("XLA"),
            }
            if way == "by hand":
                for _ in range(3):
                    with tf.GradientTape() as tape:
                        value = loss(tags, model(words, training=True))
                    variables = model.trainable_variables
                    optimizer.apply(tape.gradient(value, variables), variables)
            else:
                fitted = keras_ext.Trainer(model) if "Trainer" in way else model
                fitted.compile(**options)
                fitted.fit(words, tags, batch_size=len(words), epochs=3, verbose=0)
            trained.append(model.get_weights())
        for other in trained[1:]:
            for one, two in zip(trained[0], other, strict=True):
                assert_close(one, two, 1e-5)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"num_tags": 0}, "`num_tags` must be a positive integer. .*num_tags=0"),
        ({"num_tags": 2.5}, "`num_tags` must be a positive integer. .*num_tags=2.5"),
        ({"use_boundary": "no"}, "`use_boundary` must be one of True, False.*='no'"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        CRF(**{"num_tags": 3, **arguments})


@pytest.mark.parametrize(
    ("shape", "match"),
    [
        ((4, 3), r"chain expects an input of rank 3, shaped \(batch, time, tags\)"),
        ((4, 5, 2), r"chain expects a score .* 3 tags.*\(4, 5, 2\).*`.*Dense\(3\)`"),
        ((4, 5, None), r"chain expects a score .*shape=\(4, 5, None\)"),
    ],
)
def test_bad_input_shapes(shape, match):
    with pytest.raises(ValueError, match=match):
        CRF(3, name="chain").build(shape)


@pytest.mark.parametrize("shape", [(7, 4), (7, 5, 1), (7,), (1, 5)])
def test_a_mask_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"mask of shape \(batch, time\).*mask.shape="):
        chains.crf()(EMISSIONS, mask=np.ones(shape, bool))


def test_one_initializer_draws_other_numbers_for_the_end():
    layer = CRF(3, boundary_initializer=keras.initializers.RandomNormal())
    layer.build((None, None, 3))
    assert not np.array_equal(numpy(layer.start), numpy(layer.end))
