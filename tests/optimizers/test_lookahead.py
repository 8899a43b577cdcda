"""`Lookahead` against the paper's algorithm in NumPy, around many optimizers."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_ext
from keras_ext.optimizers import Lookahead
from tests.markers import needs_multi_optimizer, needs_tensorflow
from tests.optimizers.test_rectified_adam import START, path, slope
from tests.reference import optimizers as reference

SGD = keras.optimizers.SGD
_rng = np.random.default_rng(3)
X = _rng.normal(size=(20, 3)).astype("float32")
Y = (X @ _rng.normal(size=(3, 1))).astype("float32")


def compiled(optimizer, **options):
    keras.utils.set_random_seed(5)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(optimizer, loss="mse", **options)
    return model


def number(value):
    return float(ops.convert_to_numpy(ops.convert_to_tensor(value)))


@pytest.mark.parametrize(("period", "size"), [(6, 0.5), (1, 0.3), (4, 1.0), (5, 0.8)])
def test_is_the_algorithm_of_the_paper(period, size):
    options = {"learning_rate": 0.03, "momentum": 0.8, "nesterov": True}
    got = path(Lookahead(SGD(**options), period, size), 33)
    expected = reference.lookahead_sgd(
        START, slope, 33, sync_period=period, slow_step_size=size, **options
    )
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_around_adam():
    got = path(Lookahead(keras.optimizers.Adam(0.1)), 30)
    expected = reference.lookahead_adam(START, slope, 30, learning_rate=0.1)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_weight_decay_is_that_of_the_optimizer_inside():
    inner = reference.adam_rule(0.1, weight_decay=0.2)
    got = path(Lookahead(keras.optimizers.AdamW(0.1, weight_decay=0.2), 3), 20)
    expected = reference.lookahead(START, slope, 20, inner, sync_period=3)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_a_period_counts_updates_not_batches():
    accumulating = Lookahead(SGD(0.1, gradient_accumulation_steps=2), 3)
    plain = Lookahead(SGD(0.1), 3)
    variables = [
        keras.Variable(START, dtype="float32"),
        keras.Variable(START, dtype="float32"),
    ]
    for step in range(7):
        gradient = ops.cast(slope(START, step), "float32")
        accumulating.apply([gradient], [variables[0]])
        accumulating.apply([gradient], [variables[0]])
        plain.apply([gradient], [variables[1]])
        got, expected = map(ops.convert_to_numpy, variables)
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert number(accumulating.iterations) == 7


def test_weights_set_after_the_optimizer_was_built_are_where_it_begins():
    variable = keras.Variable([5.0])
    optimizer = Lookahead(SGD(1.0), 2)
    optimizer.build([variable])
    variable.assign([1.0])
    for _ in range(2):
        optimizer.apply([ops.ones(1)], [variable])
    assert number(variable.value[0]) == 0.0  # halfway from 1 to -1


def test_an_optimizer_that_has_made_steps_begins_a_period():
    variable = keras.Variable([0.0])
    inner = SGD(1.0)
    inner.apply([ops.ones(1)], [variable])
    optimizer = Lookahead(inner, 2)
    seen = []
    for _ in range(4):
        optimizer.apply([ops.ones(1)], [variable])
        seen.append(number(variable.value[0]))
    assert seen == [-2, -2, -3, -3]
    assert number(optimizer.iterations) == 5


def test_constraints_hold_after_a_synchronization():
    variable = keras.Variable([3.0, 4.0])
    variable.constraint = keras.constraints.UnitNorm(axis=0)
    optimizer = Lookahead(SGD(1.0), 2)
    for gradient in ([1.0, 0.0], [0.0, 5.0], [4.0, 0.0], [0.0, -3.0]):
        optimizer.apply([ops.convert_to_tensor(gradient)], [variable])
        norm = np.linalg.norm(ops.convert_to_numpy(variable))
        assert norm == pytest.approx(1, rel=1e-5)


class TestTheRate:
    def test_is_that_of_the_optimizer_inside(self):
        inner = SGD(0.5)
        optimizer = Lookahead(inner)
        optimizer.learning_rate = 0.25
        assert number(inner.learning_rate) == number(optimizer.learning_rate) == 0.25

    def test_a_schedule_inside_is_asked(self):
        schedule = keras.optimizers.schedules.InverseTimeDecay(0.1, 3, 0.5)
        inner = reference.sgd_rule(lambda step: 0.1 / (1 + 0.5 * step / 3))
        got = path(Lookahead(SGD(schedule), 4), 20)
        expected = reference.lookahead(START, slope, 20, inner, sync_period=4)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
        with pytest.raises(TypeError, match="not settable"):
            Lookahead(SGD(schedule)).learning_rate = 0.1

    @pytest.mark.parametrize("around", [False, True], ids=["alone", "loss scale"])
    @pytest.mark.parametrize("accumulation", [None, 2])
    def test_our_scheduler_sets_it_before_every_batch(self, around, accumulation):
        schedule = keras_ext.schedules.OneCycle(0.1, total_steps=20)

        def optimizer(rate):
            inner = SGD(rate, gradient_accumulation_steps=accumulation)
            one = Lookahead(inner, 3)
            return keras.optimizers.LossScaleOptimizer(one) if around else one

        held, told = compiled(optimizer(schedule)), compiled(optimizer(1.0))
        callback = keras_ext.callbacks.LearningRateScheduler(
            schedule, update_freq="batch"
        )
        options = {"batch_size": 4, "epochs": 3, "shuffle": False, "verbose": 0}
        held.fit(X, Y, **options)
        history = told.fit(X, Y, callbacks=[callback], **options).history
        for got, expected in zip(told.get_weights(), held.get_weights(), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
        assert history["learning_rate"][-1] == pytest.approx(float(schedule(14)))

    def test_keras_s_callbacks_set_it(self):
        model = compiled(Lookahead(SGD(0.5)))
        plateau = keras.callbacks.ReduceLROnPlateau(
            "loss", factor=0.5, patience=1, min_delta=1e9
        )
        model.fit(X, Y, epochs=3, verbose=0, callbacks=[plateau])
        assert number(model.optimizer.learning_rate) == 0.125


def test_all_variables_can_be_read_and_set():
    first, second = (Lookahead(keras.optimizers.Adam(0.1), 3) for _ in range(2))
    variables = [
        keras.Variable(START, dtype="float32"),
        keras.Variable(START, dtype="float32"),
    ]
    for step in range(5):
        first.apply([ops.cast(slope(START, step), "float32")], variables[:1])
    second.build(variables[1:])
    second.set_weights([ops.convert_to_numpy(one) for one in first.variables])
    variables[1].assign(variables[0])
    for step in range(5, 9):
        gradient = ops.cast(slope(START, step), "float32")
        first.apply([gradient], variables[:1])
        second.apply([gradient], variables[1:])
    got, expected = map(ops.convert_to_numpy, variables)
    np.testing.assert_array_equal(got, expected)
    assert len(first.variables) == 2 + 1 + 2 + 2  # own, slow, and Adam's


def test_a_fixed_loss_scale_is_that_of_the_optimizer_inside():
    optimizer = Lookahead(SGD(1.0, loss_scale_factor=8.0))
    assert optimizer.loss_scale_factor == 8
    variable = keras.Variable([1.0])
    gradient = optimizer.scale_loss(ops.ones(1))
    optimizer.apply([gradient], [variable])
    assert number(variable.value[0]) == 0
    around = keras.optimizers.LossScaleOptimizer(optimizer)
    assert around.inner_optimizer.optimizer.loss_scale_factor is None


def test_an_average_inside_is_written_into_the_weights_at_the_end():
    options = {"use_ema": True, "ema_momentum": 0.5}
    model = compiled(Lookahead(SGD(0.1, **options), sync_period=100))
    plain = compiled(SGD(0.1, **options))
    for one in (model, plain):
        one.fit(X, Y, epochs=2, batch_size=4, shuffle=False, verbose=0)
    for got, expected in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


@needs_multi_optimizer
def test_several_optimizers_inside():
    chosen = keras.optimizers.OptimizerMap(SGD(0.1), {".*bias": SGD(0.0)})
    model = compiled(Lookahead(keras.optimizers.MultiOptimizer(chosen), 2))
    before = model.get_weights()
    model.fit(X, Y, epochs=2, batch_size=4, verbose=0)
    kernel, bias = model.get_weights()
    assert np.abs(kernel - before[0]).max() > 0
    np.testing.assert_array_equal(bias, before[1])


@needs_tensorflow
class TestInATrainer:
    @pytest.mark.parametrize("jit_compile", [True, False])
    def test_many_steps_per_call_are_those_of_stock_fit(self, jit_compile):
        def make():
            return compiled(Lookahead(keras.optimizers.Adam(0.05), 3))

        stock = make()
        options = {"batch_size": 4, "epochs": 4, "shuffle": False, "verbose": 0}
        stock.fit(X, Y, **options)
        trainer = keras_ext.Trainer(make())
        trainer.compile(
            Lookahead(keras.optimizers.Adam(0.05), 3), "mse", jit_compile=jit_compile
        )
        trainer.fit(X, Y, **options)
        for got, expected in zip(
            trainer.model.get_weights(), stock.get_weights(), strict=True
        ):
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)

    def test_a_continued_run_is_the_same_to_the_bit(self, tmp_path):
        def run(folder, epochs):
            keras.utils.clear_session()
            trainer = keras_ext.Trainer(compiled(None), seed=1)
            trainer.compile(Lookahead(keras.optimizers.Adam(0.05), 3), "mse")
            trainer.fit(
                X,
                Y,
                batch_size=4,
                epochs=epochs,
                verbose=0,
                callbacks=[keras_ext.callbacks.Checkpoint(folder, save_freq=2)],
                resume=True,
            )
            return [*trainer.get_weights(), *map(np.array, trainer.optimizer.variables)]

        whole = run(tmp_path / "whole", 5)
        run(tmp_path / "parts", 1)  # 5 steps: within a period of 3
        for got, expected in zip(run(tmp_path / "parts", 5), whole, strict=True):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("adam",), TypeError, "`optimizer` must be a keras.optimizers.Optimizer"),
        (
            (keras.optimizers.LossScaleOptimizer(SGD()),),
            TypeError,
            r"must wrap Lookahead: LossScaleOptimizer\(Lookahead\(optimizer\)\)",
        ),
        ((Lookahead(SGD()),), TypeError, "must not itself be a Lookahead"),
        ((SGD(), 0), ValueError, "`sync_period` must be a positive integer"),
        ((SGD(), 6, 0.0), ValueError, r"`slow_step_size` must be .* in \(0, 1\]"),
        ((SGD(), 6, 1.5), ValueError, r"`slow_step_size` must be .* in \(0, 1\]"),
    ],
)
def test_arguments_that_do_not_fit(arguments, error, message):
    with pytest.raises(error, match=message):
        Lookahead(*arguments)


def test_gradients_alone_need_a_built_optimizer():
    with pytest.raises(ValueError, match="needs to know the variables"):
        Lookahead(SGD()).apply([ops.ones(1)])
