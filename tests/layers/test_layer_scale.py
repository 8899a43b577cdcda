import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.layers import LayerScale
from tests.layers.weights import assert_close, images, randomize
from tests.reference.normalization import layer_scale


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((4, 3), -1),
        ((4, 3), 1),
        ((4, 2, 3), 2),
        ((4, 2, 3), -2),
        ((2, 5, 4, 3), -1),
        ((2, 5, 4, 3), 1),
        ((2, 5, 4, 3), -2),
    ],
)
def test_equals_the_reference(shape, axis):
    layer = LayerScale(axis=axis)
    x = images(*shape)
    layer.build(x.shape)
    randomize(layer)
    assert_close(layer(x), layer_scale(x, *layer.get_weights(), axis))


def test_starts_with_the_initial_value():
    x = images(2, 5, 3)
    assert_close(LayerScale()(x), 1e-5 * x, 1e-10)
    assert_close(LayerScale(-2)(x), -2 * x)


def test_the_last_axis_is_the_last_of_every_rank():
    layer = LayerScale(0.5)
    for shape in ((2, 3), (2, 4, 3), (2, 4, 4, 3)):
        assert_close(layer(images(*shape)), 0.5 * images(*shape))


@pytest.mark.parametrize("value", [1e-5, 1e-6])
def test_float16_holds_the_initial_values_of_the_paper(value):
    layer = LayerScale(value, dtype="mixed_float16")
    y = ops.convert_to_numpy(layer(np.full((1, 4), 1000.0, "float16")))
    np.testing.assert_allclose(y, 1000 * value, rtol=0.02)


def test_masks_pass_through():
    x = keras.layers.Masking()(np.array([[[1.0], [0.0]], [[2.0], [3.0]]], "float32"))
    y = LayerScale()(x)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(y._keras_mask), [[True, False], [True, True]]
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"initial_value": "0"}, r"`initial_value` must be a finite number.*'0'"),
        ({"initial_value": float("inf")}, r"`initial_value` must be .*=inf"),
        ({"axis": 1.0}, r"`axis` must be an integer.*axis=1.0"),
        ({"axis": (1, 2)}, r"`axis` must be an integer.*axis=\(1, 2\)"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        LayerScale(**options)


@pytest.mark.parametrize(
    ("axis", "shape", "message"),
    [
        (0, (None, 3), r"`axis` of block must be .*axis=0, shape=\(None, 3\)"),
        (-2, (None, 3), r"`axis` of block must be .* other than .* batch.*axis=-2"),
        (2, (None, 3), r"`axis` of block must be an axis of the input.*axis=2"),
        (-3, (None, 3), r"`axis` of block must be an axis of the input.*axis=-3"),
        (-1, (None,), r"`axis` of block must be .*shape=\(None,\)"),
        (-1, (None, 3, None), r"block needs the size of the channel axis \(axis -1\)"),
    ],
)
def test_bad_shapes(axis, shape, message):
    with pytest.raises(ValueError, match=message):
        LayerScale(axis=axis, name="block").build(shape)


def test_the_batch_is_never_scaled():
    layer = LayerScale(axis=-2)
    layer(np.ones((2, 3, 4), "float32"))
    with pytest.raises(ValueError, match="expected min_ndim=3, found ndim=2"):
        layer(np.ones((3, 4), "float32"))
