import numpy as np
import pytest
from keras import ops

from keras_ext.layers import CBAM
from tests.layers.weights import arrays, assert_close, images, randomize
from tests.reference.attention import cbam


@pytest.mark.parametrize("size", [(9, 8), (2, 3), (1, 1)])
@pytest.mark.parametrize(("ratio", "kernel_size"), [(0.5, 7), (0.01, 3), (1, 1)])
def test_equals_the_reference(ratio, kernel_size, size):
    layer = CBAM(ratio, kernel_size=kernel_size)
    x = images(3, *size, 6)
    layer.build(x.shape)
    randomize(layer)
    *mlp, kernel = arrays(layer)
    assert_close(layer(x), cbam(x, mlp, kernel))


@pytest.mark.parametrize(
    ("ratio", "channels", "narrow"), [(0.0625, 64, 4), (0.0625, 8, 1), (0.7, 360, 252)]
)
def test_width_of_the_narrow_map(ratio, channels, narrow):
    layer = CBAM(ratio)
    layer.build((None, None, None, channels))
    shapes = [tuple(weight.shape) for weight in layer.weights]
    mlp = [(channels, narrow), (narrow,), (narrow, channels), (channels,)]
    assert shapes == [*mlp, (7, 7, 2, 1)]


def test_a_seeded_initializer_draws_other_numbers_for_each_part():
    layer = CBAM(1.0, kernel_initializer="random_normal")
    layer.build((None, 4, 4, 6))
    first, second = (ops.convert_to_numpy(v) for v in layer.trainable_weights[:3:2])
    assert first.shape == second.shape
    assert not np.array_equal(first, second)


def test_a_large_float16_image_does_not_overflow_the_averages():
    layer = CBAM(dtype="mixed_float16")
    x = np.full((1, 64, 64, 4), 100, "float16")
    layer.build(x.shape)
    layer.set_weights([np.zeros(v.shape) for v in layer.weights])
    assert_close(ops.cast(layer(x), "float32"), np.full(x.shape, 25.0), 1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 0}, r"`ratio` must be a finite number in \(0, 1\].*ratio=0"),
        ({"ratio": 1.5}, r"`ratio` must be .*ratio=1.5"),
        ({"kernel_size": 6}, r"`kernel_size` must be a positive odd integer.*=6"),
        ({"kernel_size": None}, r"`kernel_size` must be a positive odd integer.*=None"),
        ({"data_format": "NHWC"}, r"`data_format` must be one of .*'NHWC'"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        CBAM(**options)
