"""`Rotation2D` against SciPy."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import ndimage

from keras_ext.layers import Rotation2D
from tests.backends import compiled, gradients
from tests.layers.weights import assert_close, images
from tests.slopes import assert_gradient_is_the_slope, needs_double_precision

ANGLES = np.array([0.4, -1.3, 2.9], "float32")
# SciPy's names for what is beyond the border: it is interpolated there, too.
MODES = {
    "constant": "grid-constant",
    "nearest": "nearest",
    "wrap": "grid-wrap",
    "reflect": "reflect",
}


def reference(x, angles, interpolation="bilinear", fill_mode="constant", fill_value=0):
    """Rotate each channel of each image with SciPy."""
    outputs = np.zeros(x.shape)
    center = (np.array(x.shape[1:3]) - 1) / 2
    for sample, angle in enumerate(np.broadcast_to(angles, len(x)).astype("float64")):
        cos, sin = np.cos(angle), np.sin(angle)
        matrix = np.array([[cos, sin], [-sin, cos]])
        for channel in range(x.shape[3]):
            outputs[sample, ..., channel] = ndimage.affine_transform(
                x[sample, ..., channel].astype("float64"),
                matrix,
                center - matrix @ center,
                order=1 if interpolation == "bilinear" else 0,
                mode=MODES[fill_mode],
                cval=fill_value,
            )
    return outputs


@pytest.mark.parametrize("fill_mode", MODES)
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_equals_the_reference(interpolation, fill_mode):
    for size in ((8, 7), (3, 16), (1, 1)):
        x = images(3, *size, 2)
        options = {"fill_mode": fill_mode, "fill_value": 0.7}
        expected = reference(x, ANGLES, interpolation, **options)
        assert_close(Rotation2D(interpolation, **options)([x, ANGLES]), expected)


def test_equals_the_reference_with_the_channels_first():
    x = images(3, 8, 7, 2)
    layer = Rotation2D(data_format="channels_first")
    outputs = layer([np.moveaxis(x, -1, 1), ANGLES])
    assert_close(ops.moveaxis(outputs, 1, -1), reference(x, ANGLES))


def test_one_angle_for_all_images_equals_the_reference():
    x = images(3, 8, 7, 2)
    assert_close(Rotation2D()([x, np.float32(0.5)]), reference(x, 0.5))


@pytest.mark.parametrize("fill_mode", MODES)
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_the_angle_0_changes_no_bit(interpolation, fill_mode):
    x = images(2, 8, 7, 2)
    layer = Rotation2D(interpolation, fill_mode=fill_mode, fill_value=3.0)
    np.testing.assert_array_equal(layer([x, np.zeros(2, "float32")]), x)


@pytest.mark.parametrize("turns", [-1, 1, 2, 3, 6])
@pytest.mark.parametrize("size", [(5, 5), (6, 6)])
def test_quarter_turns_are_counterclockwise(size, turns):
    x = images(1, *size, 2)
    outputs = Rotation2D("nearest")([x, np.array([turns * np.pi / 2], "float32")])
    np.testing.assert_array_equal(outputs, np.rot90(x, turns, axes=(1, 2)))


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_integers_become_the_dtype_of_the_layer(dtype):
    x = np.random.default_rng(3).integers(0, 255, (3, 6, 6, 1)).astype(dtype)
    outputs = Rotation2D()([x, ANGLES])
    assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
    assert_close(outputs, reference(x, ANGLES))


def test_angles_are_not_rounded_to_half_precision():
    # A hundredth of a pixel per pixel, at the edge of a wide image.
    x = np.broadcast_to(np.arange(3.0)[:, None], (1, 3, 1001))[..., None] / 2
    angles = np.array([1.001e-3], "float32")
    outputs = Rotation2D(fill_mode="nearest", dtype="float16")([x, angles])
    assert keras.backend.standardize_dtype(outputs.dtype) == "float16"
    expected = reference(x, angles, fill_mode="nearest")
    np.testing.assert_allclose(ops.convert_to_numpy(outputs), expected, atol=5e-4)


@needs_double_precision
@pytest.mark.parametrize("fill_mode", MODES)
def test_gradients_are_finite_differences(fill_mode):
    x, angles = images(3, 6, 5, 2).astype("float64"), ANGLES.astype("float64")
    layer = Rotation2D(fill_mode=fill_mode, dtype="float64")
    assert_gradient_is_the_slope(lambda x: layer([x, angles]), x)
    assert_gradient_is_the_slope(lambda angles: layer([x, angles]), angles)


def test_gradient_of_the_angle_equals_the_slope_of_the_reference():
    x = images(3, 6, 5, 2)
    (slope,) = gradients(lambda angles: ops.sin(Rotation2D()([x, angles])), ANGLES)
    step = 1e-5
    angles = ANGLES.astype("float64")
    sides = [np.sin(reference(x, angles + way)) for way in (step, -step)]
    expected = (sides[0] - sides[1]).sum(axis=(1, 2, 3)) / (2 * step)
    assert_close(slope, expected, 1e-3)


def test_sizes_that_are_known_only_at_run_time():
    layer = Rotation2D()
    inputs = keras.Input((None, None, None)), keras.Input(())
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == (None, None, None, None)
    run = compiled(lambda *arrays: model(arrays))
    for size in ((8, 7), (5, 9)):
        x = images(3, *size, 2)
        outputs = run(*map(ops.convert_to_tensor, (x, ANGLES)))
        assert_close(outputs, reference(x, ANGLES))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"interpolation": "cubic"}, "`interpolation` must be one of 'nearest', 'bil"),
        ({"fill_mode": "mirror"}, "`fill_mode` must be one of .*'mirror'"),
        ({"fill_value": "white"}, "`fill_value` must be a finite number"),
        ({"data_format": "NHWC"}, "`data_format` must be one of .*'NHWC'"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        Rotation2D(**options)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(2, 5, 5, 3)], "expects a list of two tensors, images and angles"),
        ((2, 5, 5, 3), "expects a list of two tensors, images and angles"),
        ([(2, 5, 5), (2,)], r"input of rank 4, shaped \(batch, height, width"),
        ([(2, 5, 5, 3), (3,)], r"of shape \(2,\), or one for all.*shape \(3,\)"),
        ([(2, 5, 5, 3), (2, 1)], r"an angle for each image.*shape \(2, 1\)"),
    ],
)
def test_bad_shapes(shapes, message):
    with pytest.raises(ValueError, match=message):
        Rotation2D().build(shapes)
