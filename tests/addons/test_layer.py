"""Layers of TensorFlow Addons compute and learn what they did in Keras 2."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ext
from keras_ext import addons
from tests.addons.both_keras import largest_difference, tf_keras, tfa

RNG = np.random.default_rng(4)
VECTORS = RNG.normal(size=(6, 8)).astype("float32")
SEQUENCES = RNG.normal(size=(6, 4, 8)).astype("float32")
IMAGES = RNG.normal(size=(6, 4, 4, 6)).astype("float32")
LAYERS = {
    "AdaptiveMaxPooling2D": ({"output_size": 2}, IMAGES),
    "CRF": ({"units": 3}, SEQUENCES),
    "ESN": ({"units": 5}, SEQUENCES),
    "FilterResponseNormalization": ({}, IMAGES),
    "InstanceNormalization": ({}, IMAGES),
    "Maxout": ({"num_units": 4}, VECTORS),
    "PoincareNormalize": ({}, VECTORS),
    "PolynomialCrossing": ({}, [VECTORS, VECTORS]),
    "SpatialPyramidPooling2D": ({"bins": [1, 2]}, IMAGES),
    "SpectralNormalization": ({}, VECTORS),
    "TLU": ({}, IMAGES),
    "WeightNormalization": ({}, VECTORS),
}


def make(name):
    wrapped = (tf_keras.layers.Dense(3, kernel_regularizer="l2"),)
    return getattr(tfa.layers, name)(
        *(wrapped if name.endswith("tNormalization") or "Spectral" in name else ()),
        **LAYERS[name][0],
    )


def before_and_now(layers, data):
    """Return outputs and weights in Keras 2, and a model in Keras 3 with the latter."""
    as_tensors = keras.tree.map_structure(tf.constant, data)
    expected = layers[0](as_tensors)
    inputs = keras.tree.map_structure(lambda one: keras.Input(one.shape[1:]), data)
    model = keras.Model(inputs, addons.layer(layers[1])(inputs))
    model.set_weights(layers[0].get_weights())
    return expected, model


@pytest.mark.parametrize("name", LAYERS)
def test_outputs_equal_those_in_keras_2_also_from_a_file(name, tmp_path):
    data = LAYERS[name][1]
    layer = make(name)
    expected, model = before_and_now((layer, make(name)), data)
    model.save(tmp_path / "model.keras")
    for one in (model, keras.saving.load_model(tmp_path / "model.keras")):
        now = keras.tree.flatten(one(data))
        assert largest_difference(now, keras.tree.flatten(expected)) == 0
    assert len(model.trainable_weights) == len(layer.trainable_weights)
    if model.losses:
        assert largest_difference(model.losses, layer.losses) == 0


@pytest.mark.parametrize("name", ["SpectralNormalization", "WeightNormalization"])
def test_training_equals_that_in_keras_2(name):
    """With weights that the call assigns, and a regularizer in the layer."""
    targets = np.ones((6, 3), "float32")
    old = make(name)
    _, stock = before_and_now((old, make(name)), VECTORS)
    _, inner = before_and_now((old, make(name)), VECTORS)
    before = tf_keras.Sequential([tf_keras.Input((8,)), old])
    results = []
    for model in (before, stock, keras_ext.Trainer(inner)):
        model.compile("sgd", "mse")
        fit = {"batch_size": 6, "epochs": 3, "shuffle": False, "verbose": 0}
        history = model.fit(VECTORS, targets, **fit).history
        results.append((history["loss"], model.get_weights()))
    for losses, weights in results[1:]:
        np.testing.assert_allclose(losses, results[0][0], rtol=3e-7)
        weights, first = (
            [np.asarray(one, "float32") for one in several]
            for several in (weights, results[0][1])
        )
        assert largest_difference(weights, first) < 2e-7


class Subclassed(keras.Model):
    """Keras builds its layers in a scope that postpones variables."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = addons.layer(tfa.layers.FilterResponseNormalization())

    def call(self, inputs):
        return self.norm(inputs)


