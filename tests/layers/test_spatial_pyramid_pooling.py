import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.layers import SpatialPyramidPooling
from tests.layers.weights import assert_close, images
from tests.reference.pooling import spatial_pyramid_pooling
from tests.slopes import (
    assert_gradient_is_the_slope,
    needs_double_precision,
    needs_unknown_sizes,
)

SIZES = [(12, 8), (13, 10), (3, 2), (1, 1)]
every_pooling = pytest.mark.parametrize("pooling", ["max", "average"])


@every_pooling
@pytest.mark.parametrize("bins", [(1, 2, 4), [6, 2, 2, 3]])
@pytest.mark.parametrize("size", SIZES)
def test_equals_the_reference(size, bins, pooling):
    x = images(2, *size, 3)
    layer = SpatialPyramidPooling(bins, pooling=pooling)
    expected = spatial_pyramid_pooling(x, bins, pooling)
    assert_close(layer(x), expected)
    assert layer.compute_output_shape(x.shape) == expected.shape
    first = SpatialPyramidPooling(bins, pooling=pooling, data_format="channels_first")
    assert_close(first(np.moveaxis(x, -1, 1)), expected)


@needs_unknown_sizes
@every_pooling
@pytest.mark.parametrize("jit_compile", [False, True])
def test_sizes_unknown_to_the_graph_give_the_same(pooling, jit_compile):
    import tensorflow as tf

    layer = SpatialPyramidPooling((1, 2, 3), pooling=pooling)

    def with_gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
            loss = tf.reduce_sum(y**2)
        return y, tape.gradient(loss, x)

    graph = tf.function(
        with_gradient,
        jit_compile=jit_compile,
        input_signature=[tf.TensorSpec((None, None, None, 2))],
    )
    for size in [(13, 10), (3, 2)]:
        x = images(2, *size, 2)
        y, gradient = graph(x)
        assert_close(y, spatial_pyramid_pooling(x, (1, 2, 3), pooling))
        assert_close(gradient, with_gradient(tf.constant(x))[1])


def test_a_dense_layer_takes_images_of_any_size(tmp_path):
    inputs = keras.Input((None, None, 3))
    vector = SpatialPyramidPooling()(inputs)
    assert vector.shape == (None, 63)
    model = keras.Model(inputs, keras.layers.Dense(2)(vector))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for size in SIZES:
        x = images(2, *size, 3)
        y = loaded.predict(x, verbose=0)
        np.testing.assert_array_equal(y, model.predict(x, verbose=0))
    channels = SpatialPyramidPooling().compute_output_shape((None, 4, 4, None))
    assert channels == (None, None)


@needs_double_precision
@every_pooling
@pytest.mark.parametrize("size", SIZES)
def test_gradients_are_finite_differences(size, pooling):
    layer = SpatialPyramidPooling((1, 2, 3), pooling=pooling, dtype="float64")
    assert_gradient_is_the_slope(layer, images(2, *size, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bins": ()}, r"`bins` must be a list of positive integers.*bins=\(\)"),
        ({"bins": 4}, r"`bins` must be a list of positive integers.*bins=4"),
        ({"bins": (1, 0)}, r"`bins\[1\]` must be a positive integer"),
        ({"pooling": "mean"}, r"`pooling` must be one of 'max', 'average'.*'mean'"),
        ({"data_format": "NHWC"}, r"`data_format` must be one of .*'NHWC'"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        SpatialPyramidPooling(**options)


def test_another_rank_is_refused():
    layer = SpatialPyramidPooling()
    with pytest.raises(ValueError, match=r"input of rank 4, shaped .*rank 3"):
        layer(images(2, 4, 3))
    layer(images(2, 4, 4, 3))
    with pytest.raises(ValueError, match="expected ndim=4, found ndim=3"):
        layer(images(2, 4, 3))


@every_pooling
def test_large_images_in_half_precision(pooling):
    x = np.abs(images(1, 64, 64, 2)) + 1
    full = SpatialPyramidPooling(pooling=pooling)
    half = SpatialPyramidPooling(pooling=pooling, dtype="float16")
    np.testing.assert_allclose(
        ops.convert_to_numpy(half(x)), ops.convert_to_numpy(full(x)), rtol=5e-3
    )
