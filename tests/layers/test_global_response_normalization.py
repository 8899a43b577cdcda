import numpy as np
import pytest
from keras import ops

from keras_ext.layers import GlobalResponseNormalization
from tests.layers.steps import weights_after_a_step
from tests.layers.weights import assert_close, images, randomize
from tests.reference.normalization import global_response_normalization


@pytest.mark.parametrize("epsilon", [1e-6, 0.5])
@pytest.mark.parametrize("size", [(5, 4), (1, 1)])
def test_equals_the_reference(size, epsilon):
    layer = GlobalResponseNormalization(epsilon=epsilon)
    x = images(3, *size, 6)
    layer.build(x.shape)
    randomize(layer)
    expected = global_response_normalization(x, *layer.get_weights(), epsilon)
    assert_close(layer(x), expected)
    assert_close(layer(x, training=True), expected)


def test_starts_as_the_identity():
    x = images(3, 5, 4, 6)
    layer = GlobalResponseNormalization()
    assert_close(layer(x), x, 0)
    assert [v.name for v in layer.trainable_weights] == ["gamma", "beta"]


@pytest.mark.parametrize("size", [1e-20, 1e20, 1e30])
def test_squares_neither_overflow_nor_vanish_in_float32(size):
    layer = GlobalResponseNormalization(epsilon=1e-6 * size)
    x = images(3, 5, 4, 6)
    x[:, :, :, 2] = 0
    layer.build(x.shape)
    gamma, beta = np.linspace(-1, 1, 6), np.zeros(6)
    layer.set_weights([gamma, beta])
    expected = global_response_normalization(x, gamma, beta, 1e-6)
    found = layer((size * x).astype("float32"))
    np.testing.assert_allclose(found, size * expected, rtol=1e-4, atol=1e-5 * size)


@pytest.mark.parametrize("policy", ["mixed_float16", "float16"])
def test_squares_do_not_overflow_in_float16(policy):
    layer = GlobalResponseNormalization(dtype=policy)
    x = 300 * np.sign(images(2, 16, 16, 3))
    layer.build(x.shape)
    gamma, beta = np.array([0.5, -0.5, 1.0]), np.array([1.0, 2.0, 3.0])
    layer.set_weights([gamma, beta])
    expected = global_response_normalization(x, gamma, beta, 1e-6)
    assert_close(ops.cast(layer(x), "float32"), expected, 2e-3)


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
@pytest.mark.parametrize("dead", [slice(None), slice(1)], ids=["all", "one channel"])
def test_a_channel_of_zeros_has_a_finite_gradient(dead, dtype):
    layer = GlobalResponseNormalization(dtype=dtype)
    x = images(2, 3, 3, 4)
    x[..., dead] = 0
    layer.build(x.shape)
    layer.gamma.assign(np.ones(4))
    assert np.all(ops.convert_to_numpy(layer(x))[..., dead] == 0)
    for name, value in weights_after_a_step(layer, x).items():
        assert np.isfinite(value).all(), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 0}, r"`epsilon` must be a finite number in \(0, inf\).*epsilon=0"),
        ({"epsilon": True}, r"`epsilon` must be .*epsilon=True"),
        ({"data_format": "NHWC"}, r"`data_format` must be one of .*'NHWC'"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        GlobalResponseNormalization(**options)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((None, 5, 8), r"rank 4, shaped \(batch, height, width, channels\).*rank 3"),
        ((None, 5, 5, None), r"needs the size of the channel axis"),
    ],
)
def test_bad_shapes(shape, message):
    with pytest.raises(ValueError, match=message):
        GlobalResponseNormalization(data_format="channels_last").build(shape)
