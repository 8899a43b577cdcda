"""Optimizers, losses, metrics and layers of Keras 2 are refused, with what to use."""

import keras
import numpy as np
import pytest

import keras_ext


def of(package, name, base=object, **attributes):
    """Return an object of a class as `package` defines it."""
    kind = type(name, (base,), {"__module__": f"{package}.src.{name}", **attributes})
    return kind()


def legacy_loss(y_true, y_pred):
    return y_pred


legacy_loss.__module__ = "tensorflow_addons.losses.contrastive"
METRIC = of("tensorflow_addons", "F1Score", __call__=lambda self, y_true, y_pred: 0.0)
OPTIMIZER = of("tf_keras", "LAMB")
LOSS = of("tensorflow_addons", "TripletSemiHardLoss", __call__=lambda self, a, b: 0.0)
LAYER = of("tf_keras", "Dense", trainable_weights=())


def trainer():
    layers = [keras.Input((2,)), keras.layers.Dense(1)]
    return keras_ext.Trainer(keras.Sequential(layers))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"metrics": [METRIC]},
            "F1Score of TensorFlow Addons, .* average over",
        ),
        ({"metrics": [["mae", METRIC]]}, r"Use keras\.metrics\.F1Score\."),
        ({"weighted_metrics": {"a": METRIC}}, "`weighted_metrics` must be of Keras 3"),
        (
            {"loss": LOSS},
            r"TripletSemiHardLoss .*keras_ext\.losses\.TripletSemiHard\. Until",
        ),
        ({"loss": [legacy_loss]}, "legacy_loss of TensorFlow Addons, .* otherwise"),
        ({"optimizer": OPTIMIZER}, "LAMB of tf_keras, which cannot update"),
    ],
)
def test_arguments_of_compile(arguments, message):
    with pytest.raises(ValueError, match=message):
        trainer().compile(**{"optimizer": "sgd", "loss": "mse", **arguments})


def test_a_subclass_of_the_users():
    mine = type("Mine", (type(METRIC),), {"__module__": "mine"})()
    with pytest.raises(ValueError, match="Mine of TensorFlow Addons"):
        trainer().compile("sgd", "mse", metrics=[mine])


class Block(keras.layers.Layer):
    def __init__(self, layer):
        super().__init__()
        self.parts = {"first": layer}

    def call(self, inputs):
        return inputs


class Subclassed(keras.Model):
    def __init__(self, layer):
        super().__init__()
        self.blocks = [Block(layer), keras.layers.Dense(1)]

    def call(self, inputs):
        return self.blocks[1](self.blocks[0](inputs))


def test_layers_that_would_not_be_trained():
    message = "Dense of tf_keras, the attribute 'parts' of Block, .* neither trained"
    with pytest.raises(ValueError, match=message):
        keras_ext.Trainer(Subclassed(LAYER)).compile("sgd", "mse")


def test_a_loss_may_decline_xla():
    """As a layer can with `supports_jit`; the user's choice counts more."""
    loss = keras.losses.MeanSquaredError()
    loss.supports_jit = False
    mine = trainer()
    for choice, expected in (("auto", False), (True, True)):
        mine.compile("sgd", loss, jit_compile=choice)
        assert mine.get_compile_config()["jit_compile"] is expected


def test_others_are_not_affected():
    mine = keras_ext.Trainer(Subclassed(None))
    mine.compile("sgd", "mse", metrics=["mae", lambda y, y_pred: 0.0])
    mine.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
