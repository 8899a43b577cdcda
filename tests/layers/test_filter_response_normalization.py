import numpy as np
import pytest
from keras import ops

from keras_ext.layers import FilterResponseNormalization
from tests.layers.steps import weights_after_a_step
from tests.layers.weights import assert_close, images, randomize
from tests.reference.normalization import filter_response_normalization


@pytest.mark.parametrize("epsilon", [1e-6, 0.3])
@pytest.mark.parametrize("size", [(5, 4), (1, 1)])
def test_equals_the_reference(size, epsilon):
    layer = FilterResponseNormalization(epsilon=epsilon)
    x = images(3, *size, 6)
    layer.build(x.shape)
    randomize(layer)
    expected = filter_response_normalization(x, *layer.get_weights(), epsilon)
    assert_close(layer(x), expected)
    assert_close(layer(x, training=True), expected)


@pytest.mark.parametrize("learned", [0.2, -0.7])
def test_the_magnitude_of_a_learned_number_is_added_to_epsilon(learned):
    layer = FilterResponseNormalization(epsilon=0.1, learn_epsilon=True)
    x = images(3, 2, 1, 6)
    layer.build(x.shape)
    assert float(layer.learned_epsilon.value) == pytest.approx(1e-4)
    randomize(layer)
    layer.learned_epsilon.assign(learned)
    gamma, beta, _ = layer.get_weights()
    expected = filter_response_normalization(x, gamma, beta, 0.1 + abs(learned))
    assert_close(layer(x), expected)


def test_weights_come_from_their_initializers():
    layer = FilterResponseNormalization(
        gamma_initializer="zeros", beta_initializer="ones"
    )
    assert_close(layer(images(2, 3, 3, 4)), np.ones((2, 3, 3, 4)))
    assert [v.name for v in layer.trainable_weights] == ["gamma", "beta"]


@pytest.mark.parametrize("policy", ["mixed_float16", "float16"])
@pytest.mark.parametrize("size", [300.0, 60_000.0, 1e-3])
def test_squares_neither_overflow_nor_vanish_in_float16(size, policy):
    layer = FilterResponseNormalization(dtype=policy)
    signs = np.sign(images(2, 16, 16, 3))
    y = ops.cast(layer((size * signs).astype("float16")), "float32")
    epsilon = 1e-6
    assert_close(y, signs * size / np.sqrt(size**2 + epsilon), 2e-3)


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
@pytest.mark.parametrize("learn_epsilon", [False, True])
def test_an_image_of_zeros_has_a_finite_gradient(learn_epsilon, dtype):
    layer = FilterResponseNormalization(learn_epsilon=learn_epsilon, dtype=dtype)
    x = np.zeros((2, 3, 3, 4), "float32")
    assert_close(ops.cast(layer(x), "float32"), x)
    for name, value in weights_after_a_step(layer, x).items():
        assert np.isfinite(value).all(), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 0}, r"`epsilon` must be a finite number in \(0, inf\).*epsilon=0"),
        ({"epsilon": "1"}, r"`epsilon` must be .*epsilon='1'"),
        ({"learn_epsilon": None}, r"`learn_epsilon` must be one of True, False.*None"),
        ({"data_format": "NHWC"}, r"`data_format` must be one of .*'NHWC'"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        FilterResponseNormalization(**options)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((None, 5, 8), r"rank 4, shaped \(batch, height, width, channels\).*rank 3"),
        ((None, 5, 5, None), r"needs the size of the channel axis"),
    ],
)
def test_bad_shapes(shape, message):
    with pytest.raises(ValueError, match=message):
        FilterResponseNormalization(data_format="channels_last").build(shape)
