"""The same numbers as `keras.Model.fit`, from the same start on the same batches."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ext import Loop, Trainer
from tests.training.problems import CLASSIFY, LABELS, PROBLEMS, X, classifier, dataset

EPOCHS = 3


def _prepare(problem, wrap):
    model = problem.model()
    trained = Trainer(model) if wrap else model
    trained.compile(optimizer=problem.optimizer(), **problem.compile)
    return model, trained, {"epochs": EPOCHS, "verbose": 0, **problem.fit()}


def _assert_same(model, history, expected_model, expected_history):
    weights = zip(model.get_weights(), expected_model.get_weights(), strict=True)
    for actual, expected in weights:
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-6)
    assert history.epoch == expected_history.epoch
    assert history.history.keys() == expected_history.history.keys()
    for name, values in history.history.items():
        np.testing.assert_allclose(
            values, expected_history.history[name], rtol=1e-6, atol=1e-6, err_msg=name
        )


def _stock(problem):
    model, trained, arguments = _prepare(problem, wrap=False)
    return model, trained.fit(shuffle=False, **arguments)


@pytest.mark.parametrize("name", PROBLEMS)
def test_trainer_fit(name):
    problem = PROBLEMS[name]
    expected = _stock(problem)
    model, trainer, arguments = _prepare(problem, wrap=True)
    history = trainer.fit(shuffle=False, **arguments)
    _assert_same(model, history, *expected)


@pytest.mark.parametrize("name", PROBLEMS)
def test_stock_fit_of_a_trainer(name):
    problem = PROBLEMS[name]
    expected = _stock(problem)
    model, trainer, arguments = _prepare(problem, wrap=True)
    history = keras.Model.fit(trainer, shuffle=False, **arguments)
    _assert_same(model, history, *expected)


_IN_A_LOOP = ["arrays", "batch size", "dropout", "add_loss", "loss scale", "xla"]


@pytest.mark.parametrize("name", _IN_A_LOOP)
def test_trainer_step_in_a_loop(name):
    problem = PROBLEMS[name]
    expected = _stock(problem)
    model, trainer, arguments = _prepare(problem, wrap=True)
    loop = Loop(trainer, epochs=EPOCHS, verbose=0)
    for epoch in loop:
        data = (arguments["x"], arguments["y"])
        size = arguments.get("batch_size")
        for batch in epoch.batches(data, size, shuffle=False):
            epoch.log(trainer.step(batch))
    _assert_same(model, loop.history, *expected)


def test_tape_in_a_loop_without_compile():
    expected_model = classifier()
    expected_model.compile(keras.optimizers.Adam(0.01), **CLASSIFY)
    expected = expected_model.fit(
        dataset(),
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
        validation_data=(X, LABELS),
    )

    model = classifier()
    optimizer = keras.optimizers.Adam(0.01)
    loss_fn = keras.losses.SparseCategoricalCrossentropy()
    accuracy = keras.metrics.SparseCategoricalAccuracy()

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            predictions = model(x, training=True)
            loss = loss_fn(y, predictions) + tf.add_n(model.losses)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        accuracy.update_state(y, predictions)
        return loss

    def validate():
        predictions = model(X, training=False)
        value = loss_fn(LABELS, predictions) + tf.add_n(model.losses)
        hits = np.mean(np.argmax(predictions, axis=-1) == LABELS)
        return {"loss": value, "accuracy": hits}

    loop = Loop(model, optimizer=optimizer, epochs=EPOCHS, verbose=0)
    for epoch in loop:
        for x, y in epoch.batches(dataset()):
            loss = step(x, y)
            epoch.log({"loss": loss, "accuracy": accuracy})
        epoch.log_validation(validate())
    _assert_same(model, loop.history, expected_model, expected)
    assert not model.compiled
    assert not hasattr(model, "optimizer")


def test_two_runs_are_equal_to_the_bit():
    def run():
        keras.utils.set_random_seed(3)
        trainer = Trainer(PROBLEMS["dropout"].model())
        trainer.compile("adam", **CLASSIFY)
        history = trainer.fit(X, LABELS, epochs=2, verbose=0)
        return trainer.get_weights(), history.history

    (weights, history), (same_weights, same_history) = run(), run()
    assert history == same_history
    for a, b in zip(weights, same_weights, strict=True):
        np.testing.assert_array_equal(a, b)
