"""The models, small, and their twins in `keras.applications`."""

import keras
import numpy as np

from keras_ext import models

BUILDERS = {
    "EfficientNetB0": models.EfficientNetB0,
    "EfficientNetV2B0": models.EfficientNetV2B0,
    "GoogLeNet": models.GoogLeNet,
    "InceptionV3": models.InceptionV3,
    "MobileNetV2": models.MobileNetV2,
    "MobileNetV3Large": models.MobileNetV3Large,
    "MobileNetV3Small": models.MobileNetV3Small,
}
TWINS = {name: build for name, build in BUILDERS.items() if name != "GoogLeNet"}
NARROW = {
    "MobileNetV2": {"alpha": 0.35},
    "MobileNetV3Large": {"alpha": 0.25},
    "MobileNetV3Small": {"alpha": 0.25},
}


def side(name):
    """Return the fewest pixels of a side, more or less."""
    return 75 if name == "InceptionV3" else 32


def twin(name, **options):
    """Return the model of `keras.applications`, with random weights."""
    model = getattr(keras.applications, name)(**{"weights": None, **options})
    enliven(model, name)
    return model


def enliven(model, name):
    """Give a model random weights under which its outputs tell images apart.

    Its moving moments are near those of random images: with any others a network as
    deep as these forgets its input, and every comparison would succeed.
    """
    rng = np.random.default_rng(1)
    for variable in model.weights:
        variable.assign(_value(variable, rng).astype(variable.dtype))
    layers = model._flatten_layers()
    norms = [one for one in layers if isinstance(one, keras.layers.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    shape = [size or 2 * side(name) for size in model.input_shape[1:]]
    # A small image ends in one pixel, so that only many have moments.
    count = max(8, 64 // (_at_the_end(shape[0], name) * _at_the_end(shape[1], name)))
    model(pixels((count, *shape), seed=3) / 64, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        variance = np.array(norm.moving_variance)
        # That of few pixels may be next to nothing, and would blow up every rounding.
        variance = np.maximum(variance, 0.1 * variance.mean())
        factors = rng.uniform(0.7, 1.4, variance.shape)
        norm.moving_variance.assign((variance * factors).astype("float32"))


def _at_the_end(size, name):
    """Return how many pixels are left of a side."""
    return (size - 43) // 32 if name == "InceptionV3" else -(-size // 32)


def _value(variable, rng):
    shape = tuple(variable.shape)
    if variable.name in ("gamma", "variance", "moving_variance"):
        return rng.uniform(0.5, 1.5, shape)
    if variable.name in ("bias", "beta", "mean", "moving_mean"):
        return rng.normal(0, 0.3, shape)
    if variable.name == "count":
        return np.array(3)
    fan_in = np.prod(shape[:2] if shape[-1] == 1 else shape[:-1])
    return rng.normal(0, 1 / np.sqrt(fan_in), shape)


def pixels(shape, seed=2):
    """Return images as the networks that rescale take them."""
    return np.random.default_rng(seed).uniform(0, 255, shape).astype("float32")
