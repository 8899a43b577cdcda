import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.layers import Maxout
from tests.backends import gradients
from tests.layers.weights import images
from tests.reference.units import maxout


@pytest.mark.parametrize("units", [1, 2, 3, 6])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((4, 6), -1), ((4, 5, 6), 2), ((4, 5, 3, 6), -1), ((4, 6, 5, 3), 1)],
)
def test_is_the_maximum_of_neighbouring_channels(shape, axis, units):
    x = images(*shape)
    y = ops.convert_to_numpy(Maxout(units, axis=axis)(x))
    np.testing.assert_array_equal(y, maxout(x, units, axis))


def test_the_gradient_goes_to_the_largest_channel():
    x = np.array([[1.0, 5.0, 2.0, 4.0, -1.0, 3.0]], "float32")
    (gradient,) = gradients(Maxout(2), x)
    np.testing.assert_array_equal(gradient, [[0, 1, 0, 1, 0, 0]])


def test_learns_the_absolute_value():
    x = np.linspace(-2, 2, 64, dtype="float32")[:, None]
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2), Maxout(1)])
    model.layers[0].set_weights([np.array([[0.5, -0.1]]), np.zeros(2)])
    model.compile(keras.optimizers.Adam(0.1), loss="mse")
    model.fit(x, np.abs(x), batch_size=64, epochs=50, verbose=0)
    np.testing.assert_allclose(model.predict(x, verbose=0), np.abs(x), atol=0.1)


def test_masks_pass_through():
    x = keras.layers.Masking()(np.array([[[1.0, 2.0], [0.0, 0.0]]], "float32"))
    mask = ops.convert_to_numpy(Maxout(1)(x)._keras_mask)
    np.testing.assert_array_equal(mask, [[True, False]])


def test_empty_batch():
    assert Maxout(2)(np.ones((0, 4), "float32")).shape == (0, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": 0}, "`units` must be a positive integer. Received: units=0"),
        ({"units": 1.5}, "`units` must be a positive integer. Received: units=1.5"),
        ({"units": 2, "axis": None}, "`axis` must be an integer. Received: axis=None"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        Maxout(**options)


@pytest.mark.parametrize(
    ("axis", "shape", "message"),
    [
        (
            0,
            (4, 6),
            r"units expects the channels on axis 0, .* other than the batch axis",
        ),
        (-2, (4, 6), r"the channels on axis -2, .*shape=\(4, 6\)"),
        (2, (4, 6), r"the channels on axis 2, which must be an axis of the input"),
        (-1, (4, None), r"units needs the size of the channel axis \(axis -1\)"),
        (-1, (4, 7), "their number must be a multiple of 3. Received: 7 channels"),
    ],
)
def test_bad_input_shapes(axis, shape, message):
    with pytest.raises(ValueError, match=message):
        Maxout(3, axis=axis, name="units").build(shape)
