"""Models that are changed after a step was traced: what was traced is made again."""

import keras
import numpy as np
import pytest

from keras_ext import Trainer

# Keras quantizes what it can, and warns of the rest.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Layer .* does not have a `quantize` method:UserWarning"
)

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(16, 4)).astype("float32"), np.zeros((16, 1), "float32")


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(8, kernel_initializer="glorot_normal")
        self.act = keras.layers.Activation("tanh")
        self.head = keras.layers.Dense(1)

    def call(self, inputs):
        return self.head(self.act(self.dense(inputs)))


class Derived(Trainer):
    def __init__(self):
        super().__init__()
        self.dense, self.head = keras.layers.Dense(8), keras.layers.Dense(1)

    def call(self, inputs):
        return self.head(self.dense(inputs))


def sequential():
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, name="dense"),
            keras.layers.Dense(1, name="head"),
        ]
    )


def around(backbone):
    return keras.Sequential([keras.Input((4,)), backbone, keras.layers.Dense(1)])


def used(trainer):
    """Return the trainer, all of whose steps were traced."""
    trainer.compile(keras.optimizers.SGD(0.01), "mse")
    trainer.fit(X, Y, epochs=1, verbose=0)
    trainer.evaluate(X, Y, verbose=0)
    trainer.predict(X, verbose=0)
    trainer.predict_on_batch(X)
    trainer.test_on_batch(X, Y)
    return trainer


def assert_current(trainer):
    """Check that every pass computes what the model computes now."""
    expected = keras.ops.convert_to_numpy(trainer.model(X))
    np.testing.assert_allclose(trainer.predict(X, verbose=0), expected, atol=1e-5)
    np.testing.assert_allclose(trainer.predict_on_batch(X), expected, atol=1e-5)
    loss = pytest.approx(float(np.mean((expected - Y) ** 2)), rel=1e-4)
    assert trainer.evaluate(X, Y, verbose=0) == loss
    trainer.reset_metrics()  # newer Keras does that itself
    assert trainer.test_on_batch(X, Y) == loss


@pytest.mark.parametrize("make", [sequential, Subclassed, None])
def test_quantized(make):
    trainer = used(Derived() if make is None else Trainer(make()))
    before = trainer.predict(X, verbose=0)
    trainer.quantize("int8")
    assert_current(trainer)
    assert np.abs(trainer.predict(X, verbose=0) - before).max() > 0


@pytest.mark.parametrize("inside", [False, True])
def test_the_wrapped_model_or_a_backbone_in_it_is_quantized(inside):
    backbone = sequential()
    trainer = used(Trainer(around(backbone)))
    before = trainer.predict(X, verbose=0)
    (backbone if inside else trainer.model).quantize("int8")
    assert_current(trainer)
    assert np.abs(trainer.predict(X, verbose=0) - before).max() > 0


DRIVES = {
    "fit": lambda trainer: trainer.fit(X, Y, verbose=0),
    "step": lambda trainer: trainer.step((X, Y)),
    "stock fit": lambda trainer: keras.Model.fit(trainer, X, Y, verbose=0),
    "train_on_batch": lambda trainer: trainer.train_on_batch(X, Y),
}


@pytest.mark.parametrize("drive", [*DRIVES, None])
def test_lora(drive):
    model = sequential()
    trainer = used(Trainer(model))
    keras.Model.fit(trainer, X, Y, verbose=0)
    dense = model.get_layer("dense")
    dense.enable_lora(2)
    dense.lora_kernel_b.assign(np.ones((2, 8), "float32"))
    if drive:
        trainer.optimizer = keras.optimizers.SGD(0.1)
        kernel, adapter = dense.lora_kernel_a.numpy(), dense.lora_kernel_b.numpy()
        DRIVES[drive](trainer)
        assert np.abs(dense.lora_kernel_a.numpy() - kernel).max() > 0
        assert np.abs(dense.lora_kernel_b.numpy() - adapter).max() > 0
    assert_current(trainer)


def test_a_layer_without_variables_is_added():
    trainer = used(Trainer(sequential()))
    trainer.model.add(keras.layers.Activation("tanh"))
    assert_current(trainer)


def test_nothing_is_traced_again_where_nothing_has_changed():
    traces = []

    class Noting(Trainer):
        def forward(self, x, training):
            traces.append(training)
            return super().forward(x, training)

    trainer = used(Noting(Subclassed()))
    before = len(traces)
    trainer.fit(X, Y, verbose=0)
    trainer.step((X, Y))
    trainer.evaluate(X, Y, verbose=0)
    trainer.predict(X, verbose=0)
    assert len(traces) == before
