"""What the tests of the bridge share: a model in Keras 2, and the same in Keras 3."""

import importlib.util

import keras
import numpy as np
import pytest

if (
    importlib.util.find_spec("tensorflow_addons") is None
    or keras.backend.backend() != "tensorflow"
):
    pytest.skip(
        "TensorFlow Addons is not installed (its wheels end at Python 3.11), or the "
        "backend is not TensorFlow: `.ci/run addons` runs this",
        allow_module_level=True,
    )

import tf_keras

from keras_ext import addons

tfa = addons.tfa
LEGACY = tf_keras.optimizers.legacy

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 5)).astype("float32")
Y = RNG.normal(size=(48, 1)).astype("float32")
WEIGHTS = [
    (RNG.normal(size=shape) * 0.3).astype("float32")
    for shape in [(5, 8), (8,), (8, 1), (1,)]
]
FIT = {"batch_size": 16, "epochs": 2, "shuffle": False, "verbose": 0}


def small(of, weights=WEIGHTS):
    """Return a small network of Keras 2 or 3: of `tf_keras` or `keras`."""
    model = of.Sequential(
        [of.Input((5,)), of.layers.Dense(8, "tanh"), of.layers.Dense(1)]
    )
    model.set_weights(weights)
    return model


def largest_difference(one, other):
    """Return the largest difference between two lists of arrays."""
    return max(
        float(np.max(np.abs(np.asarray(a, "float64") - np.asarray(b, "float64"))))
        for a, b in zip(one, other, strict=True)
    )
