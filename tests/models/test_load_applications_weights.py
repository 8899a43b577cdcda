import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext import models
from tests.models.networks import pixels, twin

SHAPE = (32, 32, 3)


def _refused(model, source, message):
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        models.load_applications_weights(model, source)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


def _small(**options):
    return models.MobileNetV2(SHAPE, alpha=0.35, **options)


def test_another_network_is_refused():
    source = twin("MobileNetV3Small", input_shape=SHAPE)
    _refused(_small(), source, r"Missing in 'MobileNetV3Small': .*Missing in 'mobilen")


def test_another_width_is_refused():
    source = twin("MobileNetV2", input_shape=SHAPE, alpha=0.5)
    _refused(_small(), source, r"'block_1/project/conv' must have the same shapes")


def test_other_classes_are_refused():
    source = twin("MobileNetV2", input_shape=SHAPE, alpha=0.35, classes=10)
    _refused(_small(), source, r"'predictions' .*Expected: \[\(1280, 1000\), \(1000,\)")


@pytest.mark.parametrize("ours", [True, False])
def test_a_missing_classifier_is_named(ours):
    source = twin("MobileNetV2", input_shape=SHAPE, alpha=0.35, include_top=not ours)
    owner = "mobilenetv2" if ours else "mobilenet_v2"
    message = rf"Missing in '{owner}[^']*': predictions"
    _refused(_small(include_top=ours), source, message)


def test_a_minimalistic_mobilenet_is_refused():
    source = twin("MobileNetV3Small", input_shape=SHAPE, minimalistic=True)
    message = "Missing in .*: expanded_conv_10_squeeze_excite_conv"
    _refused(models.MobileNetV3Small(SHAPE), source, message)


def test_a_model_around_a_model_is_refused():
    source = twin("MobileNetV2", input_shape=SHAPE)
    outer = keras.Sequential([keras.Input(SHAPE), _small()])
    _refused(outer, source, r"contains the model 'mobilenet_v2'. Pass the inner one")


def test_a_head_of_ones_own_is_refused():
    source = twin("MobileNetV2", input_shape=SHAPE, alpha=0.35)
    outputs = keras.layers.Dense(2, name="mine")(source.output)
    source = keras.Model(source.input, outputs)
    _refused(_small(), source, r"Missing in 'mobilenet_v2': mine$")


def test_preprocessing_may_be_left_out_here():
    source = twin("EfficientNetB0", input_shape=SHAPE, classifier_activation=None)
    normalization = next(one for one in source.layers if hasattr(one, "adapt"))
    options = {"include_preprocessing": False, "classifier_activation": None}
    model = models.EfficientNetB0(SHAPE, **options)
    models.load_applications_weights(model, source)
    x = pixels((2, *SHAPE)) / 64
    expected = ops.convert_to_numpy(source(x))
    prepared = normalization(x / 255)
    np.testing.assert_allclose(
        ops.convert_to_numpy(model(prepared)),
        expected,
        atol=1e-4 * np.abs(expected).max(),
    )


def test_a_model_without_a_twin_is_refused():
    source = twin("MobileNetV2", input_shape=SHAPE)
    _refused(
        models.GoogLeNet(SHAPE), source, "is not the keras.applications counterpart"
    )


def test_a_renamed_and_reloaded_model_takes_weights(tmp_path):
    source = twin("MobileNetV2", input_shape=SHAPE, alpha=0.35)
    _small(name="renamed").save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    models.load_applications_weights(model, source)
    x = pixels((1, *SHAPE)) / 128
    np.testing.assert_allclose(
        ops.convert_to_numpy(model(x)), ops.convert_to_numpy(source(x)), rtol=1e-4
    )


def test_the_names_of_other_inception_models_do_not_matter():
    # Keras goes on counting: these layers are called conv2d_94 and so on.
    keras.applications.InceptionV3(input_shape=(75, 75, 3), weights=None)
    source = twin("InceptionV3", input_shape=(75, 75, 3), classifier_activation=None)
    model = models.InceptionV3((75, 75, 3), classifier_activation=None)
    models.load_applications_weights(model, source)
    x = pixels((1, 75, 75, 3)) / 128
    expected = ops.convert_to_numpy(source(x))
    np.testing.assert_allclose(
        ops.convert_to_numpy(model(x)), expected, atol=1e-5 * np.abs(expected).max()
    )


def test_efficientnets_second_rescaling_goes_into_the_normalization():
    # `weights="imagenet"` adds it, and would download.
    source = twin("EfficientNetB0", input_shape=SHAPE, classifier_activation=None)
    scale = [1.5, 2.0, 2.5]
    config = source.get_config()
    names = [layer["name"] for layer in config["layers"]]
    place = names.index("stem_conv_pad")
    second = keras.saving.serialize_keras_object(
        keras.layers.Rescaling(scale, name="second")
    )
    nodes = config["layers"][place]["inbound_nodes"]
    config["layers"][place]["inbound_nodes"] = json.loads(
        json.dumps(nodes).replace(names[place - 1], "second")
    )
    config["layers"].insert(place, {**second, "name": "second", "inbound_nodes": nodes})
    scaled = keras.Model.from_config(config)
    scaled.set_weights(source.get_weights())
    scaled.get_layer(names[place - 1]).finalize_state()
    model = models.EfficientNetB0(SHAPE, classifier_activation=None)
    models.load_applications_weights(model, scaled)
    x = pixels((1, *SHAPE))
    ours, theirs, without = (
        ops.convert_to_numpy(keras.Model(one.input, one.get_layer(name).output)(x))
        for one, name in (
            (model, "normalization"),
            (scaled, "second"),
            (scaled, names[place - 1]),
        )
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert not np.allclose(theirs, without, rtol=0.1)
