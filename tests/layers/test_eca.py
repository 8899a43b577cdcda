import pytest

from keras_ext.layers import ECA
from tests.layers.weights import assert_close, images, randomize
from tests.reference import attention


@pytest.mark.parametrize(
    ("kernel_size", "channels"), [(None, 64), (None, 1), (1, 6), (3, 6), (9, 4)]
)
def test_equals_the_reference(kernel_size, channels):
    layer = ECA(kernel_size)
    x = images(3, 5, 4, channels)
    layer.build(x.shape)
    randomize(layer)
    (kernel,) = layer.get_weights()
    assert_close(layer(x), attention.eca(x, kernel[:, 0, 0]))


@pytest.mark.parametrize(
    "channels", [1, 2, 3, 4, 8, 16, 31, 32, 33, 127, 128, 129, 512, 2048, 10_000]
)
def test_kernel_size_grows_with_the_channels(channels):
    layer = ECA()
    layer.build((None, None, None, channels))
    assert tuple(layer.kernel.shape) == (attention.eca_kernel_size(channels), 1, 1)
    assert layer.get_config()["kernel_size"] is None


def test_it_has_no_other_weights():
    layer = ECA(kernel_initializer="ones")
    layer.build((None, 4, 4, 8))
    assert [v.name for v in layer.weights] == ["kernel"]
    assert_close(layer.kernel.value, [[[1.0]], [[1.0]], [[1.0]]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 0}, r"`kernel_size` must be a positive odd integer.*=0"),
        ({"kernel_size": 4}, r"`kernel_size` must be a positive odd integer.*=4"),
        ({"kernel_size": 3.0}, r"`kernel_size` must be a positive odd integer.*=3.0"),
        ({"kernel_size": True}, r"`kernel_size` must be a positive odd integer.*=True"),
        ({"data_format": "NHWC"}, r"`data_format` must be one of .*'NHWC'"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        ECA(**options)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 8, 3), r"rank 4, shaped \(batch, height, width, channels\).*rank 3"),
        ((2, 8, 8, None), "needs the size of the channel axis"),
    ],
)
def test_bad_shapes(shape, message):
    with pytest.raises(ValueError, match=message):
        ECA().build(shape)
