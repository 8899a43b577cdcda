import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.layers import ConvNormAct
from tests.layers.weights import assert_close, images, randomize, unit
from tests.reference import blocks
from tests.reference.convolution import conv2d


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kernel_size": 3},
        {"kernel_size": 3, "strides": 2, "activation": "relu6"},
        {"kernel_size": (1, 4), "strides": (1, 2), "activation": "silu"},
        {"kernel_size": 2, "strides": 3, "activation": None},
        {"kernel_size": 3, "normalization": None},
        {"kernel_size": (3, 1), "normalization": None, "activation": "hard_silu"},
    ],
    ids=str,
)
def test_equals_the_reference(options):
    layer = ConvNormAct(4, **options)
    x = images(2, 5, 6, 3)
    layer.build(x.shape)
    randomize(layer)
    kernel, bias, norm = unit(layer)
    expected = conv2d(x, kernel, bias, strides=options.get("strides", 1))
    if norm is not None:
        expected = blocks.batch_norm(expected, *norm)
    activation = options.get("activation", "relu") or "linear"
    assert_close(layer(x), blocks.ACTIVATIONS[activation](expected))
    assert layer.compute_output_shape(x.shape) == expected.shape


def test_the_convolution_has_a_bias_only_without_normalization():
    normalized, plain = ConvNormAct(4), ConvNormAct(4, normalization=None)
    normalized.build((None, 5, 6, 3))
    plain.build((None, 5, 6, 3))
    names = [variable.name for variable in normalized.weights]
    assert names == ["kernel", "gamma", "beta", "moving_mean", "moving_variance"]
    assert [variable.name for variable in plain.weights] == ["kernel", "bias"]


@pytest.mark.parametrize("through", ["argument", "caller"])
def test_training_normalizes_with_the_moments_of_the_batch(through):
    layer = ConvNormAct(4, activation=None)
    x = images(8, 5, 6, 3)
    if through == "caller":
        inputs = keras.Input(x.shape[1:])
        call = keras.Model(inputs, layer(inputs))
    else:
        call = layer
    y = ops.convert_to_numpy(call(x, training=True))
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std((0, 1, 2)), 1, atol=2e-2)
    moving_mean = ops.convert_to_numpy(layer.norm.moving_mean)
    assert np.all(moving_mean != 0)
    call(x, training=False)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(layer.norm.moving_mean), moving_mean
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": 0}, r"`filters` must be a positive integer.*filters=0"),
        ({"filters": -3}, r"`filters` must be a positive integer.*filters=-3"),
        ({"filters": True}, r"`filters` must be a positive integer.*filters=True"),
        ({"kernel_size": 0}, r"`kernel_size` must be a positive .*kernel_size=0"),
        ({"kernel_size": (3,)}, r"`kernel_size` must be .* pair .*\(3,\)"),
        ({"kernel_size": "3"}, r"`kernel_size` must be a positive .*'3'"),
        ({"strides": (2, 0)}, r"`strides` must be .* pair .*\(2, 0\)"),
        ({"strides": 1.5}, r"`strides` must be a positive .*strides=1.5"),
        (
            {"normalization": "layer"},
            r"`normalization` must be one of 'batch', None. .*'layer'",
        ),
        ({"data_format": "NHWC"}, r"`data_format` must be one of .*'NHWC'"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        ConvNormAct(**{"filters": 4, **options})
