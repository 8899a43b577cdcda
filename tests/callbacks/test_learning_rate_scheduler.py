"""Rates per epoch as Keras sets them, per batch as a held schedule would."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.optimizers import schedules

import keras_ext
from keras_ext.callbacks import LearningRateScheduler
from tests.markers import needs_multi_optimizer, needs_tensorflow

_rng = np.random.default_rng(3)
X = _rng.normal(size=(20, 3)).astype("float32")
Y = (X @ _rng.normal(size=(3, 1))).astype("float32")
BATCH_SIZE = 4  # 5 steps an epoch


def compiled(optimizer=0.5, *, run_eagerly=True, **kwargs):
    """A small model; a number as `optimizer` is the learning rate of SGD."""
    if isinstance(optimizer, float):
        optimizer = keras.optimizers.SGD(optimizer)
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, activation="tanh"),
            keras.layers.Dense(1),
        ]
    )
    model.compile(optimizer, loss="mse", run_eagerly=run_eagerly, **kwargs)
    return model


def fit(model, *callbacks, epochs=1, verbose=0, **kwargs):
    """Train with the model's `fit`, in a fixed order: two runs see the same."""
    return model.fit(
        X,
        Y,
        batch_size=BATCH_SIZE,
        epochs=epochs,
        shuffle=False,
        verbose=verbose,
        callbacks=list(callbacks),
        **kwargs,
    )


def loop_fit(model, *callbacks, epochs=1, initial_epoch=0):
    """Train with a `keras_ext.Loop` and a step written by hand."""
    import tensorflow as tf

    optimizer = model.optimizer
    loop = keras_ext.Loop(
        model,
        optimizer=optimizer,
        epochs=epochs,
        initial_epoch=initial_epoch,
        callbacks=list(callbacks),
        verbose=0,
    )
    for epoch in loop:
        for x, y in epoch.batches((X, Y), BATCH_SIZE, shuffle=False):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply(gradients, model.trainable_variables)
            epoch.log({"loss": loss})
    return loop.history


def rate_of(optimizer):
    return float(ops.convert_to_numpy(ops.convert_to_tensor(optimizer.learning_rate)))


