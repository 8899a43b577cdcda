import numpy as np
import pytest

from keras_ext.layers import TLU
from tests.layers.steps import weights_after_a_step
from tests.layers.weights import assert_close, images, randomize
from tests.reference.normalization import tlu


@pytest.mark.parametrize("shape", [(3, 5, 4, 6), (3, 6), (3, 5, 6), (2, 3, 1, 2, 6)])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_equals_the_reference(shape, data_format):
    first = data_format == "channels_first"
    layer = TLU(data_format=data_format)
    x = images(*shape)
    inputs = np.moveaxis(x, -1, 1) if first else x
    layer.build(inputs.shape)
    randomize(layer)
    expected = tlu(x, *layer.get_weights())
    assert_close(layer(inputs), np.moveaxis(expected, -1, 1) if first else expected, 0)


def test_one_layer_takes_inputs_of_several_ranks():
    layer = TLU(tau_initializer="ones")
    for shape in [(2, 3), (2, 4, 4, 3)]:
        assert_close(layer(np.zeros(shape, "float32")), np.ones(shape))


def test_starts_as_a_relu():
    x = images(3, 5, 4, 6)
    assert_close(TLU()(x), np.maximum(x, 0), 0)


def test_the_threshold_of_a_channel_learns_from_what_it_cuts_off():
    x = np.array([[-1.0, 2.0], [-2.0, 3.0]], "float32").reshape(1, 2, 1, 2)
    weights = weights_after_a_step(TLU(), x, rate=1.0)
    # Mean of (output - 1)^2 over four values, two of which are tau[0] = 0.
    assert_close(weights["tau"], [1.0, 0.0])


def test_takes_its_initializer():
    layer = TLU(tau_initializer="ones")
    assert_close(layer(np.zeros((1, 2, 2, 3), "float32")), np.ones((1, 2, 2, 3)))


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"`data_format` must be one of .*'NHWC'"):
        TLU(data_format="NHWC")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((None,), r"at least rank 2, with a batch axis and channels.*\(None,\)"),
        ((None, None, 5, 5), r"needs the size of the channel axis \(axis 1\)"),
    ],
)
def test_bad_shapes(shape, message):
    with pytest.raises(ValueError, match=message):
        TLU(data_format="channels_first").build(shape)
