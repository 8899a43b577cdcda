"""Whole runs: resumed to the bit, on replicas, in mixed precision, with XLA."""

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


def lookahead():
    return tfa.optimizers.Lookahead(LEGACY.Adam(1e-2), sync_period=4)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_resumed_run_is_the_same_to_the_bit(jit_compile, tmp_path):
    def run(folder, epochs):
        keras.utils.set_random_seed(1)
        layers = [keras.Input((5,)), addons.layer(tfa.layers.Snake())]
        layers += [keras.layers.Dropout(0.2), keras.layers.Dense(1)]
        trainer = keras_ext.Trainer(keras.Sequential(layers), seed=3)
        trainer.compile(
            addons.optimizer(lookahead()),
            addons.loss(tfa.losses.PinballLoss()),
            metrics=[addons.metric(tfa.metrics.RSquare())],
            jit_compile=jit_compile,
        )
        checkpoint = keras_ext.callbacks.Checkpoint(tmp_path / folder, save_freq=2)
        fit = {**FIT, "shuffle": True, "epochs": epochs}
        history = trainer.fit(X, Y, **fit, callbacks=[checkpoint], resume=True)
        return (
            history.history,
            [one.numpy() for one in trainer.variables],
            [one.numpy() for one in trainer.optimizer.variables],
        )

    straight = run("straight", 2)
    run("resumed", 1)
    resumed = run("resumed", 2)
    assert resumed[0] == straight[0]
    assert len(straight[2]) == 14
    for one, other in zip(resumed[1:], straight[1:], strict=True):
        assert largest_difference(one, other) == 0


@pytest.fixture(scope="module")
def devices():
    """Two logical CPUs."""
    found = tf.config.list_logical_devices("CPU")
    if len(found) < 2:
        pytest.skip("TensorFlow had begun, with one CPU, before these tests")
    return [one.name for one in found[:2]]


def test_replicas_equal_those_in_keras_2(devices):
    results = []
    for of in (tf_keras, keras, keras_ext.Trainer):
        strategy = tf.distribute.MirroredStrategy(devices)
        with strategy.scope():
            parts = [
                tfa.optimizers.Yogi(1e-2),
                tfa.losses.PinballLoss(),
                tfa.metrics.PearsonsCorrelation(name="r"),
            ]
            if of is not tf_keras:
                adapt = (addons.optimizer, addons.loss, addons.metric)
                parts = [how(one) for how, one in zip(adapt, parts, strict=True)]
                # Its variables are created by the first batch.
                extra = [addons.metric(tfa.metrics.RSquare())]
            model = small(tf_keras if of is tf_keras else keras)
            model = of(model) if of is keras_ext.Trainer else model
            metrics = [parts[2]] if of is tf_keras else [parts[2], *extra]
            model.compile(parts[0], parts[1], metrics=metrics)
        history = model.fit(X, Y, **FIT).history
        results.append((history, model.get_weights()))
    for history, weights in results[1:]:
        assert largest_difference(weights, results[0][1]) < 2e-7
        for name, values in results[0][0].items():
            np.testing.assert_allclose(history[name], values, rtol=1e-6)
        assert history["r_square"] == results[1][0]["r_square"]


def test_mixed_precision_scales_the_loss_and_skips_steps():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = small(keras)
        trainer = keras_ext.Trainer(small(keras))
    finally:
        keras.config.set_dtype_policy("float32")
    results = []
    for one in (model, trainer):
        inner = addons.optimizer(lookahead())
        one.compile(
            # The first scale makes gradients infinite.
            keras.optimizers.LossScaleOptimizer(inner, initial_scale=2.0**20),
            "mse",
        )
        one.fit(X, Y, **FIT)
        assert 0 < int(inner.iterations) < 6
        results.append(one.get_weights())
    assert largest_difference(*results) == 0


@pytest.mark.parametrize(
    ("parts", "choice"),
    [
        ({"loss": lambda: addons.loss(tfa.losses.TripletSemiHardLoss())}, "auto"),
        ({"loss": lambda: addons.loss(tfa.losses.PinballLoss())}, "auto"),
        (
            {"metrics": lambda: [addons.metric(tfa.metrics.CohenKappa(num_classes=2))]},
            False,
        ),
    ],
)
def test_a_graph_where_xla_does_not_suit(parts, choice):
    trainer = keras_ext.Trainer(small(keras))
    arguments = {name: make() for name, make in parts.items()}
    trainer.compile(**{"optimizer": "sgd", "loss": "mse", **arguments})
    assert trainer.get_compile_config()["jit_compile"] == choice
    trainer.compile(
        **{"optimizer": "sgd", "loss": "mse", **arguments, "jit_compile": True}
    )
    assert trainer.get_compile_config()["jit_compile"] is True
