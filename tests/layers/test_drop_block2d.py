import functools

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.layers import DropBlock2D
from tests.backends import gradients
from tests.layers.weights import assert_close, images
from tests.reference.pooling import (
    drop_block_gamma,
    drop_block_kept,
    drop_block_scale,
)
from tests.slopes import needs_unknown_sizes

BLOCKS = [1, 2, 3, (5, 2), (4, 20), 7, 100]


def _train(layer, x):
    return ops.convert_to_numpy(ops.cast(layer(x, training=True), "float32"))


def _capped(block_size, size):
    pair = (block_size, block_size) if isinstance(block_size, int) else block_size
    return [min(block, length) for block, length in zip(pair, size, strict=True)]


def _expected(x, rate, block_size, seed):
    """What the reference makes of the draw that the layer makes."""
    batch, height, width, channels = x.shape
    blocks = _capped(block_size, (height, width))
    places = (batch, height - blocks[0] + 1, width - blocks[1] + 1, channels)
    draw = keras.random.uniform(places, seed=keras.random.SeedGenerator(seed))
    gamma = drop_block_gamma(rate, block_size, height, width)
    corners = ops.convert_to_numpy(draw) < gamma
    output = np.zeros(x.shape)
    for n in range(batch):
        maps = [drop_block_kept(corners[n, ..., c], blocks) for c in range(channels)]
        kept = np.stack(maps, axis=-1)
        output[n] = np.where(kept, x[n], 0) * drop_block_scale(kept)
    return output


@pytest.mark.parametrize("block_size", BLOCKS)
def test_equals_the_reference(block_size):
    x = images(3, 9, 8, 4)
    layer = DropBlock2D(0.4, block_size, seed=5)
    assert_close(_train(layer, x), _expected(x, 0.4, block_size, seed=5))


@pytest.mark.parametrize(
    ("size", "block_size", "rate"),
    [((24, 20), 3, 0.1), ((24, 20), (5, 1), 0.05), ((6, 7), 7, 0.3)],
)
def test_about_rate_of_the_pixels_is_dropped(size, block_size, rate):
    samples, channels = 200, 8
    x = np.ones((samples, *size, channels), "float32")
    dropped = (_train(DropBlock2D(rate, block_size, seed=5), x) == 0).mean((1, 2))
    blocks = _capped(block_size, size)
    gamma = drop_block_gamma(rate, block_size, *size)
    # The corners of the blocks that can cover a pixel: those that lie in the image.
    counts = [
        [min(i + 1, b, n - b + 1, n - i) for i in range(n)]
        for b, n in zip(blocks, size, strict=True)
    ]
    expected = np.mean(1 - (1 - gamma) ** np.outer(*counts))
    # Maps are independent: five standard deviations of their mean.
    assert abs(dropped.mean() - expected) < 5 * dropped.std() / np.sqrt(dropped.size)
    assert expected <= rate + 1e-9


def test_every_sample_and_every_channel_has_blocks_of_its_own():
    x = np.ones((4, 12, 12, 4), "float32")
    dropped = _train(DropBlock2D(0.6, 3, seed=5), x) == 0
    maps = np.moveaxis(dropped, -1, 1).reshape(16, -1)
    assert len(np.unique(maps, axis=0)) == 16


def test_the_sum_over_a_sample_of_ones_stays():
    x = np.ones((20, 8, 8, 4), "float32")
    y = _train(DropBlock2D(0.3, 3, seed=5), x)
    assert_close(y.sum((1, 2, 3)), np.full(20, 256.0))
    assert len(np.unique(y)) > 10, "each sample has a scale of its own"


def test_is_the_identity_at_inference_and_at_rate_0():
    x = images(2, 8, 8, 3)
    np.testing.assert_array_equal(DropBlock2D(0.5)(x), x)
    np.testing.assert_array_equal(DropBlock2D(0.5)(x, training=False), x)
    np.testing.assert_array_equal(DropBlock2D(0)(x, training=True), x)


