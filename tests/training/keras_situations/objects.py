"""Objects of one's own that are saved, and what they must give again."""

import keras

from tests.training.keras_situations.parts import FIT, MSE, L, X, Y, dense, ones
from tests.training.keras_situations.table import numbers


@keras.saving.register_keras_serializable(package="keras_situations")
class Scale(L.Layer):
    """A layer of one's own, with a layer inside."""

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor
        self.inner = ones(name="inner")

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        return self.factor * self.inner(x)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable(package="keras_situations")
def cubic(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_true - y_pred) ** 3, axis=-1)


@keras.saving.register_keras_serializable(package="keras_situations")
class Own(keras.Model):
    """A model of one's own."""

    def __init__(self, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor
        self.top = Scale(factor)

    def call(self, x):
        return self.top(x)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


def functional():
    x = keras.Input((4,))
    return keras.Model(x, ones()(Scale(0.5)(x)))


def drawn():
    """A functional model whose weights are drawn."""
    x = keras.Input((4,))
    return keras.Model(x, L.Dense(3)(L.Dense(2, activation="tanh")(x)))


def fitted(make, model=None, epochs=1, **options):
    trained = make(model or dense())
    trained.compile(**{**MSE, "optimizer": "adam", **options})
    if epochs:
        trained.fit(X, Y, **FIT, epochs=epochs)
    return trained


def state(trained):
    """What a saved object must give again, and how it is trained from there."""
    return (
        trained.evaluate(X, Y, verbose=0),
        trained.get_weights(),
        numbers([variable.value for variable in trained.optimizer.variables]),
        trained.fit(X, Y, **FIT).history,
    )
