import numpy as np
import pytest
from keras import ops

from keras_ext.layers import SqueezeExcite
from tests.layers.weights import arrays, assert_close, images, randomize
from tests.reference import blocks


@pytest.mark.parametrize(
    ("activation", "gate_activation"),
    [("relu", "sigmoid"), ("relu", "hard_sigmoid"), ("silu", "sigmoid")],
)
@pytest.mark.parametrize("options", [{"ratio": 0.25}, {"filters": 3}])
def test_equals_the_reference(options, activation, gate_activation):
    layer = SqueezeExcite(
        **options, activation=activation, gate_activation=gate_activation
    )
    x = images(3, 5, 4, 8)
    layer.build(x.shape)
    randomize(layer)
    expected = blocks.squeeze_excite(
        x,
        *arrays(layer.reduce),
        *arrays(layer.expand),
        activation=activation,
        gate_activation=gate_activation,
    )
    assert_close(layer(x), expected)


@pytest.mark.parametrize(
    ("channels", "options", "squeezed"),
    [
        (64, {}, 4),
        (8, {}, 1),
        (10, {"ratio": 0.25}, 2),
        (10, {"ratio": 1.0}, 10),
        (10, {"filters": 7, "ratio": 0.5}, 7),
    ],
)
def test_width_of_the_narrow_map(channels, options, squeezed):
    layer = SqueezeExcite(**options)
    layer.build((None, None, None, channels))
    assert tuple(layer.reduce.kernel.shape) == (channels, squeezed)


def test_a_large_float16_image_does_not_overflow_the_average():
    layer = SqueezeExcite(dtype="mixed_float16")
    x = np.full((1, 64, 64, 4), 100, "float16")
    layer.build(x.shape)
    layer.expand.kernel.assign(np.zeros((1, 4)))
    assert_close(ops.cast(layer(x), "float32"), np.full(x.shape, 50.0), 1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 0}, r"`ratio` must be a finite number in \(0, 1\].*ratio=0"),
        ({"ratio": 1.5}, r"`ratio` must be .*ratio=1.5"),
        ({"ratio": float("nan")}, r"`ratio` must be .*ratio=nan"),
        ({"filters": 0}, r"`filters` must be a positive integer.*filters=0"),
        ({"filters": 2.0}, r"`filters` must be a positive integer.*filters=2.0"),
        ({"data_format": "NHWC"}, r"`data_format` must be one of .*'NHWC'"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        SqueezeExcite(**options)


@pytest.mark.parametrize(
    ("ratio", "channels", "squeezed"), [(0.7, 360, 252), (0.29, 200, 58), (0.1, 4, 1)]
)
def test_width_is_not_cut_by_rounding_errors(ratio, channels, squeezed):
    layer = SqueezeExcite(ratio)
    layer.build((None, 4, 4, channels))
    assert layer.reduce.units == squeezed