class Rates(keras.callbacks.Callback):
    """Notes the rate that every step was made with."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(rate_of(self.model.optimizer))


def cosine():
    return schedules.CosineDecay(0.0, 12, warmup_target=0.1, warmup_steps=3)


def momentum(rate):
    return keras.optimizers.SGD(rate, momentum=0.9)


def decay(rate):
    return keras.optimizers.AdamW(rate, weight_decay=0.1)


def accumulate(rate):
    return keras.optimizers.SGD(rate, gradient_accumulation_steps=2)


def loss_scale(rate):
    return keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(rate))


def multi(rate, second_rate=None):
    sgd = keras.optimizers.SGD(second_rate or rate, momentum=0.9, name="sgd")
    adam = keras.optimizers.Adam(rate, name="adam")
    chosen = keras.optimizers.OptimizerMap(sgd, {".*bias": adam})
    return keras.optimizers.MultiOptimizer(chosen)


def scaled_multi(rate):
    return keras.optimizers.LossScaleOptimizer(multi(rate))


class TestPerBatch:
    def _assert_exact(self, train, optimizer, wrap=lambda model: model):
        """Two fits with the callback end where a held schedule ends."""
        held = wrap(compiled(optimizer(cosine()), run_eagerly=False))
        told = wrap(compiled(optimizer(1.0), run_eagerly=False))
        callback = LearningRateScheduler(cosine(), update_freq="batch")
        for begin, end in ((0, 2), (2, 3)):
            train(held, epochs=end, initial_epoch=begin)
            train(told, callback, epochs=end, initial_epoch=begin)
        for got, expected in zip(told.get_weights(), held.get_weights(), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize(
        "optimizer",
        [
            momentum,
            keras.optimizers.Adam,
            decay,
            accumulate,
            loss_scale,
            pytest.param(multi, marks=needs_multi_optimizer),
            pytest.param(scaled_multi, marks=needs_multi_optimizer),
        ],
    )
    def test_model_fit_equals_a_held_schedule(self, optimizer):
        self._assert_exact(fit, optimizer)

    @needs_tensorflow
    @pytest.mark.parametrize("optimizer", [momentum, keras.optimizers.Adam])
    def test_trainer_fit_equals_a_held_schedule(self, optimizer):
        self._assert_exact(fit, optimizer, wrap=keras_ext.Trainer)

    @needs_tensorflow
    @pytest.mark.parametrize("optimizer", [momentum, keras.optimizers.Adam, accumulate])
    def test_loop_equals_a_held_schedule(self, optimizer):
        self._assert_exact(loop_fit, optimizer)

    def test_function_of_step_and_rate(self):
        rates = Rates()
        halve = LearningRateScheduler(
            lambda step, rate: rate / 2 if step % 3 == 2 else rate, update_freq="batch"
        )
        fit(compiled(1.0), halve, rates)
        assert rates.seen == [1, 1, 0.5, 0.5, 0.5]
        fit(halve.model, halve, rates)
        assert rates.seen[5:] == [0.25, 0.25, 0.25, 0.125, 0.125]

    def test_continues_from_a_saved_optimizer(self, tmp_path):
        rates = Rates()
        model = compiled()
        callback = LearningRateScheduler(lambda step: 0.01 * step, update_freq="batch")
        fit(model, callback, rates)
        model.save(tmp_path / "model.keras")
        fit(keras.models.load_model(tmp_path / "model.keras"), callback, rates)
        assert rates.seen == pytest.approx([0.01 * step for step in range(10)])

    def test_step_is_a_python_integer(self):
        steps = []
        schedule = LearningRateScheduler(
            lambda step: steps.append(step) or 0.1, update_freq="batch"
        )
        fit(compiled(), schedule)
        assert steps == [0, 1, 2, 3, 4]
        assert all(type(step) is int for step in steps)

    def test_the_rate_stays_a_variable(self):
        model = compiled()
        fit(model, LearningRateScheduler(cosine(), update_freq="batch"))
        model.optimizer.learning_rate = 0.25
        assert rate_of(model.optimizer) == 0.25

    @pytest.mark.parametrize(
        "steps",
        [
            2,
            100,
            pytest.param(
                "auto",
                marks=pytest.mark.skipif(
                    keras.backend.backend() != "tensorflow",
                    reason="Keras tunes the steps on TensorFlow only",
                ),
            ),
        ],
    )
    def test_several_steps_per_execution_are_refused(self, steps):
        model = compiled(steps_per_execution=steps)
        callback = LearningRateScheduler(cosine(), update_freq="batch")
        with pytest.raises(ValueError, match=f"with steps_per_execution={steps}. Comp"):
            fit(model, callback)
        assert rate_of(model.optimizer) == 0.5

    @needs_tensorflow
    def test_trainer_and_loop_make_one_step_at_a_time(self):
        rates = Rates()
        model = compiled(steps_per_execution=3)
        callback = LearningRateScheduler(lambda step: step / 8, update_freq="batch")
        loop_fit(model, callback, rates)
        fit(keras_ext.Trainer(model), callback, rates)
        assert rates.seen == [step / 8 for step in range(10)]

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, "0.1", None, [0.1]])
    def test_bad_rate_leaves_the_rate_unchanged(self, bad):
        rates = Rates()
        model = compiled()
        callback = LearningRateScheduler(
            lambda step: bad if step == 3 else 0.125, update_freq="batch"
        )
        with pytest.raises(
            ValueError, match=r"finite, non-negative.*at step 3. The learning rate was"
        ):
            fit(model, callback, rates)
        assert rates.seen == [0.125, 0.125, 0.125]
        assert rate_of(model.optimizer) == 0.125

    @needs_tensorflow
    def test_a_loop_asks_once_for_each_batch(self):
        class Asked(type(cosine())):
            def __call__(self, step):
                asked.append(int(step))
                return super().__call__(step)

        asked = []
        schedule = Asked(0.5, 20)
        loop_fit(compiled(), LearningRateScheduler(schedule, update_freq="batch"))
        assert asked == [0, 1, 2, 3, 4]

    def test_nan_from_a_schedule_object(self):
        class Broken(schedules.LearningRateSchedule):
            def __call__(self, step):
                return ops.log(ops.cast(step, "float32") - 1.0)

        model = compiled()
        with pytest.raises(ValueError, match="finite, non-negative number"):
            fit(model, LearningRateScheduler(Broken(), update_freq="batch"))
        assert rate_of(model.optimizer) == 0.5

    @needs_multi_optimizer
    def test_bad_rate_leaves_every_optimizer_unchanged(self):
        optimizer = multi(0.5, 0.25)
        callback = LearningRateScheduler(
            lambda epoch, rate: 0.1 if rate == 0.5 else np.nan
        )
        with pytest.raises(ValueError, match="was not changed"):
            fit(compiled(optimizer), callback)
        assert {one.name: rate_of(one) for one in optimizer.optimizers} == {
            "adam": 0.5,
            "sgd": 0.25,
        }


class TestPerEpoch:
    @pytest.mark.parametrize(
        "schedule",
        [
            lambda epoch: 0.1 / (1 + epoch),
            lambda epoch, lr: lr * 0.5,
            lambda epoch, lr=1.0: lr * 0.5,
            lambda epoch, lr: lr * np.float32(0.3),
        ],
    )
    def test_equals_keras(self, schedule):
        theirs = keras.callbacks.LearningRateScheduler(schedule)
        expected, model = compiled(), compiled()
        expected_history = fit(expected, theirs, epochs=3)
        history = fit(model, LearningRateScheduler(schedule), epochs=3)
        assert history.history == expected_history.history
        for got, weights in zip(
            model.get_weights(), expected.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(got, weights)

    @pytest.mark.parametrize(
        ("schedule", "expected"),
        [
            (schedules.PiecewiseConstantDecay([0, 2], [0.5, 0.25, 0.125]), None),
            ({0: 0.5, 1: 0.25, 2: 0.25, 3: 0.125}.__getitem__, None),
            (
                lambda epoch: ops.convert_to_tensor([0.5, 0.25, 0.25, 0.125])[epoch],
                None,
            ),
            (
                lambda *step_and_rate: step_and_rate[1] / 2,
                [0.25, 0.125, 0.0625, 0.03125],
            ),
            (int, [0, 1, 2, 3]),
        ],
        ids=["schedule", "built-in", "tensor", "arguments", "no signature"],
    )
    def test_anything_that_can_be_called(self, schedule, expected):
        history = fit(compiled(), LearningRateScheduler(schedule), epochs=4)
        expected = expected or [0.5, 0.25, 0.25, 0.125]
        assert history.history["learning_rate"] == expected

    def test_a_schedule_object_is_asked_for_the_step_alone(self):
        class Optional(schedules.LearningRateSchedule):
            def __call__(self, step, factor=0.25):
                return factor

        history = fit(compiled(), LearningRateScheduler(Optional()))
        assert history.history["learning_rate"] == [0.25]

    def test_number_of_the_epoch_with_initial_epoch(self):
        schedule = LearningRateScheduler(lambda epoch: epoch / 8)
        history = fit(compiled(), schedule, epochs=5, initial_epoch=3)
        assert history.history["learning_rate"] == [3 / 8, 4 / 8]

    def test_several_steps_per_execution(self):
        schedule = LearningRateScheduler(lambda epoch: 0.125)
        history = fit(compiled(steps_per_execution=3), schedule)
        assert history.history["learning_rate"] == [0.125]

    @needs_tensorflow
    def test_in_trainer_and_loop(self):
        schedule = LearningRateScheduler(lambda epoch, rate: rate / 2)
        for history in (
            fit(keras_ext.Trainer(compiled()), schedule, epochs=2),
            loop_fit(compiled(), schedule, epochs=2),
        ):
            assert history.history["learning_rate"] == [0.25, 0.125]

    @needs_multi_optimizer
    @pytest.mark.parametrize("wrap", [multi, scaled_multi])
    def test_every_optimizer_has_its_rate(self, wrap, capsys):
        schedule = LearningRateScheduler(lambda epoch, rate: rate / 2, verbose=1)
        history = fit(compiled(wrap(0.5)), schedule, epochs=2).history
        assert history["learning_rate_adam"] == [0.25, 0.125]
        assert history["learning_rate_sgd"] == [0.25, 0.125]
        assert "learning_rate" not in history
        assert "Epoch 2: sgd learning rate set to 0.125." in capsys.readouterr().out

    @needs_multi_optimizer
    def test_optimizers_unknown_before_the_build(self):
        sgd = keras.optimizers.SGD(0.5, name="sgd")
        model = compiled(keras.optimizers.MultiOptimizer(lambda variable: sgd))
        schedule = LearningRateScheduler(lambda epoch, rate: rate / 2)
        # Some backends build the optimizer before the callbacks are called.
        if keras.backend.backend() == "tensorflow":
            with pytest.raises(ValueError, match=r"not built. Call `optimizer.build"):
                fit(model, schedule)
            model.optimizer.build(model.trainable_variables)
        assert fit(model, schedule).history["learning_rate_sgd"] == [0.25]


class TestLogs:
    @pytest.mark.parametrize("last", [False, True])
    def test_rate_of_the_epoch_beside_one_that_lowers_it(self, last):
        lower = keras.callbacks.ReduceLROnPlateau("loss", 0.5, 1, min_delta=1e9)
        schedule = LearningRateScheduler(lambda epoch, rate: rate)
        callbacks = [lower, schedule] if last else [schedule, lower]
        history = fit(compiled(), *callbacks, epochs=4).history
        assert history["learning_rate"] == [0.5, 0.5, 0.25, 0.125]

    def test_hooks_without_logs_and_params(self):
        model = compiled()
        schedule = LearningRateScheduler(lambda epoch: 0.25)
        hooks = keras.callbacks.CallbackList([schedule], model=model)
        assert schedule.params is None
        hooks.on_train_begin()
        hooks.on_epoch_begin(0)
        schedule.on_epoch_end(0)
        hooks.on_train_end()
        assert rate_of(model.optimizer) == 0.25

    def test_silent_by_default(self, capsys):
        fit(compiled(), LearningRateScheduler(lambda epoch: 0.1))
        assert capsys.readouterr().out == ""

    def test_verbose_epochs(self, capsys):
        schedule = LearningRateScheduler(lambda epoch: 0.1 * (epoch + 1), 1)
        fit(compiled(keras.optimizers.SGD(name="slow")), schedule, epochs=2)
        assert capsys.readouterr().out.splitlines() == [
            "Epoch 1: slow learning rate set to 0.1.",
            "Epoch 2: slow learning rate set to 0.2.",
        ]

    def test_verbose_batches_start_a_line(self, capsys):
        schedule = LearningRateScheduler(lambda step: step / 8, 1, update_freq="batch")
        model = compiled(keras.optimizers.SGD(name="slow"))
        fit(model, schedule, verbose=1)
        lines = capsys.readouterr().out.splitlines()
        for step in range(5):
            assert f"Step {step}: slow learning rate set to {step / 8:.6g}." in lines


class TestInitialStep:
    """Training that continues with an optimizer that has counted no steps."""

    drivers = pytest.mark.parametrize(
        ("train", "wrap"),
        [
            (fit, lambda model: model),
            pytest.param(
                fit, lambda model: keras_ext.Trainer(model), marks=needs_tensorflow
            ),
            pytest.param(loop_fit, lambda model: model, marks=needs_tensorflow),
        ],
        ids=["Model.fit", "Trainer.fit", "Loop"],
    )

    @drivers
    @pytest.mark.parametrize("verbose", [0, 1])
    def test_the_schedule_goes_on_where_it_was(self, train, wrap, verbose, capsys):
        def scheduler(**options):
            return LearningRateScheduler(
                cosine(), verbose, update_freq="batch", **options
            )

        whole, first, second = (
            wrap(compiled(momentum(1.0), run_eagerly=False)) for _ in range(3)
        )
        rates = Rates(), Rates(), Rates()
        train(whole, scheduler(), rates[0], epochs=3)
        train(first, scheduler(), rates[1], epochs=2)
        second.set_weights(first.get_weights())
        begin_at_10 = scheduler(initial_step=10)
        train(second, begin_at_10, rates[2], initial_epoch=2, epochs=3)
        assert rates[1].seen + rates[2].seen == rates[0].seen
        if verbose:
            assert capsys.readouterr().out.count("Step 14: ") == 2

    @drivers
    def test_a_schedule_that_begins_again_is_warned_about(self, train, wrap):
        schedule = LearningRateScheduler(cosine(), update_freq="batch")
        message = (
            r"begins with epoch 3, but the schedule with step 0: .*`load_weights`.*"
            r"initial_step=15\)`, the number .* or `initial_step=0` to begin"
        )
        with pytest.warns(UserWarning, match=message):
            train(wrap(compiled()), schedule, initial_epoch=3, epochs=4)

    @pytest.mark.filterwarnings("ignore:Your input ran out of data")
    def test_the_number_of_steps_may_be_unknown(self):
        schedule = LearningRateScheduler(cosine(), update_freq="batch")
        with pytest.warns(UserWarning, match=r"initial_step=\.\.\.\)`"):
            compiled().fit(
                ((X[:4], Y[:4]) for _ in range(5)),
                shuffle=False,
                verbose=0,
                callbacks=[schedule],
                initial_epoch=1,
                epochs=2,
            )

    @drivers
    def test_what_is_meant_is_not_warned_about(self, train, wrap):
        rates, model = Rates(), wrap(compiled())
        schedule = LearningRateScheduler(cosine(), update_freq="batch", initial_step=0)
        train(model, schedule, rates, initial_epoch=3, epochs=4)
        assert rates.seen == pytest.approx([float(cosine()(n)) for n in range(5)])
        schedule = LearningRateScheduler(cosine(), update_freq="batch")
        train(model, schedule, rates, initial_epoch=4, epochs=5)
        assert rates.seen[5:] == pytest.approx(
            [float(cosine()(n + 5)) for n in range(5)]
        )

    @needs_tensorflow
    @pytest.mark.parametrize("save_freq", ["epoch", 3])
    @pytest.mark.parametrize("held", [False, True])
    def test_nor_is_a_run_that_is_continued(self, held, save_freq, tmp_path):
        def train(epochs):
            model = compiled(keras.optimizers.SGD(cosine() if held else 1.0))
            model = keras_ext.Trainer(model)
            callbacks = [keras_ext.callbacks.Checkpoint(tmp_path, save_freq=save_freq)]
            if not held:
                callbacks += [LearningRateScheduler(cosine(), update_freq="batch")]
            fit(model, *callbacks, epochs=epochs, resume=True)
            return model

        train(2)
        if save_freq == 3:  # without what was saved at the end, within an epoch
            max(tmp_path.glob("ckpt-*.index")).unlink()
        assert train(3).optimizer.iterations == 15

    @needs_tensorflow
    @pytest.mark.parametrize("train", [fit, loop_fit])
    @pytest.mark.parametrize(
        "optimizer",
        [keras.optimizers.SGD, pytest.param(multi, marks=needs_multi_optimizer)],
    )
    def test_a_schedule_that_the_optimizer_holds(self, train, optimizer):
        message = (
            r"begins with epoch 3, but the schedule of the optimizer with step 0: .*"
            r"`optimizer.iterations.assign\(steps\)`"
        )
        model = compiled(optimizer(cosine()))
        model = keras_ext.Trainer(model) if train is fit else model
        with pytest.warns(UserWarning, match=message):
            train(model, initial_epoch=3, epochs=4)
        # It has counted steps, now and when their number is assigned.
        train(model, initial_epoch=4, epochs=5)
        inner = getattr(model.optimizer, "optimizers", [model.optimizer])
        for one in inner:
            one.iterations.assign(20)
        train(model, initial_epoch=3, epochs=4)
        assert inner[0].iterations == 25


class TestBadInputs:
    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"schedule": 0.1}, TypeError, r"Received: 0.1 of type float"),
            ({"schedule": None}, TypeError, r"must be a LearningRateSchedule or a fu"),
            ({"schedule": lambda: 0.1}, TypeError, r"must take \(step\) or \(step, le"),
            (
                {"schedule": lambda a, b, c: a},
                TypeError,
                r"Received: a function of \(a, b, c\)",
            ),
            (
                {"verbose": 2},
                ValueError,
                r"`verbose` must be one of 0, 1. Received: ver",
            ),
            (
                {"update_freq": "step"},
                ValueError,
                r"`update_freq` must be one of 'epoch', 'batch'. Received: ",
            ),
            ({"update_freq": 10}, ValueError, r"Received: update_freq=10"),
            (
                {"update_freq": "batch", "initial_step": -1},
                ValueError,
                r"`initial_step` must be .*Received: initial_step=-1",
            ),
            (
                {"initial_step": 3},
                ValueError,
                r"only by update_freq='batch'. Received: update_freq='epoch', initial",
            ),
        ],
    )
    def test_arguments(self, arguments, error, message):
        with pytest.raises(error, match=message):
            LearningRateScheduler(**{"schedule": cosine(), **arguments})

    @pytest.mark.parametrize("update_freq", ["epoch", "batch"])
    @pytest.mark.parametrize(
        ("optimizer", "name"),
        [
            (lambda: keras.optimizers.SGD(cosine()), "SGD"),
            (lambda: keras.optimizers.Adam(lambda: 0.1), "Adam"),
            (lambda: loss_scale(cosine()), "Adam"),
            pytest.param(lambda: multi(cosine()), "Adam", marks=needs_multi_optimizer),
        ],
    )
    def test_optimizer_whose_rate_is_no_number(self, optimizer, name, update_freq):
        callback = LearningRateScheduler(cosine(), update_freq=update_freq)
        with pytest.raises(ValueError, match=f"Received: {name}, which has no learn"):
            fit(compiled(optimizer()), callback)

    def test_an_exception_of_the_function_is_passed_on(self):
        def fail(epoch, rate):
            raise TypeError("mine")

        with pytest.raises(TypeError, match="mine"):
            fit(compiled(), LearningRateScheduler(fail))
