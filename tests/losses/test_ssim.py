"""Structural similarity against the paper's formula, one window at a time."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.losses import SSIM, ssim
from tests.backends import gradients
from tests.losses.compiling import assert_compiled_alike, assert_finite
from tests.markers import needs_tensorflow
from tests.reference import image_losses as reference
from tests.slopes import assert_gradient_is_the_slope, needs_double_precision

LAST = {"data_format": "channels_last"}

rng = np.random.default_rng(16)
y_true = rng.uniform(size=(2, 13, 12, 2)).astype("float32")
y_pred = np.clip(y_true + rng.normal(0, 0.2, size=y_true.shape), 0, 1).astype("float32")


def numpy(x):
    return ops.convert_to_numpy(x)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"filter_size": 4, "sigma": 0.7},
        {"filter_size": 1},
        {"max_value": 255.0, "filter_size": 8, "k1": 0.05, "k2": 0.1},
    ],
)
def test_equals_the_formula(options):
    scale = options.get("max_value", 1.0)
    images = scale * y_true, scale * y_pred
    expected = reference.ssim(*images, **options)
    values = ssim(*images, **options, **LAST)
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)
    loss = SSIM(**options, **LAST)
    assert float(loss(*images)) == pytest.approx(expected.mean(), abs=1e-5)


def _flat_and_noise():
    images = np.full((3, 16, 16, 1), 0.9, "float32")
    images[1] += rng.normal(0, 1e-2, size=(16, 16, 1))
    images[2, 8:] = 0.1
    return images


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_bright_flat_images_keep_their_digits(scale):
    images = scale * _flat_and_noise()
    for true, predicted in ((images, images[::-1]), (images, images + 0.01 * scale)):
        expected = reference.ssim(true, predicted, max_value=scale)
        values = ssim(true, predicted, scale, **LAST)
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)


@needs_tensorflow
@pytest.mark.parametrize("filter_size", [11, 5])
def test_equals_tensorflow(filter_size):
    import tensorflow as tf

    theirs = tf.image.ssim(y_true, y_pred, 1.0, filter_size=filter_size)
    ours = ssim(y_true, y_pred, filter_size=filter_size, **LAST)
    np.testing.assert_allclose(1 - numpy(ours), theirs, atol=1e-5)


def test_channels_first():
    expected = ssim(y_true, y_pred, **LAST)
    first = (np.moveaxis(images, -1, 1) for images in (y_true, y_pred))
    np.testing.assert_allclose(
        ssim(*first, data_format="channels_first"), expected, rtol=1e-6
    )


def test_the_global_data_format_is_the_default():
    assert SSIM().data_format == keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        assert SSIM().data_format == "channels_first"
        first = (np.moveaxis(images, -1, 1) for images in (y_true, y_pred))
        values = ssim(*first)
    finally:
        keras.config.set_image_data_format("channels_last")
    np.testing.assert_allclose(values, ssim(y_true, y_pred), rtol=1e-6)


@needs_double_precision
def test_the_gradient_is_the_slope():
    true = y_true.astype("float64")
    assert_gradient_is_the_slope(lambda x: ssim(true, x, **LAST), y_pred)
    assert_gradient_is_the_slope(lambda x: ssim(x, true, **LAST), y_pred)


def test_compiled():
    assert_compiled_alike(lambda x: ssim(y_true, x, **LAST), y_pred)


class TestCorners:
    def test_equal_images_are_0_with_a_slope_of_0(self):
        for images in (y_true, _flat_and_noise(), np.zeros((1, 11, 11, 1), "float32")):
            np.testing.assert_array_equal(ssim(images, images, **LAST), 0)
            (slope,) = gradients(lambda x, y=images: ssim(y, x, **LAST), images)
            np.testing.assert_array_equal(slope, 0)

    def test_black_and_white_are_finite(self):
        black = np.zeros((1, 12, 12, 1), "float32")
        for true in (black, black + 1):
            for predicted in (black, black + 1):
                assert_finite(lambda x, y=true: ssim(y, x, **LAST), predicted)

    def test_the_negative_is_worse_than_noise(self):
        checks = (np.indices((16, 16)).sum(axis=0) % 2).astype("float32")
        checks = checks[None, ..., None]
        opposite, noise = (
            float(ssim(checks, other, **LAST)[0])
            for other in (1 - checks, rng.uniform(size=checks.shape))
        )
        assert 1.9 < opposite <= 2
        assert 0.5 < noise < 1.5


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    half = ops.cast(y_pred, dtype)
    values = ssim(y_true, half, **LAST)
    assert keras.backend.standardize_dtype(values.dtype) == "float32"
    expected = ssim(y_true, ops.cast(half, "float32"), **LAST)
    np.testing.assert_array_equal(values, expected)


@needs_tensorflow
def test_one_graph_for_images_of_any_size():
    import tensorflow as tf

    of_any_size = tf.function(
        lambda x, y: ssim(x, y, **LAST), input_signature=[tf.TensorSpec([None] * 4)] * 2
    )
    for batch, height in ((2, 13), (1, 11)):
        images = y_true[:batch, :height], y_pred[:batch, :height]
        np.testing.assert_allclose(
            of_any_size(*images), ssim(*images, **LAST), rtol=1e-6
        )


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"max_value": 0}, r"`max_value` must be a finite number in \(0, inf\)"),
        ({"filter_size": 0}, "`filter_size` must be a positive integer. .*size=0"),
        ({"filter_size": 2.5}, "filter_size=2.5"),
        ({"sigma": -1}, r"`sigma` must be a finite number in \(0, inf\). .*sigma=-1"),
        ({"k1": 0}, r"`k1` must be a finite number in \(0, inf\)"),
        ({"k2": "x"}, "k2='x'"),
        ({"data_format": "NHWC"}, "`data_format` must be one of .*'NHWC'"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        SSIM(**arguments)
    with pytest.raises(ValueError, match=match):
        ssim(y_true, y_pred, **{**LAST, **arguments})


@pytest.mark.parametrize(
    ("true", "predicted", "data_format", "match"),
    [
        ((2, 12, 12, 3), (2, 12, 12, 1), "channels_last", r"same shape \(batch, heigh"),
        ((2, 3, 12, 12), (2, 3, 12, 13), "channels_first", r"\(batch, channels, heigh"),
        ((12, 12, 3), (12, 12, 3), "channels_last", r"y_pred.shape=\(12, 12, 3\)"),
        ((2, 2, 12, 12, 3),) * 2 + ("channels_last", "input of rank 4, shaped"),
        ((2, 12, 10, 3),) * 2 + ("channels_last", r"11 x 11 pixels.*\(2, 12, 10, 3\)"),
        ((2, 12, 12, 3),) * 2 + ("channels_first", "with data_format='channels_first'"),
    ],
)
def test_bad_shapes(true, predicted, data_format, match):
    with pytest.raises(ValueError, match=match):
        ssim(np.zeros(true), np.zeros(predicted), data_format=data_format)


def test_config_keeps_every_argument():
    loss = SSIM(255, 7, 1, 0.02, 0.05, "channels_first", reduction="sum", name="s")
    assert loss.get_config() == {
        "name": "s",
        "reduction": "sum",
        "max_value": 255.0,
        "filter_size": 7,
        "sigma": 1.0,
        "k1": 0.02,
        "k2": 0.05,
        "data_format": "channels_first",
        "dtype": "float32",
    }
