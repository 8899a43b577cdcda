"""`evaluate` and `predict` while an epoch runs: its running metrics stay its own."""

import keras
import numpy as np
import pytest

from keras_ext import Loop, Trainer

# Inputs 1 to 8, a weight of 1, targets of 0: the mean absolute error is 4.5.
X, Y = np.arange(1.0, 9.0, dtype="float32")[:, None], np.zeros((8, 1), "float32")
HUNDREDS = np.full((4, 1), 100.0, "float32")


class Counted(keras.layers.Layer):
    """Has a metric that every call updates, also those of `predict`."""

    def __init__(self):
        super().__init__()
        self.peak = keras.metrics.Mean(name="mean")

    def call(self, inputs):
        self.peak.update_state(inputs)
        return inputs


def line(kind=Trainer, **options):
    dense = keras.layers.Dense(1, kernel_initializer="ones", use_bias=False)
    model = keras.Sequential([keras.Input((1,)), Counted(), dense])
    model = kind(model) if kind else model
    model.compile(keras.optimizers.SGD(0.0), "mse", metrics=["mae"], **options)
    return model


EXPECTED = {"loss": 25.5, "mae": 4.5, "mean": 4.5}


class After(keras.callbacks.Callback):
    """Evaluates and predicts after the second batch of every epoch."""

    def __init__(self, frequency):
        super().__init__()
        self.batch_hook_freq = frequency
        self.results = []

    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            self.results.append(
                self.model.evaluate(HUNDREDS, Y[:4], verbose=0, return_dict=True)
            )
            self.model.predict(HUNDREDS, verbose=0)


OF_HUNDREDS = {"loss": 1e4, "mae": 100.0, "mean": 100.0}


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("fit", [Trainer.fit, keras.Model.fit])
@pytest.mark.parametrize("frequency", [1, 2])
def test_by_a_callback(fit, frequency, eager):
    trainer, after = line(run_eagerly=eager), After(frequency)
    options = {"batch_size": 2, "epochs": 2, "verbose": 0, "callbacks": [after]}
    history = fit(trainer, X, Y, validation_data=(HUNDREDS, Y[:4]), **options).history
    assert after.results == [OF_HUNDREDS] * 2
    expected = {**EXPECTED, **{f"val_{k}": v for k, v in OF_HUNDREDS.items()}}
    assert history == {name: [value] * 2 for name, value in expected.items()}


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("fit", [Trainer.fit, keras.Model.fit])
@pytest.mark.parametrize(
    "hook", ["on_train_begin", "on_epoch_begin", "on_train_batch_begin", "on_epoch_end"]
)
def test_before_and_after_the_batches(hook, fit, eager):
    trainer = line(run_eagerly=eager)

    def evaluate(*arguments, **logs):
        results = trainer.evaluate(HUNDREDS, Y[:4], verbose=0, return_dict=True)
        assert results == OF_HUNDREDS

    callbacks = [keras.callbacks.LambdaCallback(**{hook: evaluate})]
    options = {"batch_size": 4, "epochs": 2, "verbose": 0, "callbacks": callbacks}
    history = fit(trainer, X, Y, **options).history
    assert history == {name: [value] * 2 for name, value in EXPECTED.items()}


def test_before_the_first_step_by_hand():
    trainer = line()
    trainer.reset_metrics()
    trainer.evaluate(HUNDREDS, Y[:4], verbose=0)
    trainer.predict(HUNDREDS, verbose=0)
    assert trainer.step((X, Y)) == EXPECTED


def test_in_the_body_of_a_loop():
    trainer = line()
    loop = Loop(trainer, epochs=2, verbose=0)
    for epoch in loop:
        for batch in epoch.batches((X, Y), 2):
            epoch.log(trainer.step(batch))
            epoch.evaluate((HUNDREDS, Y[:4]), verbose=0)
    expected = {**EXPECTED, **{f"val_{k}": v for k, v in OF_HUNDREDS.items()}}
    assert loop.history.history == {name: [v] * 2 for name, v in expected.items()}


def test_of_a_stock_model_in_a_loop():
    model = line(None)
    loop = Loop(model, epochs=1, verbose=0)
    for epoch in loop:
        for number, (x, y) in enumerate(epoch.batches((X, Y), 2, shuffle=False)):
            logs = model.compute_metrics(x, y, model(x))
            epoch.log({"mae": logs["mae"]})
            if number == 1:
                epoch.evaluate((HUNDREDS, Y[:4]), verbose=0)
    assert logs["mae"] == 4.5


def test_between_steps_without_a_loop():
    trainer = line()
    for start in range(0, 8, 2):
        logs = trainer.step((X[start : start + 2], Y[start : start + 2]))
        trainer.evaluate(HUNDREDS, Y[:4], verbose=0)
        trainer.predict(HUNDREDS, verbose=0)
    assert logs == EXPECTED


class TwoSteps(Trainer):
    """Makes its updates with an optimizer of its own."""

    def __init__(self, model):
        super().__init__(model)
        self.own = keras.optimizers.SGD(0.0)

    def apply_gradients(self, gradients):
        self.own.apply(gradients, self.trainable_variables)


@pytest.mark.parametrize("fit", [Trainer.fit, keras.Model.fit])
def test_with_an_optimizer_of_its_own(fit):
    options = {"batch_size": 2, "verbose": 0, "callbacks": [After(1)]}
    assert fit(line(TwoSteps), X, Y, **options).history == {
        name: [value] for name, value in EXPECTED.items()
    }


def test_after_the_epoch_the_metrics_are_those_of_the_evaluation():
    trainer = line()
    trainer.fit(X, Y, batch_size=2, verbose=0)
    trainer.evaluate(HUNDREDS, Y[:4], verbose=0)
    assert trainer.get_metrics_result() == OF_HUNDREDS
    trainer.evaluate(X, Y, verbose=0)
    assert trainer.get_metrics_result() == EXPECTED


def test_an_evaluation_that_fails_leaves_them_too():
    trainer = line()
    trainer.step((X, Y))
    with pytest.raises(ValueError, match="yielded no batch"):
        trainer.evaluate(iter(()), verbose=0)
    assert {k: float(v) for k, v in trainer.get_metrics_result().items()} == EXPECTED
