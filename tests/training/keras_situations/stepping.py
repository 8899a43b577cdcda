"""Situations of steps that are overridden, as Keras's guides and tests write them."""

import keras
import numpy as np
import tensorflow as tf

from tests.training.keras_situations.parts import (
    FIT,
    MSE,
    WEIGHTS,
    X,
    Y,
    ones,
)
from tests.training.keras_situations.table import DERIVED, situation


def _trained(make, cls, **options):
    trained = make(cls())
    trained.compile(**{**MSE, **options})
    return trained


def _results(trained):
    return (
        trained.fit(X, Y, **FIT, epochs=2, validation_data=(X, Y)).history,
        trained.evaluate(X, Y, verbose=0),
        trained.evaluate(X, Y, verbose=0, return_dict=True),
    )


def _base(make):
    class Base(make.base):
        """One dense layer, and a metric to update."""

        def __init__(self):
            super().__init__()
            self.top = ones()

        def call(self, x):
            return self.top(x)

    return Base


@situation(DERIVED)
def a_log_added_by_train_step(make):
    """`train_step` and `test_step` that add a number to the logs."""

    class Adds(_base(make)):
        def train_step(self, data):
            return {**super().train_step(data), "extra": 10.0}

        def test_step(self, data):
            return {**super().test_step(data), "extra": 5.0}

    return _results(_trained(make, Adds, metrics=["mae"]))


@situation(DERIVED)
def a_train_step_written_out(make):
    """A tape, the compiled loss, the optimizer and the metrics, as in the guide."""

    class Guide(_base(make)):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                y_pred = self(x, training=True)
                loss = self.compute_loss(y=y, y_pred=y_pred)
            gradients = tape.gradient(loss, self.trainable_weights)
            self.optimizer.apply_gradients(
                zip(gradients, self.trainable_weights, strict=True)
            )
            for metric in self.metrics:
                if metric.name == "loss":
                    metric.update_state(loss)
                else:
                    metric.update_state(y, y_pred)
            return {metric.name: metric.result() for metric in self.metrics}

    trained = _trained(make, Guide, metrics=["mae"])
    return trained.fit(X, Y, **FIT, epochs=2).history


@situation(DERIVED)
def a_train_step_with_its_own_metrics(make):
    """A loss and a metric that the model keeps itself, without compiled ones."""

    class Own(_base(make)):
        def __init__(self):
            super().__init__()
            self.loss_tracker = keras.metrics.Mean(name="loss")
            self.error = keras.metrics.MeanAbsoluteError(name="mae")

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                y_pred = self(x, training=True)
                loss = keras.ops.mean(keras.losses.mean_squared_error(y, y_pred))
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply(gradients, self.trainable_variables)
            self.loss_tracker.update_state(loss)
            self.error.update_state(y, y_pred)
            return {"loss": self.loss_tracker.result(), "mae": self.error.result()}

        @property
        def metrics(self):
            return [self.loss_tracker, self.error]

    trained = make(Own())
    trained.compile(keras.optimizers.SGD(0.01), jit_compile=False)
    return trained.fit(X, Y, **FIT, epochs=2).history


@situation(DERIVED)
def a_test_step_written_out(make):
    """`test_step` of one's own, with weights."""

    class Test(_base(make)):
        def test_step(self, data):
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
            y_pred = self(x, training=False)
            self.compute_loss(x, y, y_pred, sample_weight)
            return {"largest": keras.ops.max(y_pred)}

    trained = _trained(make, Test)
    return (
        trained.evaluate(X, Y, sample_weight=WEIGHTS, batch_size=4, verbose=0),
        trained.evaluate(X, Y, batch_size=4, verbose=0, return_dict=True),
    )


@situation(DERIVED)
def a_predict_step_written_out(make):
    """`predict_step` that returns another structure."""

    class Predict(_base(make)):
        def predict_step(self, data):
            return {"twice": 2 * super().predict_step(data), "input": data[0]}

    return make(Predict()).predict(X, batch_size=5, verbose=0)


@situation(DERIVED)
def a_loss_of_ones_own(make):
    """`compute_loss` with a term added, and a metric updated in it."""

    class Loss(_base(make)):
        def __init__(self):
            super().__init__()
            self.four = keras.metrics.Mean(name="four")

        def compute_loss(
            self, x=None, y=None, y_pred=None, sample_weight=None, training=True
        ):
            loss = super().compute_loss(x, y, y_pred, sample_weight, training)
            self.four.update_state(4 * loss)
            return loss + keras.ops.mean(keras.ops.abs(x))

    return _results(_trained(make, Loss))


