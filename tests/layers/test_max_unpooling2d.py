import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.layers import MaxPoolingWithArgmax2D, MaxUnpooling2D
from tests.backends import gradients
from tests.layers.weights import assert_close, images
from tests.reference.pooling import max_pool2d_with_argmax, max_unpool2d
from tests.slopes import assert_gradient_is_the_slope, needs_double_precision


def _positions(*shape, end):
    return np.random.default_rng(5).integers(0, end, shape, dtype="int32")


@pytest.mark.parametrize("pool_size", [1, 2, (3, 2), [1, 4]])
def test_equals_the_reference(pool_size):
    x = images(2, 3, 2, 5)
    argmax = _positions(*x.shape, end=np.prod(pool_size) if pool_size != 2 else 4)
    layer = MaxUnpooling2D(pool_size)
    expected = max_unpool2d(x, argmax, pool_size)
    assert_close(layer(x, argmax), expected, 0)
    assert layer.compute_output_shape(x.shape, argmax.shape) == expected.shape


@pytest.mark.parametrize("height", [7, 8, 9, 10, 11])
@pytest.mark.parametrize("width", [3, 4, 5])
def test_the_size_is_that_of_like(height, width):
    x = images(2, 3, 2, 5)
    argmax = _positions(*x.shape, end=6)
    like = np.zeros((2, height, width, 1), "float32")
    layer = MaxUnpooling2D((3, 2))
    expected = max_unpool2d(x, argmax, (3, 2), (height, width))
    assert_close(layer(x, argmax, like=like), expected, 0)
    shape = layer.compute_output_shape(x.shape, argmax.shape, like.shape)
    assert shape == expected.shape


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_a_network_unpools_what_it_pooled_whatever_the_size(
    padding, data_format, tmp_path
):
    channels_first = data_format == "channels_first"
    inputs = keras.Input((3, None, None) if channels_first else (None, None, 3))
    pooled, argmax = MaxPoolingWithArgmax2D(
        (3, 2), padding=padding, data_format=data_format
    )(inputs)
    outputs = MaxUnpooling2D((3, 2), data_format=data_format)(
        pooled, argmax, like=inputs
    )
    assert outputs.shape == inputs.shape
    model = keras.Model(inputs, outputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for size in [(6, 4), (7, 5), (8, 3)]:
        x = images(2, *size, 3)
        expected = max_unpool2d(
            *max_pool2d_with_argmax(x, (3, 2), padding), (3, 2), size
        )
        if channels_first:
            x, expected = np.moveaxis(x, -1, 1), np.moveaxis(expected, -1, 1)
        assert_close(loaded.predict(x, verbose=0), expected, 0)


def test_the_gradient_is_taken_from_where_the_value_went():
    x = images(2, 3, 2, 5)
    argmax = _positions(*x.shape, end=4)
    weights = images(2, 5, 4, 5, seed=2)
    layer = MaxUnpooling2D()
    (gradient,) = gradients(lambda x: ops.sum(layer(x, argmax, weights) * weights), x)
    marks = np.arange(1.0, 1 + weights.size).reshape(weights.shape)
    for index in np.ndindex(x.shape):
        one = np.zeros(x.shape)
        one[index] = 1
        there = max_unpool2d(one, argmax, 2, (5, 4)) * marks
        expected = weights.flat[int(there.max()) - 1] if there.any() else 0
        assert gradient[index] == expected


@needs_double_precision
def test_gradients_are_finite_differences():
    x = images(2, 3, 2, 2)
    argmax = _positions(*x.shape, end=6)
    layer = MaxUnpooling2D((2, 3), dtype="float64")
    assert_gradient_is_the_slope(lambda x: layer(x, argmax), x)


@pytest.mark.parametrize("dtype", ["uint8", "int64"])
def test_any_integers_will_do_and_those_outside_lose_the_value(dtype):
    if keras.backend.backend() == "jax" and dtype == "int64":
        dtype = "int32"  # JAX has no other
    x = images(1, 2, 2, 1)
    argmax = np.array([0, 3, 4, 100]).reshape(x.shape).astype(dtype)
    y = ops.convert_to_numpy(MaxUnpooling2D()(x, argmax))[0, ..., 0]
    assert_close(y[0, 0], x[0, 0, 0, 0], 0)
    assert_close(y[1, 3], x[0, 0, 1, 0], 0)
    assert np.count_nonzero(y) == 2


@pytest.mark.parametrize("broken", [np.inf, np.nan])
def test_what_is_not_finite_stays_in_its_place(broken):
    x = np.full((1, 1, 1, 1), broken, "float32")
    y = MaxUnpooling2D()(x, np.ones(x.shape, "int32"))
    np.testing.assert_array_equal(np.asarray(y)[0, ..., 0], [[0, broken], [0, 0]])


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(2, 3, 4)] * 2, r"input of rank 4, shaped .*rank 3"),
        ([(2, 3, 4, 5), (2, 3, 4, 6)], r"`argmax` .*shape of the input.* 4, 6\)"),
        ([(2, 3, 4, 5)] * 2 + [(2, 6, 8)], r"\(`like`\) .* rank 4, .*rank 3"),
        (
            [(2, 3, 4, 5)] * 2 + [(2, 4, 8, 5)],
            "axis 1, of size 3, into more than 4 and less",
        ),
        ([(2, 3, 4, 5)] * 2 + [(2, 6, 10, 5)], "axis 2, of size 4, .* less than 10"),
    ],
)
def test_bad_shapes(shapes, message):
    with pytest.raises(ValueError, match=message):
        MaxUnpooling2D()(*(keras.Input(batch_shape=shape) for shape in shapes))


def test_a_size_that_does_not_fit_is_refused_by_a_layer_that_is_built():
    layer = MaxUnpooling2D()
    x, argmax = images(1, 2, 2, 1), _positions(1, 2, 2, 1, end=4)
    layer(x, argmax)
    with pytest.raises(ValueError, match="more than 2 and less than 6"):
        layer(x, argmax, like=images(1, 6, 4, 1))


def test_positions_that_are_no_integers_are_refused():
    x = images(1, 2, 2, 1)
    with pytest.raises(TypeError, match=r"`argmax` to hold integers.*dtype=float32"):
        MaxUnpooling2D()(x, x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pool_size": 0}, r"`pool_size` must be a positive integer or a pair.*=0"),
        ({"pool_size": (2, 0)}, r"`pool_size` must be .*pool_size=\(2, 0\)"),
        ({"data_format": "NHWC"}, r"`data_format` must be one of .*'NHWC'"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        MaxUnpooling2D(**options)


def test_windows_of_more_positions_than_the_integers_of_argmax_count():
    x = np.ones((1, 1, 1, 1), "float32")
    argmax = np.full((1, 1, 1, 1), 3, "uint8")
    y = ops.convert_to_numpy(MaxUnpooling2D(20)(x, argmax))
    assert y.sum() == 1
    assert y[0, 0, 3, 0] == 1


def test_another_argmax_is_refused_by_a_built_layer_too():
    layer = MaxUnpooling2D()
    x = np.ones((2, 2, 2, 3), "float32")
    layer(x, np.zeros(x.shape, "int32"))
    with pytest.raises(ValueError, match=r"`argmax` to have the shape of the input"):
        layer(x, np.zeros((2, 2, 2, 1), "int32"))
