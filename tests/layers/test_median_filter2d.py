"""`MedianFilter2D` against SciPy, which shares no code with it."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import ndimage

from keras_ext.layers import MedianFilter2D
from tests.backends import compiled, gradients
from tests.layers.weights import assert_close, images
from tests.slopes import assert_gradient_is_the_slope, needs_double_precision

# SciPy's and NumPy's names differ: a mirror has the outermost pixel once.
MODES = {"reflect": "mirror", "symmetric": "reflect", "constant": "constant"}
SIZES = [1, 2, 3, (4, 5), (6, 1)]


def reference(x, kernel_size, padding="reflect", constant_values=0):
    """Filter with SciPy. Its median of an even number is the upper one."""
    height, width = np.broadcast_to(kernel_size, 2)
    # SciPy's window begins at half its size before the pixel.
    origin = [0, -1 + height % 2, -1 + width % 2, 0]

    def rank(place):
        return ndimage.rank_filter(
            x.astype("float64"),
            place,
            size=(1, height, width, 1),
            mode=MODES[padding],
            cval=constant_values,
            origin=origin,
        )

    count = int(height * width)
    return (rank((count - 1) // 2) + rank(count // 2)) / 2


@pytest.mark.parametrize("padding", MODES)
@pytest.mark.parametrize("kernel_size", SIZES)
def test_equals_the_reference(kernel_size, padding):
    x = images(2, 6, 7, 3)
    expected = reference(x, kernel_size, padding, 0.3)
    layer = MedianFilter2D(kernel_size, padding=padding, constant_values=0.3)
    assert_close(layer(x), expected, 1e-7)


def test_equals_the_median_filter_of_scipy():
    x = images(1, 9, 8, 1)
    expected = ndimage.median_filter(x[0, ..., 0], 5, mode="mirror")
    np.testing.assert_array_equal(MedianFilter2D(5)(x)[0, ..., 0], expected)


def test_equals_the_reference_with_many_equal_pixels():
    x = np.random.default_rng(2).integers(0, 3, (2, 9, 8, 2)).astype("float32")
    for kernel_size in (3, 4):
        assert_close(MedianFilter2D(kernel_size)(x), reference(x, kernel_size), 0)


@pytest.mark.once
@pytest.mark.parametrize("kernel_size", [(1, 2), (1, 7), (3, 4), 5, (7, 6), 9])
def test_windows_of_any_size(kernel_size):
    x = images(1, 10, 9, 2)
    outputs = MedianFilter2D(kernel_size, data_format="channels_first")(
        np.moveaxis(x, -1, 1)
    )
    assert_close(ops.moveaxis(outputs, 1, -1), reference(x, kernel_size), 1e-7)


def test_single_wrong_pixels_disappear_and_edges_remain():
    x = np.zeros((1, 8, 8, 1), "float32")
    x[:, :, 4:] = 1
    wrong = x.copy()
    wrong[0, 2, 2], wrong[0, 5, 6] = 100, -100
    np.testing.assert_array_equal(MedianFilter2D()(wrong), x)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "bool"])
def test_integers_become_the_dtype_of_the_layer(dtype):
    x = np.random.default_rng(3).integers(0, 255, (2, 6, 6, 2)).astype(dtype)
    outputs = MedianFilter2D(2)(x)
    assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
    assert_close(outputs, reference(x, 2), 0)  # 255 + 255 is not 254


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_does_not_round_or_overflow(dtype):
    x = ops.cast(images(1, 6, 5, 2) * 2.0**14, dtype)
    expected = reference(ops.convert_to_numpy(ops.cast(x, "float32")), 3)
    layer = MedianFilter2D(3, dtype=dtype)
    assert_close(ops.cast(layer(x), "float32"), expected, 0)
    high = ops.full((1, 4, 4, 1), 60000, dtype)
    even = MedianFilter2D(2, dtype=dtype)(high)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(ops.cast(even, "float32")),
        ops.convert_to_numpy(ops.cast(high, "float32")),
    )


@needs_double_precision
@pytest.mark.parametrize("padding", MODES)
@pytest.mark.parametrize("kernel_size", [3, (2, 3)])
def test_gradients_are_finite_differences(kernel_size, padding):
    layer = MedianFilter2D(kernel_size, padding=padding, dtype="float64")
    assert_gradient_is_the_slope(layer, images(2, 5, 6, 2))


def test_gradient_of_equal_pixels_sums_to_that_of_the_outputs():
    (slope,) = gradients(MedianFilter2D(3), np.ones((1, 5, 5, 1), "float32"))
    assert slope.sum() == 25
    x = images(1, 5, 5, 1)
    (slope,) = gradients(MedianFilter2D(3), x)
    picked = reference(x, 3)
    np.testing.assert_array_equal(
        slope, (picked[..., None] == x.ravel()).sum((1, 2, 3)).reshape(x.shape)
    )


@pytest.mark.parametrize("size", [(1, 1), (1, 4)])
def test_the_smallest_images(size):
    x = images(2, *size, 2)
    for kernel_size, padding in ((1, "reflect"), (2, "symmetric"), (5, "constant")):
        layer = MedianFilter2D(kernel_size, padding=padding)
        assert_close(layer(x), reference(x, kernel_size, padding), 1e-7)


@pytest.mark.parametrize(
    ("kernel_size", "padding", "least"),
    [
        (3, "reflect", (2, 2)),
        ((4, 5), "symmetric", (2, 2)),
        ((2, 5), "reflect", (2, 3)),
    ],
)
def test_images_that_are_too_small_to_be_reflected(kernel_size, padding, least):
    layer = MedianFilter2D(kernel_size, padding=padding)
    x = images(1, *least, 2)
    assert_close(layer(x), reference(x, kernel_size, padding), 1e-7)
    message = f"needs images of at least {least[0]} by {least[1]}. .*Use a smaller"
    with pytest.raises(ValueError, match=message):
        layer(x[:, 1:])
    with pytest.raises(ValueError, match=message):
        layer.build((None, None, least[1] - 1, 2))


def test_sizes_that_are_known_only_at_run_time():
    inputs = keras.Input((None, None, None))
    model = keras.Model(inputs, MedianFilter2D((3, 4))(inputs))
    assert model.output_shape == (None, None, None, None)
    run = compiled(model)
    for size in ((8, 7), (5, 9)):
        x = images(3, *size, 2)
        assert_close(run(ops.convert_to_tensor(x)), reference(x, (3, 4)), 1e-7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 0}, "`kernel_size` must be a positive integer or a pair"),
        ({"kernel_size": (3, 3, 3)}, "`kernel_size` must be a positive integer or a p"),
        ({"padding": "same"}, "`padding` must be one of 'reflect', 'symmetric', 'co"),
        ({"constant_values": None}, "`constant_values` must be a finite number"),
        ({"data_format": "NHWC"}, "`data_format` must be one of .*'NHWC'"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        MedianFilter2D(**options)


def test_another_rank_is_refused():
    with pytest.raises(ValueError, match=r"input of rank 4, shaped .*rank 3"):
        MedianFilter2D()(images(2, 4, 3))