def test_a_sample_that_is_dropped_altogether_is_0_and_has_no_gradient():
    x = np.full((40, 2, 2, 1), np.inf, "float32")
    x[::2] = 3
    y = _train(DropBlock2D(0.7, 2, seed=5), x)
    gone = y[:, 0, 0, 0] == 0
    assert 20 < gone.sum() < 36
    np.testing.assert_array_equal(y, np.where(gone[:, None, None, None], 0, x))
    layer = DropBlock2D(0.7, 2, seed=5)
    (gradient,) = gradients(lambda x: layer(x, training=True), x)
    np.testing.assert_array_equal(gradient, np.where(y == 0, 0.0, 1.0))


def test_the_gradient_is_scaled_as_the_values():
    x = images(2, 9, 8, 4)
    scale = _expected(np.ones(x.shape), 0.4, 3, seed=5)
    layer = DropBlock2D(0.4, 3, seed=5)
    (gradient,) = gradients(lambda x: layer(x, training=True), x)
    assert_close(gradient, scale)


def test_a_seed_fixes_the_draws_and_each_call_draws_anew():
    x = np.ones((4, 8, 8, 3), "float32")
    layer = DropBlock2D(0.3, 3, seed=5)
    again = DropBlock2D.from_config(layer.get_config())
    first, second = _train(layer, x), _train(layer, x)
    np.testing.assert_array_equal(_train(again, x), first)
    np.testing.assert_array_equal(_train(again, x), second)
    assert not np.array_equal(first, second)
    assert not np.array_equal(_train(DropBlock2D(0.3, 3, seed=6), x), first)


@pytest.mark.parametrize("policy", ["mixed_float16", "bfloat16"])
def test_half_precision_drops_the_same(policy):
    x = np.ones((2, 16, 16, 8), "float32")
    full = _train(DropBlock2D(0.05, 3, seed=5), x)
    half = _train(DropBlock2D(0.05, 3, seed=5, dtype=policy), x)
    np.testing.assert_array_equal(half == 0, full == 0)
    assert_close(half, full, 1e-2)


@needs_unknown_sizes
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("block_size", [1, 3, (4, 20)])
def test_sizes_unknown_to_the_graph_give_the_same(block_size, jit_compile):
    import tensorflow as tf

    # XLA draws other numbers than TensorFlow: it compiles both graphs, or none.
    known, unknown = (
        tf.function(
            functools.partial(DropBlock2D(0.3, block_size, seed=5), training=True),
            input_signature=signature,
            jit_compile=jit_compile,
        )
        for signature in (None, [tf.TensorSpec((None, None, None, 4))])
    )
    for size in [(9, 8), (1, 3)]:
        x = tf.constant(images(2, *size, 4))
        assert_close(unknown(x), known(x).numpy())


def test_training_follows_the_model():
    model = keras.Sequential([keras.Input((8, 8, 3)), DropBlock2D(0.5, 3, seed=5)])
    x = np.ones((2, 8, 8, 3), "float32")
    assert ops.convert_to_numpy(model(x, training=True)).min() == 0
    np.testing.assert_array_equal(ops.convert_to_numpy(model(x)), x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 1}, r"`rate` must be a finite number in \[0, 1\).*rate=1"),
        ({"rate": -0.1}, r"`rate` must be .*rate=-0.1"),
        ({"rate": 0.1, "block_size": 0}, r"`block_size` must be a positive integer"),
        ({"rate": 0.1, "block_size": (1, 2, 3)}, r"`block_size` must be .*\(1, 2, 3\)"),
        ({"rate": 0.1, "seed": 1.5}, r"`seed` must be an integer.*seed=1.5"),
        ({"rate": 0.1, "data_format": "NHWC"}, r"`data_format` must be one of .*"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        DropBlock2D(**options)


def test_another_rank_is_refused():
    with pytest.raises(ValueError, match=r"input of rank 4, shaped .*rank 3"):
        DropBlock2D(0.1)(images(2, 4, 3))
