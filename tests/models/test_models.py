"""What holds for every model."""

import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext import models
from tests.backends import channels_first
from tests.models.networks import BUILDERS, NARROW, enliven, pixels, side

BACKEND = keras.backend.backend()
# These have all kinds of blocks between them.
FIRST = ("EfficientNetV2B0", "GoogLeNet", "MobileNetV3Small")
every_model = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in FIRST else pytest.mark.long)
        for name in BUILDERS
    ],
)


def _build(name, **options):
    shape = (side(name), side(name), 3)
    if keras.config.image_data_format() == "channels_first":
        shape = (3, *shape[:2])
    return BUILDERS[name](shape, classes=5, **NARROW.get(name, {}), **options)


def _images(name, count=2):
    return pixels((count, side(name), side(name), 3)) / 64


def _lively(name):
    """Return a model whose outputs tell images apart, and what it gives."""
    options = {"normalization": "batch"} if name == "GoogLeNet" else {}
    model = _build(name, classifier_activation=None, **options)
    enliven(model, name)
    logits = ops.convert_to_numpy(model(_images(name)))
    assert np.max(np.abs(logits[0] - logits[1])) > 0.1 * np.max(np.abs(logits))
    return model, logits


def test_every_model_is_tested():
    assert {*BUILDERS, "load_applications_weights"} == set(models.__all__)


@every_model
def test_keras_file_round_trip(name, tmp_path):
    model, expected = _lively(name)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    logits = ops.convert_to_numpy(loaded(_images(name)))
    np.testing.assert_array_equal(logits, expected)
    assert [one.name for one in loaded.layers] == [one.name for one in model.layers]
    json.loads(model.to_json())


@pytest.mark.long
@every_model
def test_a_compiled_fit_step_moves_every_weight(name):
    model = _build(name)
    before = [ops.convert_to_numpy(v) for v in model.trainable_variables]
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    model.fit(_images(name, 4), np.array([0, 1, 2, 4]), verbose=0)
    moved = [
        not np.array_equal(ops.convert_to_numpy(v), old)
        for v, old in zip(model.trainable_variables, before, strict=True)
    ]
    # Stochastic depth drops a block for all four images once in some hundred steps;
    # ReLUs may be dead at a single pixel.
    assert np.mean(moved) > 0.8


@every_model
def test_channels_first_is_channels_last_transposed(name):
    model = _build(name, include_top=False)
    x = _images(name)
    expected = ops.convert_to_numpy(model(x))
    keras.config.set_image_data_format("channels_first")
    try:
        first = _build(name, include_top=False)
    finally:
        keras.config.set_image_data_format("channels_last")
    first.set_weights(model.get_weights())
    output = ops.convert_to_numpy(channels_first(first)(np.moveaxis(x, -1, 1)))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(np.moveaxis(output, 1, -1), expected, atol=1e-4 * scale)


@pytest.mark.long
@every_model
@pytest.mark.skipif(BACKEND != "tensorflow", reason="a feature of TensorFlow")
def test_exported_model_gives_the_same_numbers(name, tmp_path):
    import tensorflow as tf

    model, _ = _lively(name)
    # Eager kernels round otherwise, of which these random networks make much.
    expected = model.predict(_images(name), verbose=0)
    model.export(tmp_path / "exported", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "exported")
    scale = np.max(np.abs(expected))
    logits = loaded.serve(_images(name))
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * scale)


@pytest.mark.once
@every_model
def test_half_precision(name):
    # The numbers of every block are compared in tests/layers.
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        options = {"normalization": "batch"} if name == "GoogLeNet" else {}
        model = _build(name, classifier_activation=None, **options)
    finally:
        keras.config.set_dtype_policy(before)
    enliven(model, name)
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    assert model.output.dtype == "bfloat16"
    logits = ops.convert_to_numpy(ops.cast(model(_images(name)), "float32"))
    assert np.all(np.isfinite(logits))
    assert np.max(np.abs(logits[0] - logits[1])) > 0.1 * np.max(np.abs(logits))


FEATURES = [
    ("EfficientNetB0", {}, (65, 96), (3, 3, 1280)),
    ("EfficientNetV2B0", {}, (65, 96), (3, 3, 1280)),
    ("GoogLeNet", {}, (65, 96), (3, 3, 1024)),
    ("InceptionV3", {}, (139, 171), (3, 4, 2048)),
    ("MobileNetV2", {"alpha": 0.35}, (65, 96), (3, 3, 1280)),
    ("MobileNetV2", {"alpha": 1.4}, (32, 33), (1, 2, 1792)),
    ("MobileNetV3Large", {}, (65, 96), (3, 3, 960)),
    ("MobileNetV3Large", {"alpha": 0.25}, (32, 33), (1, 2, 240)),
    ("MobileNetV3Small", {}, (65, 96), (3, 3, 576)),
    ("MobileNetV3Small", {"alpha": 0.25}, (32, 33), (1, 2, 144)),
]


@pytest.mark.once
@pytest.mark.parametrize(("name", "options", "size", "shape"), FEATURES)
def test_features_of_images_of_any_size(name, options, size, shape):
    model = BUILDERS[name](include_top=False, weights=None, **options)
    assert model.input_shape == (None, None, None, 3)
    assert model.output_shape == (None, None, None, shape[-1])
    assert tuple(model(pixels((1, *size, 3))).shape) == (1, *shape)


@every_model
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_shape": (64, 64)}, r"`input_shape` must be \(height, width, channels"),
        ({"input_shape": (8, 64, 3)}, r"`input_shape` must be .* at least \d\d pixels"),
        ({"input_shape": (64.5, 64, 3)}, r"`height of input_shape` must be a positive"),
        ({"input_shape": (96, 96, None)}, r"`channels of input_shape` must be a pos"),
        ({"classes": 0}, r"`classes` must be a positive integer.*classes=0"),
        ({"pooling": "mean"}, r"`pooling` must be one of None, 'avg', 'max'.*'mean'"),
        (
            {"weights": "imagenet"},
            r"weights=None.*load_applications_weights.*'imagenet'",
        ),
        ({"pooling": "avg"}, r"`pooling` is for a model without a classifier"),
    ],
)
def test_bad_arguments(name, options, message):
    with pytest.raises(ValueError, match=message):
        BUILDERS[name](**options)


@pytest.mark.parametrize("name", ["EfficientNetB0", "EfficientNetV2B0"])
@pytest.mark.parametrize("rate", ["dropout_rate", "drop_connect_rate"])
def test_bad_rates(name, rate):
    with pytest.raises(
        ValueError, match=rf"`{rate}` must be a finite number in \[0, 1"
    ):
        BUILDERS[name](**{rate: 1.0})


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("alpha", [0, -1.0, "wide", None])
def test_bad_widths(name, alpha):
    with pytest.raises(ValueError, match=r"`alpha` must be a finite number in \(0, "):
        BUILDERS[name](alpha=alpha)
