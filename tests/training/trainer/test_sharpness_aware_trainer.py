"""`SharpnessAwareTrainer` against the paper's algorithm in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ext
from keras_ext import SharpnessAwareTrainer
from keras_ext.callbacks import Checkpoint, NaNGuard
from tests.reference import optimizers as reference

_rng = np.random.default_rng(3)
X = _rng.normal(size=(24, 3)).astype("float32")
Y = (X @ _rng.normal(size=(3, 1)) + _rng.normal(size=(24, 1))).astype("float32")
BATCH = 4
EPOCHS = 4
STEPS = EPOCHS * 6


def linear():
    """A model whose weights are three and a bias."""
    keras.utils.set_random_seed(5)
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])


def batches(step):
    rows = slice(step % 6 * BATCH, (step % 6 + 1) * BATCH)
    return X[rows].astype("float64"), Y[rows].astype("float64")


def gradient(weights, step):
    """The gradient of the mean squared error of the step's batch."""
    x, y = batches(step)
    error = x @ weights[:3, None] + weights[3] - y
    kernel = 2 * (x * error).mean(axis=0)
    return np.append(kernel, 2 * error.mean())


def flat(model):
    return np.concatenate([np.ravel(one) for one in model.get_weights()])


def trained(model=None, trainer=SharpnessAwareTrainer, epochs=EPOCHS, **options):
    compilation = {
        "optimizer": keras.optimizers.SGD(0.05, momentum=0.5),
        "loss": "mse",
        **options.pop("compile", {}),
    }
    fit = options.pop("fit", {})
    trainer = trainer(model or linear(), **options)
    trainer.compile(**compilation)
    trainer.fit(X, Y, BATCH, epochs, shuffle=False, verbose=0, **fit)
    return trainer


