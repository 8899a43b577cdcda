import numpy as np
import pytest
from keras import ops

from keras_ext.layers import BlurPool2D
from tests.layers.weights import assert_close, images
from tests.reference.pooling import blur_pool2d
from tests.slopes import assert_gradient_is_the_slope, needs_double_precision

every_kernel = pytest.mark.parametrize("kernel_size", range(1, 8))


@every_kernel
@pytest.mark.parametrize("strides", [1, 2, 5])
def test_equals_the_reference(strides, kernel_size):
    layer = BlurPool2D(kernel_size, strides=strides)
    x = images(2, 9, 8, 3)
    expected = blur_pool2d(x, kernel_size, strides)
    assert_close(layer(x), expected)
    assert layer.compute_output_shape(x.shape) == expected.shape


@every_kernel
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_flat_image_stays_flat(kernel_size, dtype):
    layer = BlurPool2D(kernel_size, dtype=dtype)
    x = np.full((1, 8, 7, 2), 3.0, "float32")
    y = ops.cast(layer(x), "float32")
    # The sum of up to 49 products is rounded in `dtype`.
    rtol = {"float32": 5e-7, "float16": 4e-3, "bfloat16": 3e-2}[dtype]
    np.testing.assert_allclose(
        ops.convert_to_numpy(y), np.full((1, 4, 4, 2), 3.0), rtol=rtol
    )


@every_kernel
def test_the_smallest_image(kernel_size):
    least = kernel_size // 2 + 1
    x = images(2, least, least + 1, 2)
    assert_close(BlurPool2D(kernel_size)(x), blur_pool2d(x, kernel_size))
    if least > 1:
        message = rf"reflects {least - 1} pixels .*at least {least} by {least}"
        with pytest.raises(ValueError, match=message):
            BlurPool2D(kernel_size)(x[:, 1:])


@needs_double_precision
@pytest.mark.parametrize(("kernel_size", "strides"), [(1, 2), (2, 2), (3, 2), (6, 3)])
def test_gradients_are_finite_differences(kernel_size, strides):
    layer = BlurPool2D(kernel_size, strides=strides, dtype="float64")
    assert_gradient_is_the_slope(layer, images(2, 7, 6, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 0}, r"`kernel_size` must be a positive integer.*=0"),
        ({"kernel_size": 8}, r"`kernel_size` must be one of 1, 2, .* 7\. .*=8"),
        ({"kernel_size": (3, 3)}, r"`kernel_size` must be a positive integer"),
        ({"strides": 0}, r"`strides` must be a positive integer.*strides=0"),
        ({"strides": (2, 2)}, r"`strides` must be a positive integer"),
        ({"data_format": "NHWC"}, r"`data_format` must be one of .*'NHWC'"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        BlurPool2D(**options)


def test_another_rank_is_refused():
    with pytest.raises(ValueError, match=r"input of rank 4, shaped .*rank 3"):
        BlurPool2D()(images(2, 4, 3))


def test_a_layer_built_on_large_images_refuses_too_small_ones():
    layer = BlurPool2D(6)
    layer(images(1, 9, 9, 2))
    with pytest.raises(
        ValueError, match=r"at least 4 by 4\. Received: shape=\(1, 9, 3"
    ):
        layer(images(1, 9, 3, 2))
