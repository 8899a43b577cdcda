import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.layers import StochasticDepth
from tests.markers import needs_tensorflow
from tests.reference.blocks import stochastic_depth_scale


def _train(layer, x):
    return ops.convert_to_numpy(ops.cast(layer(x, training=True), "float32"))


def _assert_fraction(kept, probability):
    """Five standard deviations: wrong by chance once in two million runs."""
    deviation = np.sqrt(probability * (1 - probability) / kept.size)
    assert abs(kept.mean() - probability) < 5 * deviation


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_keeps_samples_with_the_right_probability_and_scale(rate):
    y = _train(StochasticDepth(rate, seed=5), np.ones((20_000, 3), "float32"))
    kept = y[:, 0] != 0
    _assert_fraction(kept, 1 - rate)
    np.testing.assert_allclose(y[kept], stochastic_depth_scale(rate), rtol=1e-6)
    assert np.all(y[~kept] == 0)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_does_not_round_the_rate(policy):
    layer = StochasticDepth(0.01, seed=5, dtype=policy)
    y = _train(layer, np.ones((100_000, 1), "float32"))
    _assert_fraction(y != 0, 0.99)


@pytest.mark.parametrize("shape", [(64,), (64, 2), (64, 2, 3), (64, 2, 2, 2, 2)])
def test_drops_whole_samples_of_any_rank(shape):
    y = _train(StochasticDepth(0.5, seed=5), np.ones(shape, "float32"))
    flat = y.reshape(64, -1)
    assert set(np.unique(flat)) == {0.0, 2.0}
    assert np.all(flat == flat[:, :1])


def test_is_the_identity_at_inference_and_at_rate_0():
    x = np.random.default_rng(0).normal(size=(50, 3)).astype("float32")
    np.testing.assert_array_equal(StochasticDepth(0.5)(x), x)
    np.testing.assert_array_equal(StochasticDepth(0.5)(x, training=False), x)
    np.testing.assert_array_equal(StochasticDepth(0.0)(x, training=True), x)


def test_empty_batch():
    assert _train(StochasticDepth(0.5), np.ones((0, 3), "float32")).shape == (0, 3)


def test_a_seed_fixes_the_draws_and_each_call_draws_anew():
    x = np.ones((200, 1), "float32")
    layer = StochasticDepth(0.5, seed=5)
    again = StochasticDepth.from_config(layer.get_config())
    first, second = _train(layer, x), _train(layer, x)
    np.testing.assert_array_equal(_train(again, x), first)
    np.testing.assert_array_equal(_train(again, x), second)
    assert not np.array_equal(first, second)
    assert not np.array_equal(_train(StochasticDepth(0.5, seed=6), x), first)


def test_without_a_seed_the_global_one_counts():
    x = np.ones((200, 1), "float32")
    draws = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        draws.append(_train(StochasticDepth(0.5), x))
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


def test_its_random_state_is_among_its_variables():
    layer = StochasticDepth(0.5, seed=5)
    assert [v is layer.seed_generator.state for v in layer.variables] == [True]
    assert layer.weights == []


def test_masks_pass_through():
    x = keras.layers.Masking()(np.array([[[1.0], [0.0]], [[2.0], [3.0]]], "float32"))
    y = StochasticDepth(0.5)(x)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(y._keras_mask), [[True, False], [True, True]]
    )


def test_training_follows_the_model():
    model = keras.Sequential([keras.Input((2,)), StochasticDepth(0.5, seed=5)])
    x = np.ones((100, 2), "float32")
    assert set(np.unique(ops.convert_to_numpy(model(x, training=True)))) == {0, 2}
    np.testing.assert_array_equal(ops.convert_to_numpy(model(x)), x)


@needs_tensorflow
def test_a_dropped_sample_forgets_what_is_not_finite():
    import tensorflow as tf

    x = tf.constant([[np.inf], [np.nan]] * 50)
    layer = StochasticDepth(0.5, seed=5)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    dropped = y.numpy() == 0
    assert 0 < dropped.sum() < 100
    gradient = tape.gradient(y, x).numpy()
    np.testing.assert_array_equal(gradient, np.where(dropped, 0.0, 2.0))


@needs_tensorflow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_with_an_unknown_batch_size_it_draws_anew(jit_compile):
    import tensorflow as tf

    layer = StochasticDepth(0.5, seed=5)
    layer(np.ones((1, 2), "float32"))
    train = tf.function(
        lambda x: layer(x, training=True),
        input_signature=[tf.TensorSpec((None, 2))],
        jit_compile=jit_compile,
    )
    first, second = (train(np.ones((500, 2), "float32")).numpy() for _ in range(2))
    _assert_fraction(first[:, 0] != 0, 0.5)
    assert not np.array_equal(first, second)
    assert train(np.ones((7, 2), "float32")).shape == (7, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 1}, r"`rate` must be a finite number in \[0, 1\).*rate=1"),
        ({"rate": -0.1}, r"`rate` must be .*rate=-0.1"),
        ({"rate": float("nan")}, r"`rate` must be .*rate=nan"),
        ({"rate": "0.5"}, r"`rate` must be .*rate='0.5'"),
        ({"rate": True}, r"`rate` must be .*rate=True"),
        ({"rate": 0.5, "seed": 1.5}, r"`seed` must be an integer.*seed=1.5"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        StochasticDepth(**options)