@pytest.mark.parametrize("rho", [0.05, 0.5, 0.0])
@pytest.mark.parametrize(
    "compile_options",
    [{}, {"jit_compile": True}, {"run_eagerly": True}],
    ids=["graph", "xla", "eager"],
)
def test_is_the_algorithm_of_the_paper(rho, compile_options):
    trainer = trained(rho=rho, compile=compile_options)
    expected = reference.sam_sgd(
        flat(linear()), gradient, STEPS, rho=rho, learning_rate=0.05, momentum=0.5
    )
    np.testing.assert_allclose(flat(trainer), expected[-1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [1e25, 1e-25])
def test_gradients_whose_squares_overflow_or_vanish(size):
    class Sized(SharpnessAwareTrainer):
        def compute_loss(self, *args, **kwargs):
            return size * super().compute_loss(*args, **kwargs)

    optimizer = keras.optimizers.SGD(0.05 / size, momentum=0.5)
    trainer = trained(trainer=Sized, rho=0.5, compile={"optimizer": optimizer})
    expected = reference.sam_sgd(
        flat(linear()), gradient, STEPS, rho=0.5, learning_rate=0.05, momentum=0.5
    )
    np.testing.assert_allclose(flat(trainer), expected[-1], rtol=1e-5, atol=1e-5)


def test_adaptive():
    def uphill(weights, step):
        scale = np.abs(weights) + 0.01
        slope = scale * gradient(weights, step)
        return gradient(weights + 0.5 * scale * slope / np.linalg.norm(slope), step)

    trainer = trained(rho=0.5, adaptive=True)
    rule = reference.sgd_rule(0.05, 0.5)
    weights = flat(linear()).astype("float64")
    for step in range(STEPS):
        weights = rule(weights, uphill(weights, step), step)
    np.testing.assert_allclose(flat(trainer), weights, rtol=1e-5, atol=1e-5)


def test_the_step_is_that_of_stock_fit_and_of_a_loop_by_hand():
    trainer = trained()
    stock, looped = SharpnessAwareTrainer(linear()), SharpnessAwareTrainer(linear())
    for one in (stock, looped):
        one.compile(keras.optimizers.SGD(0.05, momentum=0.5), "mse")
    keras.Model.fit(stock, X, Y, BATCH, EPOCHS, shuffle=False, verbose=0)
    for epoch in keras_ext.Loop(looped, epochs=EPOCHS, verbose=0):
        for batch in epoch.batches((X, Y), BATCH, shuffle=False):
            epoch.log(looped.step(batch))
    for one in (stock, looped):
        np.testing.assert_allclose(flat(one), flat(trainer), rtol=1e-5, atol=1e-6)


def test_a_gradient_of_zero_goes_nowhere():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
    model.set_weights([np.zeros((3, 1))])
    trainer = SharpnessAwareTrainer(model)
    trainer.compile("sgd", "mse")
    trainer.fit(X, np.zeros_like(Y), verbose=0)
    np.testing.assert_array_equal(flat(trainer), np.zeros(3))


class Drawing(keras.layers.Layer):
    """Keeps the noise it has added, and how often it was called."""

    def __init__(self):
        super().__init__()
        self.seed = keras.random.SeedGenerator(1)
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.notes = []

    def call(self, x, training=None):
        noise = keras.random.normal((3,), seed=self.seed)
        self.calls.assign_add(1)
        self.notes.append(np.array(noise))
        return x + noise


@pytest.mark.parametrize("built", [True, False])
def test_both_passes_draw_the_same_and_count_once(built):
    drawing, norm = Drawing(), keras.layers.BatchNormalization(momentum=0.0)
    begin = [keras.Input((3,))] if built else []
    model = keras.Sequential([*begin, drawing, norm, keras.layers.Dense(1)])
    trainer = SharpnessAwareTrainer(model)
    trainer.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    drawing.notes.clear()
    before = np.array(drawing.calls)
    for first in (0, 8, 16):
        trainer.step((X[first : first + 8], Y[first : first + 8]))
    notes = drawing.notes[-6:]
    for one, other in zip(notes[::2], notes[1::2], strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.abs(notes[0] - notes[2]).max() > 0
    assert float(drawing.calls) - float(before) == 3
    np.testing.assert_allclose(
        norm.moving_mean, (X[16:] + notes[-1]).mean(0), rtol=1e-5, atol=1e-6
    )


def test_batch_norm_sees_the_weights_themselves():
    """Its statistics are those of a first pass, without a step uphill."""

    def model():
        keras.utils.set_random_seed(5)
        return keras.Sequential(
            [
                keras.Input((3,)),
                keras.layers.Dense(4),
                keras.layers.BatchNormalization(momentum=0.5),
                keras.layers.Dense(1),
            ]
        )

    frozen = {"optimizer": keras.optimizers.SGD(0.0)}
    aware = trained(model(), rho=5.0, compile=frozen, epochs=1)
    frozen = {"optimizer": keras.optimizers.SGD(0.0)}
    plain = trained(model(), keras_ext.Trainer, compile=frozen, epochs=1)
    for got, expected in zip(aware.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_loss_and_metrics_are_those_of_the_first_pass():
    frozen = {"optimizer": keras.optimizers.SGD(0.0), "metrics": ["mae"]}
    aware = trained(rho=5.0, compile=frozen, epochs=1).history.history
    frozen = {"optimizer": keras.optimizers.SGD(0.0), "metrics": ["mae"]}
    plain = trained(trainer=keras_ext.Trainer, compile=frozen, epochs=1).history.history
    assert aware["loss"] == pytest.approx(plain["loss"], rel=1e-6)
    assert aware["mae"] == pytest.approx(plain["mae"], rel=1e-6)


def test_a_loss_scale_changes_nothing():
    def scaled():
        sgd = keras.optimizers.SGD(0.05, momentum=0.5)
        return keras.optimizers.LossScaleOptimizer(sgd, initial_scale=1024.0)

    got = trained(compile={"optimizer": scaled()})
    np.testing.assert_allclose(flat(got), flat(trained()), rtol=1e-4, atol=1e-5)


def test_rows_of_an_embedding():
    def model():
        keras.utils.set_random_seed(5)
        return keras.Sequential(
            [
                keras.Input((2,), dtype="int32"),
                keras.layers.Embedding(10, 4),
                keras.layers.Flatten(),
                keras.layers.Dense(1),
            ]
        )

    trainer = SharpnessAwareTrainer(model())
    trainer.compile(keras.optimizers.SGD(0.1), "mse")
    rows = np.array([[0, 1], [1, 2]])
    before = flat(trainer)
    trainer.fit(rows, np.ones((2, 1)), verbose=0)
    moved = (flat(trainer) != before)[:40].reshape(10, 4).any(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(moved), [0, 1, 2])


def test_a_loss_that_is_not_finite_leaves_the_weights():
    x = X.copy()
    x[5] = np.nan
    trainer = SharpnessAwareTrainer(linear())
    trainer.compile(keras.optimizers.SGD(0.05), "mse")
    guard = NaNGuard("skip")
    with pytest.warns(UserWarning, match="The update was left out"):
        trainer.fit(x, Y, BATCH, shuffle=False, verbose=0, callbacks=[guard])
    assert guard.found == [(0, 1, "loss")]
    assert np.isfinite(flat(trainer)).all()
    assert int(trainer.optimizer.iterations) == 5


def test_hooks_are_called_in_both_passes():
    calls = []

    class Counting(SharpnessAwareTrainer):
        def compute_gradients(self, tape, loss):
            calls.append("gradients")
            clipped, _ = tf.clip_by_global_norm(
                super().compute_gradients(tape, loss), 1.0
            )
            return clipped

        def apply_gradients(self, gradients):
            calls.append("apply")
            super().apply_gradients(gradients)

    trainer = Counting(linear())
    trainer.compile("sgd", "mse", run_eagerly=True)
    trainer.step((X, Y))
    assert calls == ["gradients", "gradients", "apply"]


def test_a_continued_run_is_the_same_to_the_bit(tmp_path):
    def run(folder, epochs):
        keras.utils.clear_session()
        fit = {"callbacks": [Checkpoint(folder)], "resume": True}
        return trained(fit=fit, epochs=epochs, seed=1)

    whole = run(tmp_path / "whole", 4)
    run(tmp_path / "parts", 2)
    np.testing.assert_array_equal(flat(run(tmp_path / "parts", 4)), flat(whole))


def test_survives_a_file(tmp_path):
    trainer = trained(rho=0.2, adaptive=True, seed=3)
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.models.load_model(tmp_path / "trainer.keras")
    assert type(loaded) is SharpnessAwareTrainer
    assert (loaded.rho, loaded.adaptive, loaded.seed) == (0.2, True, 3)
    np.testing.assert_array_equal(flat(loaded), flat(trainer))


def test_a_model_without_variables():
    trainer = SharpnessAwareTrainer(keras.Sequential([keras.layers.Flatten()]))
    trainer.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="no trainable variables"):
        trainer.fit(X, X, verbose=0)


@pytest.mark.parametrize("rho", [-0.1, float("nan"), "far"])
def test_a_radius_that_is_none(rho):
    with pytest.raises(
        ValueError, match=r"`rho` must be a finite number in \[0, inf\)"
    ):
        SharpnessAwareTrainer(linear(), rho)
