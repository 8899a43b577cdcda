import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.layers import MaxPoolingWithArgmax2D
from tests.backends import gradients
from tests.layers.weights import assert_close, images
from tests.reference.pooling import max_pool2d_with_argmax, max_unpool2d
from tests.slopes import assert_gradient_is_the_slope, needs_double_precision


def _assert_equal(outputs, expected):
    pooled, argmax = (ops.convert_to_numpy(output) for output in outputs)
    np.testing.assert_array_equal(pooled, expected[0].astype("float32"))
    np.testing.assert_array_equal(argmax, expected[1])
    assert argmax.dtype == "int32"


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("pool_size", [1, 2, (3, 2), [1, 4]])
@pytest.mark.parametrize("size", [(6, 8), (7, 9)])
def test_equals_the_reference(size, pool_size, padding):
    x = np.round(images(2, *size, 3))  # of maxima that are equal, the first counts
    layer = MaxPoolingWithArgmax2D(pool_size, padding=padding)
    expected = max_pool2d_with_argmax(x, pool_size, padding)
    _assert_equal(layer(x), expected)
    assert layer.compute_output_shape(x.shape) == (expected[0].shape,) * 2


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("low", [-np.inf, -60_000.0])
def test_padding_is_below_all_values(dtype, low):
    layer = MaxPoolingWithArgmax2D(2, padding="same", dtype=dtype)
    x = ops.convert_to_numpy(ops.cast(np.full((1, 3, 3, 1), low), dtype))
    x = x.astype("float32")
    pooled, argmax = layer(x)
    pooled = ops.cast(pooled, "float32")
    _assert_equal((pooled, argmax), max_pool2d_with_argmax(x, 2, "same"))


def test_nan_wins_its_window():
    x = images(1, 4, 4, 1)
    for row, column in np.ndindex(2, 2):
        broken = x.copy()
        broken[0, row, column] = np.nan
        pooled, argmax = (np.asarray(y) for y in MaxPoolingWithArgmax2D()(broken))
        assert np.isnan(pooled).sum() == 1
        assert np.isnan(pooled[0, 0, 0, 0])
        assert argmax[0, 0, 0, 0] == 2 * row + column


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_the_gradient_goes_to_the_first_maximum_alone(padding):
    x = np.sign(np.round(images(2, 7, 5, 3)))
    pooled, argmax = max_pool2d_with_argmax(x, 2, padding)
    weights = images(*pooled.shape, seed=2)
    layer = MaxPoolingWithArgmax2D(2, padding=padding)
    (gradient,) = gradients(lambda x: ops.sum(layer(x)[0] * weights), x)
    assert_close(gradient, max_unpool2d(weights, argmax, 2, (7, 5)))


@needs_double_precision
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_gradients_are_finite_differences(padding):
    layer = MaxPoolingWithArgmax2D((2, 3), padding=padding, dtype="float64")
    assert_gradient_is_the_slope(lambda x: layer(x)[0], images(2, 5, 7, 2))


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_symbolic_outputs_know_their_sizes_and_types(padding):
    layer = MaxPoolingWithArgmax2D((2, 3), padding=padding)
    pooled, argmax = layer(keras.Input((7, None, 4)))
    assert pooled.shape == argmax.shape == (None, 4 - (padding == "valid"), None, 4)
    assert (pooled.dtype, argmax.dtype) == ("float32", "int32")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pool_size": 0}, r"`pool_size` must be a positive integer or a pair.*=0"),
        ({"pool_size": (2, 0)}, r"`pool_size` must be .*pool_size=\(2, 0\)"),
        ({"padding": "full"}, r"`padding` must be one of 'valid', 'same'.*'full'"),
        ({"data_format": "NHWC"}, r"`data_format` must be one of .*'NHWC'"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        MaxPoolingWithArgmax2D(**options)


def test_another_rank_is_refused():
    with pytest.raises(ValueError, match=r"input of rank 4, shaped .*rank 3"):
        MaxPoolingWithArgmax2D()(images(2, 4, 3))
