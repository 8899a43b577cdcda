import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.layers import WeightStandardizedConv2D
from tests.layers.steps import weights_after_a_step
from tests.layers.weights import assert_close, images, randomize
from tests.reference.convolution import conv2d
from tests.reference.normalization import standardized_kernel


def _kernel(layer, epsilon=1e-5):
    return standardized_kernel(ops.convert_to_numpy(layer.kernel.value), epsilon)


@pytest.mark.parametrize("epsilon", [1e-5, 0.1])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("size", "strides"), [(3, 1), ((2, 3), (2, 1)), (1, 2)])
def test_equals_the_reference(size, strides, padding, epsilon):
    layer = WeightStandardizedConv2D(4, size, strides, padding, epsilon=epsilon)
    x = images(2, 5, 6, 3)
    layer.build(x.shape)
    randomize(layer)
    kernel, bias = _kernel(layer, epsilon), ops.convert_to_numpy(layer.bias.value)
    expected = conv2d(x, kernel, bias, strides=strides, padding=padding)
    assert_close(layer(x), expected)
    assert layer.compute_output_shape(x.shape) == expected.shape


@pytest.mark.parametrize(
    "options",
    [
        {"groups": 2},
        {"dilation_rate": (1, 2), "padding": "same"},
        {"activation": "relu", "use_bias": False},
        {"groups": 4, "strides": 2, "padding": "same", "activation": "tanh"},
    ],
    ids=str,
)
def test_is_a_conv2d_with_another_kernel(options):
    layer = WeightStandardizedConv2D(8, (2, 3), **options)
    plain = keras.layers.Conv2D(8, (2, 3), **options)
    x = images(2, 5, 6, 4)
    layer.build(x.shape)
    plain.build(x.shape)
    randomize(layer)
    plain.set_weights([_kernel(layer), *layer.get_weights()[1:]])
    assert_close(layer(x), ops.convert_to_numpy(plain(x)))
    assert layer.get_config().keys() - plain.get_config().keys() == {"epsilon"}


def test_neither_the_mean_nor_the_size_of_a_filter_matters():
    x = images(2, 5, 6, 3)
    layer = WeightStandardizedConv2D(4, 3, epsilon=1e-12)
    expected = ops.convert_to_numpy(layer(x))
    layer.kernel.assign(3 * layer.kernel.value + np.arange(4))
    assert_close(layer(x), expected, 1e-4)


@pytest.mark.parametrize("size", [1e20, 1e30])
def test_nor_do_they_where_squares_overflow(size):
    inputs = np.random.default_rng(0).normal(size=(2, 5, 5, 3)).astype("float32")
    layer = WeightStandardizedConv2D(4, 3)
    expected = ops.convert_to_numpy(layer(inputs))
    kernel = ops.convert_to_numpy(layer.kernel)
    layer.kernel.assign(size * kernel)
    found = ops.convert_to_numpy(layer(inputs))
    # Beside a large kernel, epsilon counts for less.
    spread = kernel.std(axis=(0, 1, 2))
    np.testing.assert_allclose(
        found,
        expected * np.sqrt(spread**2 + layer.epsilon) / spread,
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "float16"])
def test_squares_do_not_overflow_in_float16(policy):
    layer = WeightStandardizedConv2D(4, 3, dtype=policy)
    x = images(2, 5, 6, 3)
    layer.build(x.shape)
    layer.kernel.assign(300 * np.sign(images(3, 3, 3, 4)))
    expected = conv2d(x, _kernel(layer), padding="valid")
    assert_close(ops.cast(layer(x), "float32"), expected, 2e-2)


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
@pytest.mark.parametrize("initializer", ["zeros", "ones"])
def test_a_filter_without_variance_has_a_finite_gradient(initializer, dtype):
    layer = WeightStandardizedConv2D(
        4, 3, kernel_initializer=initializer, use_bias=False, dtype=dtype
    )
    x = images(2, 5, 6, 3)
    assert np.all(ops.convert_to_numpy(layer(x)) == 0)
    before = ops.convert_to_numpy(layer.kernel.value)
    weights = weights_after_a_step(layer, x)
    assert all(np.isfinite(value).all() for value in weights.values())
    assert not np.array_equal(ops.convert_to_numpy(layer.kernel.value), before)


def test_the_regularizer_sees_what_is_trained():
    layer = WeightStandardizedConv2D(4, 3, kernel_regularizer="l2")
    layer.build((None, 5, 6, 3))
    kernel = ops.convert_to_numpy(layer.kernel.value)
    assert float(layer.losses[0]) == pytest.approx(0.01 * np.sum(kernel**2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 0}, r"`epsilon` must be a finite number in \(0, inf\).*epsilon=0"),
        ({"epsilon": -1}, r"`epsilon` must be .*epsilon=-1"),
        ({"filters": 0}, r"`filters`.*filters=0"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        WeightStandardizedConv2D(**{"filters": 4, "kernel_size": 3, **options})