def test_a_subclassed_model_trains_the_weights_of_the_layer():
    model = Subclassed()
    model.compile("sgd", "mse")
    model.fit(IMAGES, np.zeros_like(IMAGES), verbose=0)
    legacy = model.norm.legacy
    assert largest_difference(model.get_weights(), legacy.get_weights()) == 0
    assert np.any(model.get_weights()[1] != 1)
    assert all("norm" in one.path for one in model.weights)


def test_mixed_precision():
    layer = tfa.layers.WeightNormalization(
        tf_keras.layers.Dense(3, dtype="mixed_float16"),
        data_init=False,
        dtype="mixed_float16",
    )
    adapted = addons.layer(layer)
    model = keras.Sequential([keras.Input((8,)), adapted])
    assert model(VECTORS).dtype == "float16"
    assert {one.dtype for one in adapted.trainable_weights} == {"float32"}
    optimizer = addons.optimizer(tfa.optimizers.LAMB(1e-2))
    scaled = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(scaled, "mse")
    fit = {"epochs": 3, "verbose": 0}
    losses = model.fit(VECTORS, np.ones((6, 3)), **fit).history["loss"]
    assert losses[-1] < losses[0]
    assert int(optimizer.iterations) == 3


def test_frozen_layers_are_saved_so():
    layer = addons.layer(tfa.layers.Snake())
    layer.trainable = False
    again = type(layer).from_config(layer.get_config())
    assert not again.trainable
    again(VECTORS)
    assert not again.trainable_weights


def test_a_recurrent_layer_receives_the_mask_as_in_keras_2():
    words = np.array([[1, 2, 0], [3, 0, 0], [4, 5, 6]])
    models = []
    for of, adapt in ((tf_keras, lambda one: one), (keras, addons.layer)):
        rnn = tf_keras.layers.RNN(tfa.rnn.LayerNormSimpleRNNCell(4))
        embedding = of.layers.Embedding(7, 2, mask_zero=True)
        models.append(of.Sequential([of.Input((3,)), embedding, adapt(rnn)]))
    models[1].set_weights(models[0].get_weights())
    before, now = (np.asarray(one(words)) for one in models)
    np.testing.assert_array_equal(now, before)


def test_a_checkpoint_says_that_random_numbers_are_not_repeated(tmp_path):
    depth = addons.layer(tfa.layers.StochasticDepth())
    branches = [keras.Input((8,)), keras.Input((8,))]
    outputs = keras.layers.Dense(1)(depth(branches))
    trainer = keras_ext.Trainer(keras.Model(branches, outputs))
    trainer.compile("sgd", "mse")
    checkpoint = keras_ext.callbacks.Checkpoint(tmp_path / "run")
    with pytest.warns(UserWarning, match="RandomUniform"):
        trainer.fit(
            [VECTORS, VECTORS], np.ones((6, 1)), verbose=0, callbacks=[checkpoint]
        )


def test_several_arguments():
    pooled, where = tf.nn.max_pool_with_argmax(IMAGES, 2, 2, "VALID")
    layer = addons.layer(tfa.layers.MaxUnpooling2D())
    expected = tfa.layers.MaxUnpooling2D()(pooled, where)
    np.testing.assert_array_equal(layer(pooled, where), expected)


class Late(tf_keras.layers.Layer):
    def call(self, inputs):
        if not hasattr(self, "scale"):
            self.scale = self.add_weight("scale", ())
        return inputs * self.scale


def test_errors():
    with pytest.raises(ValueError, match="Late creates weights when it is called"):
        addons.layer(Late())(VECTORS)
    late = Late()
    late(VECTORS)
    assert len(addons.layer(late)(VECTORS).shape) == 2
    with pytest.raises(TypeError, match=r"`addons\.layer` must be of TensorFlow Add"):
        addons.layer(tfa.layers.Snake)
