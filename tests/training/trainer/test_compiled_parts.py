"""A model that is compiled, or has metrics, inside the model that is trained."""

import keras
import numpy as np
import pytest

from keras_ext import Trainer

X, Y = np.ones((8, 2), "float32"), np.zeros((8, 1), "float32")


def ones(units):
    return keras.layers.Dense(units, kernel_initializer="ones")


def backbone(metrics=()):
    """Return a compiled model that turns two ones into three twos."""
    model = keras.Sequential([keras.Input((2,)), ones(3)])
    model.compile("sgd", "mse", metrics=list(metrics))
    return model


class Counting(keras.layers.Layer):
    """Counts the samples that pass in a metric of its own."""

    def __init__(self):
        super().__init__()
        self.seen = keras.metrics.Sum(name="seen")

    def call(self, inputs):
        self.seen.update_state(keras.ops.ones(keras.ops.shape(inputs)[0]))
        return inputs


class Tracking(keras.Model):
    """Has a metric named `loss`, as models with a step of their own often have."""

    def __init__(self):
        super().__init__()
        self.tracker = keras.metrics.Mean(name="loss")
        self.dense = ones(3)

    def call(self, inputs):
        return self.dense(inputs)


def evaluated():
    model = backbone(["mae"])
    model.evaluate(X, np.zeros((8, 3)), verbose=0)
    return model


def nested_twice():
    model = keras.Sequential([keras.Input((2,)), backbone(["mae"])])
    model.compile("adam", "mae", metrics=["mse"])
    return model


def in_a_layer():
    return keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Reshape((1, 2)),
            keras.layers.TimeDistributed(backbone(["mae"])),
            keras.layers.Flatten(),
        ]
    )


def trainer():
    inner = Trainer(keras.Sequential([keras.Input((2,)), ones(3)]))
    inner.compile("sgd", "mse", metrics=["mae"])
    return inner


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize(
    "make",
    [backbone, evaluated, nested_twice, in_a_layer, trainer, Tracking],
    ids=lambda make: make.__name__,
)
def test_only_the_trainers_own_numbers_are_logged(make, eager):
    model = Trainer(keras.Sequential([keras.Input((2,)), make(), ones(1)]))
    # Outputs are 6 for targets of 0.
    model.compile(keras.optimizers.SGD(0.0), "mse", metrics=["mae"], run_eagerly=eager)
    expected = {"loss": 36.0, "mae": 6.0}
    history = model.fit(X, Y, verbose=0, validation_data=(X, Y)).history
    logged = {**expected, **{f"val_{name}": one for name, one in expected.items()}}
    assert history == {name: [value] for name, value in logged.items()}
    assert model.evaluate(X, Y, verbose=0) == [36.0, 6.0]
    assert model.train_on_batch(X, Y, return_dict=True) == expected
    assert model.test_on_batch(X, Y, return_dict=True) == expected
    model.reset_metrics()
    assert model.step((X, Y)) == expected


def test_one_backbone_in_two_trainers():
    shared = backbone()
    models = [
        Trainer(keras.Sequential([keras.Input((2,)), shared, ones(1)]))
        for _ in range(2)
    ]
    for model in models:
        model.compile(keras.optimizers.SGD(0.0), "mse")
    for model in models:
        assert model.fit(X, Y, verbose=0).history == {"loss": [36.0]}


def test_the_class_may_define_call():
    class Derived(Trainer):
        def __init__(self):
            super().__init__()
            self.body, self.head = in_a_layer(), ones(1)

        def call(self, inputs):
            return self.head(self.body(inputs))

    model = Derived()
    model.compile(keras.optimizers.SGD(0.0), "mse", metrics=["mae"])
    assert model.fit(X, Y, verbose=0).history == {"loss": [36.0], "mae": [6.0]}


class Around(keras.layers.Layer):
    """A layer that holds on to a model, and to a long list."""

    def __init__(self, model):
        super().__init__()
        self.model, self.words = model, ["word"] * 300_000

    def call(self, inputs):
        return self.model(inputs)


@pytest.mark.parametrize(
    "teacher",
    [
        lambda: Around(backbone(["mae"])),
        lambda: keras.Sequential([Around(backbone(["mae"]))]),
    ],
    ids=["layer", "model"],
)
def test_a_model_in_a_layer_of_the_trainer_itself(teacher):
    class Distiller(Trainer):
        def __init__(self, model):
            super().__init__(model)
            self.teacher = teacher()
            self.teacher.trainable = False
            self.counting = Counting()

        def compute_loss(self, x, y, y_pred, sample_weight, training):
            self.counting(x)
            return keras.ops.mean(keras.ops.square(y_pred - self.teacher(x)))

    model = Distiller(keras.Sequential([keras.Input((2,)), ones(3)]))
    model.compile(keras.optimizers.SGD(0.0), metrics=["mae"])
    history = model.fit(X, np.zeros((8, 3)), verbose=0).history
    assert history == {"loss": [0.0], "mae": [2.0], "seen": [8.0]}


def test_metrics_of_plain_layers_count_once_wherever_they_are():
    inner = keras.Sequential([keras.Input((2,)), Counting(), ones(3)])
    inner.compile("sgd", "mse", metrics=["mae"])
    model = Trainer(keras.Sequential([keras.Input((2,)), inner, ones(1)]))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    history = model.fit(X, Y, epochs=2, verbose=0).history
    assert history == {"loss": [36.0, 36.0], "seen": [8.0, 8.0]}
    assert [one.name for one in model.metrics] == ["loss", "seen"]
