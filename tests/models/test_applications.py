"""The models give the numbers of those in `keras.applications`."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext import models
from tests.models.networks import NARROW, TWINS, pixels, twin

every_twin = pytest.mark.parametrize("name", TWINS)
SIDES = {"InceptionV3": (99, 120)}


@pytest.fixture(autouse=True)
def _double_precision():
    """Leave rounding out, of which networks as deep as these make much.

    In single precision the difference depends on the machine's kernels. What remains
    is that Keras rounds the constants of a `Rescaling` to single precision.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy(before)


def _relative_difference(model, source, x):
    ours, theirs = (ops.convert_to_numpy(one(x)) for one in (model, source))
    assert ours.shape == theirs.shape
    scale = np.max(np.abs(theirs))
    # Else the comparison would say little.
    assert np.max(np.abs(theirs[0] - theirs[1])) > 0.1 * scale
    return np.max(np.abs(ours - theirs)) / scale


@every_twin
def test_logits_and_parameters_are_equal(name):
    shape = (*SIDES.get(name, (64, 97)), 3)
    source = twin(name, input_shape=shape, classifier_activation=None)
    model = TWINS[name](shape, classifier_activation=None)
    assert model.count_params() == source.count_params()
    models.load_applications_weights(model, source)
    assert _relative_difference(model, source, pixels((2, *shape)) / 64) < 1e-5


@pytest.mark.once
@every_twin
@pytest.mark.parametrize("pooling", [None, "max"])
def test_features_are_equal(name, pooling):
    options = {"include_top": False, "pooling": pooling, **NARROW.get(name, {})}
    source = twin(name, **options)
    model = TWINS[name](**options)
    assert model.count_params() == source.count_params()
    models.load_applications_weights(model, source)
    # For an odd number of pixels keras.applications pads a model of open size in
    # another way than one of that size.
    x = pixels((2, *SIDES.get(name, (64, 96)), 3)) / 64
    assert _relative_difference(model, source, x) < 1e-5


@pytest.mark.parametrize("name", ["MobileNetV3Small", "EfficientNetV2B0"])
def test_preprocessing_can_be_left_out(name):
    shape = (64, 64, 3)
    options = {"include_preprocessing": False, "classifier_activation": None}
    source = twin(name, input_shape=shape, **options)
    model = TWINS[name](shape, **options)
    models.load_applications_weights(model, source)
    assert _relative_difference(model, source, pixels((2, *shape)) / 255) < 1e-5


@pytest.mark.once
def test_images_of_other_than_three_channels():
    options = {"input_shape": (64, 64, 1), "classifier_activation": None}
    source = twin("EfficientNetV2B0", **options)
    model = models.EfficientNetV2B0(**options)
    models.load_applications_weights(model, source)
    x = pixels((2, 64, 64, 1)) / 64
    assert _relative_difference(model, source, x) < 1e-5


@functools.cache
def _fresh(name):
    """Return what holds of our model and of its twin, both as they are made."""
    shape = (*SIDES.get(name, (64, 64)), 3)
    source = getattr(keras.applications, name)(input_shape=shape, weights=None)
    return [_facts(model) for model in (TWINS[name](shape), source)]


def _facts(model):
    drops = [getattr(layer, "drop", layer) for layer in model.layers]
    rates = [getattr(drop, "rate", None) for drop in drops]
    norms = [
        (one.momentum, one.epsilon, one.center, one.scale)
        for one in model._flatten_layers()
        if isinstance(one, keras.layers.BatchNormalization)
    ]
    # The standard deviation of fresh kernels, on average over the network.
    kernels = [
        np.std(ops.convert_to_numpy(v)) * np.sqrt(np.prod(v.shape[:-1]))
        for v in model.trainable_variables
        if v.name == "kernel" and np.prod(v.shape) > 10_000
    ]
    return {
        "rates": [rate for rate in rates if rate],
        "moments": sorted(norms),
        "kernels": np.mean(kernels),
    }


@pytest.mark.once
@every_twin
def test_regularisation_is_that_of_the_twin(name):
    ours, theirs = _fresh(name)
    assert ours["rates"] == pytest.approx(theirs["rates"])


@pytest.mark.once
@every_twin
def test_batch_normalisation_and_initialisers_are_those_of_the_twin(name):
    ours, theirs = _fresh(name)
    assert ours["moments"] == theirs["moments"]
    assert ours["kernels"] == pytest.approx(theirs["kernels"], rel=0.02)
