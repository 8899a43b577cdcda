"""Optimizers of TensorFlow Addons make the steps that they made in Keras 2."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ext
from keras_ext import addons
from tests.addons.both_keras import (
    FIT,
    LEGACY,
    X,
    Y,
    largest_difference,
    small,
    tf_keras,
    tfa,
)

MAKE = {
    "AdaBelief": lambda: tfa.optimizers.AdaBelief(1e-2),
    "AdamW": lambda: tfa.optimizers.AdamW(weight_decay=1e-3, learning_rate=1e-2),
    "COCOB": lambda: tfa.optimizers.COCOB(),
    "ConditionalGradient": lambda: tfa.optimizers.ConditionalGradient(
        0.99, 0.1, ord="fro"
    ),
    "LAMB": lambda: tfa.optimizers.LAMB(1e-2, weight_decay=1e-2, clipnorm=0.1),
    "LazyAdam": lambda: tfa.optimizers.LazyAdam(1e-2),
    "Lookahead": lambda: tfa.optimizers.Lookahead(LEGACY.Adam(1e-2), sync_period=4),
    "MovingAverage": lambda: tfa.optimizers.MovingAverage(LEGACY.SGD(1e-2)),
    "NovoGrad": lambda: tfa.optimizers.NovoGrad(1e-2),
    "ProximalAdagrad": lambda: tfa.optimizers.ProximalAdagrad(1e-1),
    "RectifiedAdam": lambda: tfa.optimizers.RectifiedAdam(1e-2),
    "SGDW": lambda: tfa.optimizers.SGDW(1e-3, 1e-2, momentum=0.9),
    "SWA": lambda: tfa.optimizers.SWA(LEGACY.SGD(1e-2), 2, 2),
    "Yogi": lambda: tfa.optimizers.Yogi(
        tfa.optimizers.TriangularCyclicalLearningRate(1e-3, 1e-1, 3)
    ),
}


@pytest.mark.parametrize("name", MAKE)
def test_steps_equal_those_on_variables_of_tensorflow(name):
    values = [np.array([[1.0, -2.0], [0.5, 3.0]], "float32"), np.ones(2, "float32")]
    before = [tf.Variable(one) for one in values]
    now = [keras.Variable(one) for one in values]
    legacy, optimizer = MAKE[name](), addons.optimizer(MAKE[name]())
    rng = np.random.default_rng(0)
    for _ in range(5):
        gradients = [tf.constant(rng.normal(size=one.shape), "float32") for one in now]
        legacy.apply_gradients(zip(gradients, before, strict=True))
        optimizer.apply(gradients, now)
    assert largest_difference(before, now) == 0
    assert int(optimizer.iterations) == 5
    slots = [one for one in legacy.weights if one.shape.rank]
    ours = [one for one in optimizer.variables if len(one.shape)]
    assert largest_difference(slots, ours) == 0


@pytest.mark.parametrize("name", ["LAMB", "SWA"])
def test_training_equals_that_in_keras_2(name):
    before = small(tf_keras)
    before.compile(MAKE[name](), "mse")
    losses = before.fit(X, Y, **FIT).history["loss"]
    for model in (small(keras), keras_ext.Trainer(small(keras))):
        model.compile(addons.optimizer(MAKE[name]()), "mse")
        now = model.fit(X, Y, **FIT).history["loss"]
        # To the last bit but one: Keras 3 may fuse other operations.
        np.testing.assert_allclose(now, losses, rtol=0, atol=2e-7)
        assert largest_difference(model.get_weights(), before.get_weights()) < 2e-7


def test_rows_of_an_embedding_equal_those_in_keras_2():
    words = np.random.default_rng(1).integers(0, 9, size=(48, 3))
    results = []
    for of, adapt in ((tf_keras, lambda one: one), (keras, addons.optimizer)):
        layers = [of.layers.Embedding(9, 4), of.layers.Flatten(), of.layers.Dense(1)]
        model = of.Sequential([of.Input((3,)), *layers])
        table = np.linspace(-1, 1, 36, dtype="float32").reshape(9, 4)
        model.set_weights([table, np.ones((12, 1)), np.zeros(1)])
        model.compile(adapt(MAKE["LazyAdam"]()), "mse")
        model.fit(words, Y, **FIT)
        results.append(model.get_weights())
    assert largest_difference(*results) < 2e-7


def test_the_rate_that_a_callback_sets_is_the_one_that_is_used():
    results = []
    for of, adapt in ((tf_keras, lambda one: one), (keras, addons.optimizer)):
        model = small(of)
        model.compile(adapt(MAKE["Lookahead"]()), "mse")
        halve = of.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
        model.fit(X, Y, **FIT, callbacks=[halve])
        assert float(model.optimizer.learning_rate) == pytest.approx(2.5e-3)
        results.append(model.get_weights())
    assert largest_difference(*results) < 2e-7


def test_a_schedule_of_ours_per_batch():
    rates = [0.1, 0.2, 0.05]
    results = []
    for trains in (keras.Model, keras_ext.Trainer):
        model = small(keras)
        model = model if trains is keras.Model else trains(model)
        model.compile(addons.optimizer(tfa.optimizers.SGDW(1e-3, 1.0)), "mse")
        schedule = keras_ext.callbacks.LearningRateScheduler(
            lambda step: keras.ops.take(keras.ops.array(rates), step % 3),
            update_freq="batch",
        )
        model.fit(X, Y, **FIT, callbacks=[schedule])
        results.append(model.get_weights())
    assert largest_difference(*results) < 2e-7


def test_averages_are_assigned_and_constraints_kept():
    model = small(keras)
    model.layers[0].kernel.constraint = keras.constraints.NonNeg()
    model.compile(addons.optimizer(MAKE["SWA"]()), "mse")
    model.fit(X, Y, **FIT)
    assert np.min(model.layers[0].kernel) >= 0
    before = model.get_weights()
    model.optimizer.assign_average_vars(model.trainable_variables)
    assert largest_difference(before, model.get_weights()) > 0


def test_errors():
    with pytest.raises(TypeError, match="of Keras 3 already: use it without"):
        addons.optimizer(keras.optimizers.Adam())
    with pytest.raises(TypeError, match="must be of TensorFlow Addons or tf_keras"):
        addons.optimizer("adam")
    layers = [tf_keras.layers.Dense(1)]
    several = tfa.optimizers.MultiOptimizer([(LEGACY.SGD(), layers[0])])
    with pytest.raises(TypeError, match=r"Use keras\.optimizers\.MultiOptimizer"):
        addons.optimizer(several)
    used = MAKE["LAMB"]()
    model = small(tf_keras)
    model.compile(used, "mse")
    model.fit(X, Y, **FIT)
    with pytest.raises(ValueError, match=r"not made a step\. Received: .* has made 6"):
        addons.optimizer(used)
    optimizer = addons.optimizer(MAKE["LAMB"]())
    with pytest.raises(ValueError, match="know the variables before its first step"):
        optimizer.apply([np.ones(2)])
    optimizer.build([keras.Variable([1.0, 2.0])])
    with pytest.raises(ValueError, match="was built for other variables"):
        optimizer.apply([np.ones(2)], [keras.Variable([1.0, 2.0])])