@situation(DERIVED)
def a_loss_without_the_argument_training(make):
    """`compute_loss` as it was written before Keras 3.3, without `training`."""

    class Old(_base(make)):
        def __init__(self):
            super().__init__()
            self.four = keras.metrics.Mean(name="four")

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
            loss = super().compute_loss(x, y, y_pred, sample_weight)
            self.four.update_state(4 * loss)
            return loss

    return _results(_trained(make, Old))


@situation(DERIVED)
def the_loss_knows_whether_it_trains(make):
    """`training` in `compute_loss`: true in `fit`, false in `evaluate`."""

    class Knows(_base(make)):
        def compute_loss(
            self, x=None, y=None, y_pred=None, sample_weight=None, training=True
        ):
            loss = super().compute_loss(x, y, y_pred, sample_weight, training)
            return loss + (100.0 if training else 200.0)

    trained = _trained(make, Knows)
    return trained.fit(X, Y, **FIT).history, trained.evaluate(X, Y, verbose=0)


@situation(DERIVED)
def added_losses_in_the_loss(make):
    """`self.losses` of the forward pass, seen in `compute_loss`."""

    class Sees(make.base):
        def __init__(self):
            super().__init__()
            self.top = ones(activity_regularizer="l2")
            self.added = keras.metrics.Mean(name="added")

        def call(self, x):
            return self.top(x)

        def compute_loss(
            self, x=None, y=None, y_pred=None, sample_weight=None, training=True
        ):
            self.added.update_state(sum(self.losses))
            return super().compute_loss(x, y, y_pred, sample_weight, training)

    return _results(_trained(make, Sees))


@situation(DERIVED)
def metrics_of_ones_own(make):
    """`compute_metrics` that adds a metric."""

    class Metrics(_base(make)):
        def __init__(self):
            super().__init__()
            self.bias = keras.metrics.Mean(name="bias")

        def compute_metrics(self, x, y, y_pred, sample_weight=None):
            self.bias.update_state(y_pred - y)
            results = super().compute_metrics(x, y, y_pred, sample_weight)
            return {**results, "twice": 2 * self.bias.result()}

    return _results(_trained(make, Metrics, metrics=["mae"]))


@situation(DERIVED)
def a_loss_split_into_two(make):
    """`compute_loss` that makes two outputs of one for two compiled losses."""

    class Split(_base(make)):
        def compute_loss(
            self, x=None, y=None, y_pred=None, sample_weight=None, training=True
        ):
            halves = [y_pred[:, :1], y_pred[:, 1:]]
            return super().compute_loss(x, y, halves, sample_weight, training)

    trained = _trained(make, Split, loss=["mse", "mae"])
    y = [Y[:, :1], Y[:, 1:]]
    return trained.fit(X, y, **FIT).history, trained.evaluate(X, y, verbose=0)


@situation(DERIVED)
def steps_for_single_batches(make):
    """`train_on_batch` and `test_on_batch` call the overridden steps."""

    class Adds(_base(make)):
        def train_step(self, data):
            return {**super().train_step(data), "extra": keras.ops.ones(())}

        def test_step(self, data):
            return {**super().test_step(data), "extra": keras.ops.zeros(())}

    trained = _trained(make, Adds)
    return (
        trained.train_on_batch(X, Y, return_dict=True),
        trained.test_on_batch(X, Y, return_dict=True),
    )


@situation(DERIVED)
def a_step_traced_once(make):
    """A step over many batches of one size is traced once or twice."""
    traced = []

    class Counts(_base(make)):
        def train_step(self, data):
            traced.append(1)
            return super().train_step(data)

    trained = _trained(make, Counts)
    trained.fit(X, Y, batch_size=1, epochs=2, verbose=0)
    return len(traced) <= 2


@situation(DERIVED)
def steps_run_eagerly(make):
    """With `run_eagerly` a step may leave the graph: NumPy and `float`."""

    class Eager(_base(make)):
        def train_step(self, data):
            logs = super().train_step(data)
            return {**logs, "root": float(np.sqrt(logs["loss"]))}

    trained = make(Eager())
    trained.compile("sgd", "mse", run_eagerly=True)
    return trained.fit(X, Y, **FIT, epochs=2).history
