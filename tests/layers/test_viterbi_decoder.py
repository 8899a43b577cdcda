"""Viterbi's algorithm against a search through all sequences of tags."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.layers import ViterbiDecoder, viterbi_decode
from keras_ext.losses import crf_negative_log_likelihood
from tests.backends import compiled
from tests.layers import chains
from tests.layers.chains import EMISSIONS, MASK, TAGS, TIME, WEIGHTS
from tests.layers.weights import assert_close
from tests.markers import needs_tensorflow
from tests.reference import crf as reference

POTENTIALS = np.random.default_rng(6).normal(size=(8, TIME, TAGS, TAGS))
POTENTIALS = POTENTIALS.astype("float32")


def decode(potentials):
    return [ops.convert_to_numpy(x) for x in viterbi_decode(potentials)]


def search(potentials):
    """Return the best of all paths, and its score."""
    time, tags, _ = potentials.shape
    paths = list(itertools.product(range(tags), repeat=time))
    scores = [reference.score(potentials, path) for path in paths]
    return paths[np.argmax(scores)], max(scores)


def carried_on(tags, mask):
    """Return the tags of the kept steps, repeated at the masked ones, first 0."""
    output, tags = [0], iter(tags)
    for kept in mask:
        output.append(next(tags) if kept else output[-1])
    return output[1:]


def test_finds_the_best_of_all_paths():
    tags, scores = decode(POTENTIALS)
    assert tags.dtype == "int32"
    for one, path, score in zip(POTENTIALS, tags, scores, strict=True):
        best, best_score = search(one)
        assert tuple(path) == best
        assert score == pytest.approx(best_score, rel=1e-5)


def test_masked_steps_are_left_out_and_repeat_the_tag_before():
    tags, scores = decode(chains.crf()(EMISSIONS, mask=MASK))
    for row, mask in enumerate(MASK):
        best, score = reference.best_path(EMISSIONS[row], *WEIGHTS, mask)
        assert list(tags[row]) == carried_on(best, mask)
        assert scores[row] == pytest.approx(score, rel=1e-5, abs=1e-6)


def test_no_other_tags_have_a_lower_loss():
    potentials = chains.crf()(EMISSIONS, mask=MASK)
    best = crf_negative_log_likelihood(viterbi_decode(potentials)[0], potentials)
    some = np.random.default_rng(0).integers(0, TAGS, size=(50 * len(MASK), TIME))
    losses = crf_negative_log_likelihood(some, ops.tile(potentials, (50, 1, 1, 1)))
    losses = ops.convert_to_numpy(losses).reshape(50, -1)
    assert np.all(losses >= ops.convert_to_numpy(best) - 1e-6)


def test_of_equal_scores_the_lowest_tag_wins():
    np.testing.assert_array_equal(decode(np.zeros((1, 4, 3, 3)))[0], 0)


@pytest.mark.parametrize("forbidden", [-32768.0, -1e9, -np.inf])
def test_forbidden_pairs_are_avoided_across_masked_steps(forbidden):
    transitions = np.array([[0, forbidden], [0, forbidden]], "float32")
    emissions = np.array([[[0, 9], [0, 9], [0, 9], [9, 0]]], "float32")
    mask = np.array([[True, False, True, True]])
    tags, _ = decode(chains.crf([transitions])(emissions, mask=mask))
    np.testing.assert_array_equal(tags, [[1, 1, 0, 0]])


def test_scores_below_those_of_a_masked_step_are_kept():
    tags, scores = decode(chains.FAR_BELOW)
    np.testing.assert_array_equal(tags, [[1, 1, 1]])
    np.testing.assert_array_equal(scores, [-40000])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_half_precision_is_computed_in_float32(dtype, policy):
    layer = ViterbiDecoder(dtype=policy)
    half = ops.cast(POTENTIALS, dtype)
    expected, scores = decode(ops.cast(half, "float32"))
    np.testing.assert_array_equal(layer(half), expected)
    np.testing.assert_array_equal(decode(half)[1], scores)


def test_a_policy_of_half_precision_does_not_round_the_potentials():
    potentials = np.array([[[[1.0, 1.00001], [0.0, 0.0]]]], "float32")
    np.testing.assert_array_equal(ViterbiDecoder(dtype="float16")(potentials), [[1]])


@pytest.mark.parametrize("time", [1, TIME])
def test_xla_gives_the_same(time):
    potentials = POTENTIALS[:, :time]
    tags, scores = compiled(viterbi_decode)(potentials)
    np.testing.assert_array_equal(tags, decode(potentials)[0])
    assert_close(scores, decode(potentials)[1], 1e-6)


@needs_tensorflow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_one_graph_for_batches_of_any_size_and_length(jit_compile):
    import tensorflow as tf

    of_any_size = tf.function(
        viterbi_decode,
        input_signature=[tf.TensorSpec((None, None, TAGS, TAGS))],
        jit_compile=jit_compile,
    )
    for batch, time in [(8, TIME), (2, 1), (1, 2)]:
        potentials = POTENTIALS[:batch, :time]
        np.testing.assert_array_equal(of_any_size(potentials)[0], decode(potentials)[0])


def test_in_a_model_for_inference():
    emissions = keras.Input((None, TAGS))
    mask = keras.Input((None,), dtype="bool")
    potentials = chains.crf()(emissions, mask=mask)
    model = keras.Model([emissions, mask], ViterbiDecoder()(potentials))
    assert model.output.shape == (None, None)
    assert model.output.dtype == "int32"
    np.testing.assert_array_equal(
        model.predict([EMISSIONS, MASK], batch_size=3, verbose=0),
        decode(chains.crf()(EMISSIONS, mask=MASK))[0],
    )


@pytest.mark.parametrize("forbidden", [-32768.0, -np.inf])
def test_unrolled_steps_give_the_same(forbidden):
    potentials = ops.convert_to_numpy(chains.crf()(EMISSIONS, mask=MASK))
    potentials = np.where(potentials < potentials.mean() - 1, forbidden, potentials)
    for one in (POTENTIALS, potentials, POTENTIALS[:, :1], POTENTIALS[:0]):
        expected = decode(one)
        unrolled = viterbi_decode(one, unroll=True)
        np.testing.assert_array_equal(unrolled[0], expected[0])
        np.testing.assert_array_equal(unrolled[1], expected[1])
    np.testing.assert_array_equal(ViterbiDecoder(unroll=True)(one), expected[0])


def test_an_unknown_length_cannot_be_unrolled():
    potentials = keras.Input((None, TAGS, TAGS))
    with pytest.raises(ValueError, match=r"number of steps.*\(None, None, 3, 3\)"):
        ViterbiDecoder(unroll=True)(potentials)
    with pytest.raises(ValueError, match=r"number of steps.*\(4, 0, 3, 3\)"):
        viterbi_decode(np.zeros((4, 0, 3, 3)), unroll=True)


def test_empty_batch():
    assert decode(POTENTIALS[:0])[0].shape == (0, TIME)


@pytest.mark.parametrize(
    ("shape", "match"),
    [
        ((4, 5, 3), r"potentials of `keras_ext.layers.CRF`.*\(4, 5, 3\)"),
        ((4, 5, 3, 2), r"potentials of `keras_ext.layers.CRF`.*shape=\(4, 5, 3, 2\)"),
    ],
)
def test_bad_shapes(shape, match):
    with pytest.raises(ValueError, match="viterbi_decode expects .*" + match):
        viterbi_decode(np.zeros(shape))
    with pytest.raises(ValueError, match="tags expects .*" + match):
        ViterbiDecoder(name="tags")(np.zeros(shape))
    with pytest.raises(ValueError, match="tags expects .*" + match):
        ViterbiDecoder(name="tags")(keras.Input(batch_shape=shape))
