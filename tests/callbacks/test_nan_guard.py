"""A guard against numbers that are none: what it finds, and what it does then."""

import csv
import math
import re

import keras
import numpy as np
import pytest

import keras_ext
from keras_ext.callbacks import CSVLogger, NaNGuard
from tests.forgetful import Forgetful
from tests.markers import needs_tensorflow

_rng = np.random.default_rng(3)
X = _rng.normal(size=(32, 3)).astype("float32")
Y = (X @ _rng.normal(size=(3, 1))).astype("float32")
BATCH_SIZE = 4
STEPS = 8  # an epoch
BAD = 13  # in batch 3, which has the samples 12 to 15


def spoilt(*samples):
    """Return the inputs with samples that are no numbers."""
    x = X.copy()
    x[list(samples)] = np.nan
    return x


def without(*batches):
    """Return inputs and targets without some batches."""
    left = [
        range(number * BATCH_SIZE, (number + 1) * BATCH_SIZE)
        for number in range(STEPS)
        if number not in batches
    ]
    rows = np.concatenate(left)
    return X[rows], Y[rows]


def compiled(kind=None, *, layers=None, loss="mse", optimizer=None, **options):
    """Return a model, or a Trainer, always with the same weights."""
    keras.utils.set_random_seed(5)
    layers = layers or [keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model = model if kind is None else kind(model)
    model.compile(optimizer or keras.optimizers.Adam(0.01), loss=loss, **options)
    return model


def fit(model, x, y=Y, *callbacks, **kwargs):
    options = {"batch_size": BATCH_SIZE, "shuffle": False, "verbose": 0, **kwargs}
    return model.fit(x, y, callbacks=list(callbacks), **options)


def state_of(model):
    """Return the values of all variables of a model and its optimizer."""
    variables = [
        *model.trainable_variables,
        *model.non_trainable_variables,
        *model.optimizer.variables,
    ]
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def assert_same(first, second):
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def are_finite(model):
    return all(np.isfinite(value).all() for value in state_of(model))


def ends(epoch=0, batch=3, name="loss"):
    return pytest.warns(
        UserWarning,
        match=rf"^Epoch {epoch}, batch {batch}: the {name} is not finite\. "
        r"Training ends\.$",
    )


def left_out(more="", batch=3, name="loss", epoch=0):
    return pytest.warns(
        UserWarning,
        match=rf"^Epoch {epoch}, batch {batch}: the {name} is not finite{more}\. "
        r"The update was left out\.$",
    )


LEFT_OUT = (
    r"^Epoch 0, batch \d: the loss is not finite(, and (\d) more of this call)?\. "
    r"The update was left out\.$"
)


def updates_left_out(caught):
    """Return how many updates the warnings speak of."""
    found = [re.search(LEFT_OUT, str(one.message)) for one in caught]
    return sum(1 + int(one[2] or 0) for one in found)


def goes_back(time=1, of=3, name="loss"):
    return pytest.warns(
        UserWarning,
        match=rf"the {name} is not finite\. Returning to the last checkpoint, for "
        rf"time {time} of at most {of}\.$",
    )


class Count(Forgetful):
    """Hears of every batch, and so has every call make one step."""

    def __init__(self):
        super().__init__()
        self.batches = 0

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1


class Nothing(keras.callbacks.Callback):
    """Takes the place of `Count` where many steps are made per call."""


CALLS = pytest.mark.parametrize("call", [Count, Nothing], ids=["one", "many"])
GRAPH = {"jit_compile": False}
MODES = pytest.mark.parametrize(
    ("mode", "call"),
    [
        (GRAPH, Count),
        (GRAPH, Nothing),
        ({"jit_compile": True}, Nothing),
        ({**GRAPH, "run_eagerly": True}, Nothing),
    ],
    ids=["graph, one", "graph, many", "xla, many", "eager"],
)


@pytest.fixture
def eight_steps(monkeypatch):
    """Make the first call one step, and the others eight, on a slow machine too."""
    pace = pytest.importorskip("keras_ext.training.loop.chunk_sizer")
    monkeypatch.setattr(pace, "_BUDGET", 1e9)


class TestArguments:
    @pytest.mark.parametrize("action", ["halt", "", None, 1])
    def test_unknown_actions(self, action):
        with pytest.raises(ValueError, match="`action` must be one of 'stop', 'skip'"):
            NaNGuard(action)

    @pytest.mark.parametrize("retries", [-1, 1.5, None, "3", True])
    def test_wrong_retries(self, retries):
        with pytest.raises(ValueError, match="`retries` must be a non-negative int"):
            NaNGuard("roll_back", retries=retries)

    def test_the_default_is_to_stop(self):
        guard = NaNGuard()
        assert (guard.action, guard.retries, guard.found) == ("stop", 3, [])

    def test_retries_has_a_name(self):
        with pytest.raises(TypeError, match="positional"):
            NaNGuard("roll_back", 2)


class TestStockFit:
    """In `keras.Model.fit`, on all backends: by the logs."""

    @pytest.mark.parametrize("sample", [0, BAD, 31])
    def test_it_ends_and_says_where(self, sample):
        guard, count = NaNGuard(), Count()
        batch = sample // BATCH_SIZE
        with ends(batch=batch):
            history = fit(compiled(), spoilt(sample), Y, count, guard, epochs=5)
        assert guard.found == [(0, batch, "loss")]
        assert count.batches == batch + 1
        assert history.epoch == [0]

    def test_the_epoch_is_told(self):
        class Spoil(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                if epoch == 2:
                    self.model.layers[0].bias.assign([math.inf] * 4)
                    self.model.layers[1].bias.assign([math.inf])

        guard = NaNGuard()
        with ends(epoch=2, batch=0):
            history = fit(compiled(), X, Y, Spoil(), guard, epochs=5)
        assert guard.found == [(2, 0, "loss")]
        assert history.epoch == [0, 1, 2]

    def test_finite_numbers_are_left_alone(self):
        guard = NaNGuard()
        model, other = compiled(metrics=["mae"]), compiled(metrics=["mae"])
        history = fit(model, X, Y, guard, epochs=2)
        assert guard.found == []
        assert history.history == fit(other, X, epochs=2).history
        assert_same(state_of(model), state_of(other))

    def test_other_logs_count_too(self):
        def odd(y_true, y_pred):
            return keras.ops.log(keras.ops.zeros_like(y_pred))

        guard = NaNGuard()
        with ends(batch=0, name="odd"):
            fit(compiled(metrics=[odd]), X, Y, guard)
        assert guard.found == [(0, 0, "odd")]

    def test_logs_of_many_numbers(self):
        class Several(keras.metrics.Metric):
            def update_state(self, y_true, y_pred, sample_weight=None):
                pass

            def result(self):
                return {"best": keras.ops.zeros(()), "all": keras.ops.zeros((2, 3))}

        guard = NaNGuard()
        hooks = keras.callbacks.CallbackList([guard], model=compiled(), epochs=1)
        hooks.on_train_begin()
        hooks.on_epoch_begin(0)
        good, bad = np.zeros((2, 3)), np.array([0.0, -math.inf])
        hooks.on_train_batch_end(0, {"loss": 1, "all": good, "nested": {"a": good}})
        assert guard.found == []
        with ends(batch=1, name="all"):
            hooks.on_train_batch_end(1, {"loss": 1.0, "all": bad})
        assert hooks.callbacks[0].model.stop_training

    def test_skip_is_refused(self):
        match = r"NaNGuard\('skip'\) needs the steps of a keras_ext.Trainer"
        with pytest.raises(ValueError, match=match):
            fit(compiled(), X, Y, NaNGuard("skip"))

    def test_roll_back_is_refused(self):
        match = r"NaNGuard\('roll_back'\) needs a checkpoint to return to"
        with pytest.raises(ValueError, match=match):
            fit(compiled(), X, Y, NaNGuard("roll_back"))

    @needs_tensorflow
    def test_roll_back_is_refused_with_a_checkpoint_too(self, tmp_path):
        checkpoint = keras_ext.callbacks.Checkpoint(tmp_path)
        with pytest.raises(ValueError, match=r"in Trainer\.fit or Loop"):
            fit(compiled(), X, Y, NaNGuard("roll_back"), checkpoint)

    def test_the_object_can_be_used_again(self):
        guard = NaNGuard()
        with ends():
            fit(compiled(), spoilt(BAD), Y, guard)
        history = fit(compiled(), X, Y, guard, epochs=2)
        assert history.epoch == [0, 1]
        assert guard.found == [(0, 3, "loss")]


def infinite_slope(y_true, y_pred):
    """A loss that is finite, and whose gradient is not where the target is 1."""
    ops = keras.ops
    moved = y_pred - ops.stop_gradient(y_pred)
    return ops.mean(ops.square(y_pred) + ops.sqrt(moved + (1.0 - y_true)), axis=-1)


def flags(*samples):
    """Return targets with which `infinite_slope` has a bad gradient there."""
    y = np.zeros_like(Y)
    y[list(samples)] = 1.0
    return y


@needs_tensorflow
@pytest.mark.usefixtures("eight_steps")
class TestStop:
    """In `Trainer.fit`: the update is not made, and none after it."""

    @MODES
    def test_the_weights_are_those_before(self, mode, call):
        guard = NaNGuard()
        trainer = compiled(keras_ext.Trainer, **mode)
        with ends():
            history = fit(trainer, spoilt(BAD, 30), Y, call(), guard, epochs=3)
        assert guard.found == [(0, 3, "loss")]
        assert trainer.stop_training
        assert history.epoch == [0]
        assert trainer.optimizer.iterations == 3
        reference = compiled(keras_ext.Trainer, **mode)
        fit(reference, X[:12], Y[:12], call())
        assert_same(state_of(trainer), state_of(reference))

    @MODES
    def test_a_gradient_that_is_infinite(self, mode, call):
        guard = NaNGuard()
        trainer = compiled(keras_ext.Trainer, loss=infinite_slope, **mode)
        name = f"gradient of {trainer.trainable_variables[0].path}"
        with ends(name=name):
            history = fit(trainer, X, flags(BAD), call(), guard, epochs=3)
        assert guard.found == [(0, 3, name)]
        assert np.isfinite(history.history["loss"]).all()
        reference = compiled(keras_ext.Trainer, loss=infinite_slope, **mode)
        fit(reference, X[:12], flags()[:12], call())
        assert_same(state_of(trainer), state_of(reference))

    @pytest.mark.parametrize("number", [0, 1, 2, 3])
    @CALLS
    def test_the_variable_is_named(self, number, call):
        import tensorflow as tf

        seen = {}

        class Broken(keras_ext.Trainer):
            def forward(self, x, training):
                seen["large"] = tf.reduce_max(x) > 100.0
                return super().forward(x, training)

            def compute_gradients(self, tape, loss):
                gradients = super().compute_gradients(tape, loss)
                extra = tf.where(seen["large"], -math.inf, 0.0)
                gradients[number] += extra
                return gradients

        x = X.copy()
        x[BAD] = 1000.0
        guard = NaNGuard()
        trainer = compiled(Broken)
        name = f"gradient of {trainer.trainable_variables[number].path}"
        with ends(name=name):
            fit(trainer, x, Y, call(), guard)
        assert guard.found == [(0, 3, name)]
        assert are_finite(trainer)

    @pytest.mark.parametrize("batch", [0, 1, 7])
    def test_first_and_last_batches(self, batch):
        guard = NaNGuard()
        trainer = compiled(keras_ext.Trainer)
        with ends(batch=batch):
            fit(trainer, spoilt(4 * batch), Y, guard)
        assert guard.found == [(0, batch, "loss")]
        assert trainer.optimizer.iterations == batch

    def test_in_a_later_epoch(self):
        class Spoil(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                if epoch == 2:
                    kernel = self.model.trainable_variables[0]
                    kernel.assign(kernel * math.nan)

        guard = NaNGuard()
        with ends(epoch=2, batch=0):
            history = fit(compiled(keras_ext.Trainer), X, Y, Spoil(), guard, epochs=5)
        assert guard.found == [(2, 0, "loss")]
        assert history.epoch == [0, 1, 2]

    @MODES
    def test_nothing_changes_where_all_is_finite(self, mode, call):
        guarded, free = (compiled(keras_ext.Trainer, **mode) for _ in range(2))
        guard = NaNGuard()
        first = fit(guarded, X, Y, guard, call(), epochs=2)
        second = fit(free, X, Y, call(), epochs=2)
        assert guard.found == []
        assert first.history == second.history
        assert_same(state_of(guarded), state_of(free))

    def test_afterwards_the_trainer_is_as_before(self):
        trainer = compiled(keras_ext.Trainer)
        with ends():
            fit(trainer, spoilt(BAD), Y, NaNGuard())
        fit(trainer, spoilt(BAD), Y)
        assert not are_finite(trainer)

    def test_nor_does_a_refused_guard_stay(self):
        trainer = compiled(keras_ext.Trainer)
        with pytest.raises(ValueError, match="needs a checkpoint to return to"):
            fit(trainer, X, Y, NaNGuard("roll_back"))
        fit(trainer, spoilt(BAD), Y)
        assert trainer.optimizer.iterations == STEPS
        assert not are_finite(trainer)

    def test_the_run_is_not_saved_any_more(self, tmp_path):
        def checkpoint():
            return keras_ext.callbacks.Checkpoint(tmp_path, save_freq=2)

        saving, trainer = checkpoint(), compiled(keras_ext.Trainer)
        with ends():
            fit(trainer, spoilt(BAD), Y, NaNGuard(), saving, epochs=2)
        # After two steps; not after four, and not at the end.
        assert len(saving.files.paths()) == 1
        again = compiled(keras_ext.Trainer)
        history = fit(again, X, Y, NaNGuard(), checkpoint(), epochs=2, resume=True)
        reference = compiled(keras_ext.Trainer)
        expected = fit(reference, X, epochs=2)
        assert history.history == expected.history
        assert_same(state_of(again), state_of(reference))

    def test_embeddings(self):
        def embedding():
            keras.utils.set_random_seed(5)
            model = keras.Sequential(
                [
                    keras.Input((2,)),
                    keras.layers.Embedding(5, 3),
                    keras.layers.Flatten(),
                    keras.layers.Dense(1),
                ]
            )
            trainer = keras_ext.Trainer(model)
            trainer.compile("sgd", loss=infinite_slope)
            return trainer

        x = np.random.default_rng(0).integers(0, 5, size=(32, 2))
        guard, trainer = NaNGuard(), embedding()
        name = f"gradient of {trainer.trainable_variables[0].path}"
        with ends(name=name):
            fit(trainer, x, flags(BAD), guard)
        assert guard.found == [(0, 3, name)]
        reference = embedding()
        fit(reference, x[:12], flags()[:12])
        assert_same(state_of(trainer), state_of(reference))


class Traced(keras_ext.Trainer if keras.backend.backend() == "tensorflow" else object):
    """Counts how often its step is traced."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.traces = 0

    def train_step(self, data):
        self.traces += 1
        return super().train_step(data)


@needs_tensorflow
class TestTraces:
    def test_a_guard_in_every_fit(self):
        trainer = compiled(Traced, **GRAPH)
        fit(trainer, X, Y, NaNGuard("stop"))
        first = trainer.traces
        for actions in (["stop"], [], ["skip"], ["stop"], [], ["skip"]):
            fit(trainer, X, Y, *map(NaNGuard, actions))
        # Without a guard, and with one that skips, another step is traced, once.
        assert trainer.traces == first + 2
        with left_out():
            fit(trainer, spoilt(BAD), Y, NaNGuard("skip"))
        with ends(name="loss"):
            fit(trainer, spoilt(BAD), Y, NaNGuard("stop"))
        assert are_finite(trainer)
        fit(trainer, spoilt(BAD), Y)
        assert not are_finite(trainer)
        assert trainer.traces == first + 2

    def test_a_guard_in_a_later_fit_of_keras(self):
        trainer = compiled(Traced, **GRAPH)
        options = {"batch_size": BATCH_SIZE, "shuffle": False, "verbose": 0}
        keras.Model.fit(trainer, X, Y, **options)
        first = trainer.traces
        with ends():
            keras.Model.fit(trainer, spoilt(BAD), Y, callbacks=[NaNGuard()], **options)
        assert are_finite(trainer)
        for guards in ([], [NaNGuard()]):
            keras.Model.fit(trainer, X, Y, callbacks=guards, **options)
        assert trainer.traces == first + 1

    def test_a_layer_is_frozen_between_two_guards(self):
        trainer = compiled(Traced, **GRAPH)
        fit(trainer, X, Y, NaNGuard("stop"))
        first = trainer.traces
        frozen = trainer.model.layers[0]
        frozen.trainable = False
        before = frozen.get_weights()
        fit(trainer, X, Y, NaNGuard("stop"))
        assert_same(frozen.get_weights(), before)
        assert trainer.traces == first + 1

    def test_a_new_loss_is_compiled_between_two_guards(self):
        trainer = compiled(Traced, **GRAPH)
        fit(trainer, X, Y, NaNGuard("stop"))
        first = trainer.traces
        trainer.compile("sgd", loss="mae", **GRAPH)
        history = fit(trainer, X, Y, NaNGuard("stop"), batch_size=32)
        assert trainer.traces == first + 1
        before = compiled(Traced)
        fit(before, X, Y)
        errors = np.abs(before.predict(X, verbose=0) - Y)
        assert history.history["loss"] == [pytest.approx(errors.mean(), rel=1e-5)]

    def test_xla(self):
        trainer = compiled(Traced, jit_compile=True)
        fit(trainer, X, Y, NaNGuard("stop"))
        first = trainer.traces
        fit(trainer, X, Y, NaNGuard("stop"))
        assert trainer.traces == first


@needs_tensorflow
@pytest.mark.usefixtures("eight_steps")
class TestSkip:
    @CALLS
    @pytest.mark.parametrize("eager", [False, True])
    def test_as_if_the_batch_had_not_been(self, eager, call):
        guard = NaNGuard("skip")
        options = {"jit_compile": False, "run_eagerly": eager}
        trainer = compiled(keras_ext.Trainer, **options)
        with left_out(), left_out(epoch=1):
            history = fit(trainer, spoilt(BAD), Y, call(), guard, epochs=2)
        assert guard.found == [(0, 3, "loss"), (1, 3, "loss")]
        reference = compiled(keras_ext.Trainer, **options)
        expected = fit(reference, *without(3), call(), epochs=2)
        assert trainer.optimizer.iterations == 2 * (STEPS - 1)
        assert_same(state_of(trainer), state_of(reference))
        assert history.history == expected.history

    def test_xla(self):
        guard = NaNGuard("skip")
        trainer = compiled(keras_ext.Trainer, jit_compile=True)
        with left_out():
            history = fit(trainer, spoilt(BAD), Y, guard)
        reference = compiled(keras_ext.Trainer, jit_compile=True)
        expected = fit(reference, *without(3))
        for one, other in zip(state_of(trainer), state_of(reference), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
        assert history.history["loss"] == pytest.approx(expected.history["loss"])

    def test_the_loss_is_the_mean_of_the_others(self):
        trainer = compiled(keras_ext.Trainer, optimizer=keras.optimizers.SGD(0.0))
        with left_out():
            history = fit(trainer, spoilt(BAD), Y, NaNGuard("skip"))
        x, y = without(3)
        expected = np.mean((trainer.predict(x, verbose=0) - y) ** 2)
        assert history.history["loss"] == pytest.approx([expected], rel=1e-5)

    def test_nor_does_a_batch_count_for_its_gradient(self):
        options = {"loss": infinite_slope, "jit_compile": False}
        trainer = compiled(keras_ext.Trainer, **options)
        name = f"gradient of {trainer.trainable_variables[0].path}"
        with left_out(name=name):
            history = fit(trainer, X, flags(BAD), NaNGuard("skip"))
        reference = compiled(keras_ext.Trainer, **options)
        expected = fit(reference, without(3)[0], flags()[:28])
        assert_same(state_of(trainer), state_of(reference))
        assert history.history == expected.history

    def test_several_of_one_call_are_counted(self):
        guard = NaNGuard("skip")
        trainer = compiled(keras_ext.Trainer, jit_compile=False)
        with pytest.warns(UserWarning, match=LEFT_OUT) as caught:
            fit(trainer, spoilt(BAD, 14, 20, 31), Y, guard)
        # How many steps a call makes depends on how fast the machine is.
        assert guard.found[0] == (0, 3, "loss")
        assert updates_left_out(caught) == 3
        reference = compiled(keras_ext.Trainer, jit_compile=False)
        fit(reference, *without(3, 5, 7))
        assert_same(state_of(trainer), state_of(reference))

    def test_each_is_named_where_calls_make_one_step(self):
        guard = NaNGuard("skip")
        with left_out(), left_out(batch=5):
            fit(compiled(keras_ext.Trainer), spoilt(BAD, 20), Y, guard, Count())
        assert guard.found == [(0, 3, "loss"), (0, 5, "loss")]

    def test_nothing_but_bad_batches(self):
        trainer = compiled(keras_ext.Trainer)
        before = state_of(trainer)[:4]
        with pytest.warns(UserWarning, match=LEFT_OUT) as caught:
            fit(trainer, spoilt(*range(32)), Y, NaNGuard("skip"))
        assert updates_left_out(caught) == STEPS
        assert_same(state_of(trainer)[:4], before)
        assert trainer.optimizer.iterations == 0

    def test_moving_averages_stay_finite(self):
        layers = [keras.layers.BatchNormalization(), keras.layers.Dense(1)]
        trainer = compiled(keras_ext.Trainer, layers=layers)
        with left_out():
            fit(trainer, spoilt(BAD), Y, NaNGuard("skip"))
        assert are_finite(trainer)

    def test_validation_hides_nothing(self):
        trainer = compiled(keras_ext.Trainer)
        history = fit(trainer, X, Y, NaNGuard("skip"), validation_data=(spoilt(BAD), Y))
        assert math.isnan(history.history["val_loss"][0])

    def test_two_optimizers(self):
        class Two(keras_ext.Trainer):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self.second = keras.optimizers.Adam(0.01)

            def apply_gradients(self, gradients):
                variables = self.trainable_variables
                self.optimizer.apply(gradients[:2], variables[:2])
                self.second.apply(gradients[2:], variables[2:])

        trainer, reference = (compiled(Two, jit_compile=False) for _ in range(2))
        with left_out():
            fit(trainer, spoilt(BAD), Y, NaNGuard("skip"))
        fit(reference, *without(3))
        assert_same(state_of(trainer)[:4], state_of(reference)[:4])
        assert trainer.second.iterations == STEPS - 1

    def test_accumulated_gradients(self):
        def optimizer():
            return keras.optimizers.SGD(0.1, gradient_accumulation_steps=3)

        trainer, reference = (
            compiled(keras_ext.Trainer, optimizer=optimizer(), jit_compile=False)
            for _ in range(2)
        )
        with left_out():
            fit(trainer, spoilt(BAD), Y, NaNGuard("skip"))
        fit(reference, *without(3))
        assert_same(state_of(trainer), state_of(reference))


@needs_tensorflow
@pytest.mark.usefixtures("eight_steps")
class TestOwnSteps:
    def make(self, *, guarded):
        import tensorflow as tf

        class Own(keras_ext.Trainer):
            def train_step(self, data):
                x, y = data
                with tf.GradientTape() as tape:
                    loss = tf.reduce_mean((self(x, training=True) - y) ** 2)
                gradients = tape.gradient(loss, self.trainable_variables)
                if guarded:
                    self.update(loss, gradients)
                else:
                    self.apply_gradients(gradients)
                return {"loss": loss}

        return compiled(Own, jit_compile=False)

    @CALLS
    def test_skip_needs_update(self, call):
        with pytest.raises(
            ValueError, match=r"has seen no update of Own.*self\.update"
        ):
            fit(self.make(guarded=False), X, Y, call(), NaNGuard("skip"))

    def test_stop_goes_by_the_logs_then(self):
        trainer, guard = self.make(guarded=False), NaNGuard()
        with ends():
            fit(trainer, spoilt(BAD), Y, Count(), guard)
        assert guard.found == [(0, 3, "loss")]
        assert trainer.optimizer.iterations == 4

    @CALLS
    def test_one_with_update_is_guarded(self, call):
        guard, trainer = NaNGuard("skip"), self.make(guarded=True)
        with left_out():
            fit(trainer, spoilt(BAD), Y, call(), guard)
        assert guard.found == [(0, 3, "loss")]
        reference = self.make(guarded=True)
        fit(reference, *without(3))
        assert_same(state_of(trainer), state_of(reference))

    @CALLS
    def test_and_stopped(self, call):
        guard, trainer = NaNGuard(), self.make(guarded=True)
        with ends():
            fit(trainer, spoilt(BAD), Y, call(), guard)
        reference = self.make(guarded=True)
        fit(reference, X[:12], Y[:12])
        assert_same(state_of(trainer), state_of(reference))


@needs_tensorflow
@pytest.mark.usefixtures("eight_steps")
class TestLossScale:
    def make(self, scale, loss="mse"):
        inner = keras.optimizers.SGD(0.01)
        optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=scale)
        return compiled(keras_ext.Trainer, optimizer=optimizer, loss=loss)

    @pytest.mark.parametrize("action", ["stop", "skip"])
    @CALLS
    def test_an_overflow_is_left_to_the_optimizer(self, action, call):
        guarded, free = self.make(2.0**127), self.make(2.0**127)
        guard = NaNGuard(action)
        first = fit(guarded, X, Y, guard, call(), epochs=2)
        second = fit(free, X, Y, call(), epochs=2)
        assert guard.found == []
        assert guarded.optimizer.dynamic_scale < 2.0**127
        assert first.history == second.history
        assert_same(state_of(guarded), state_of(free))

    def test_the_loss_is_looked_at(self):
        guard, trainer = NaNGuard(), self.make(1.0)
        with ends():
            fit(trainer, spoilt(BAD), Y, guard)
        assert guard.found == [(0, 3, "loss")]
        assert are_finite(trainer)


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return [row["epoch"] for row in csv.DictReader(file)]


class Once(keras.utils.PyDataset):
    """Batches, of which the one that is read as number `bad` is no number."""

    def __init__(self, bad):
        super().__init__()
        self.bad = bad
        self.read = 0

    def __len__(self):
        return STEPS

    def __getitem__(self, index):
        rows = slice(index * BATCH_SIZE, (index + 1) * BATCH_SIZE)
        self.read += 1
        return X[rows] * (np.nan if self.read == self.bad + 1 else 1.0), Y[rows]


@needs_tensorflow
@pytest.mark.usefixtures("eight_steps")
class TestRollBack:
    @CALLS
    @pytest.mark.parametrize("retries", [0, 2])
    def test_until_the_retries_are_used_up(self, retries, call, tmp_path):
        guard = NaNGuard("roll_back", retries=retries)
        checkpoint = keras_ext.callbacks.Checkpoint(tmp_path, save_freq=2)
        trainer = compiled(keras_ext.Trainer)
        with pytest.warns(UserWarning, match="not finite") as warned:
            history = fit(trainer, spoilt(BAD), Y, call(), guard, checkpoint, epochs=2)
        messages = [str(one.message) for one in warned]
        assert messages == [
            *(
                "Epoch 0, batch 3: the loss is not finite. Returning to the last "
                f"checkpoint, for time {time + 1} of at most {retries}."
                for time in range(retries)
            ),
            "Epoch 0, batch 3: the loss is not finite. Training ends.",
        ]
        assert guard.found == [(0, 3, "loss")] * (retries + 1)
        assert history.epoch == [0]
        assert len(checkpoint.files.paths()) == 1
        reference = compiled(keras_ext.Trainer)
        fit(reference, X[:12], Y[:12])
        assert_same(state_of(trainer), state_of(reference))

    @pytest.mark.parametrize(
        ("bad", "save_freq"), [(8, "epoch"), (23, "epoch"), (3, 3), (11, 3)]
    )
    def test_what_happens_only_once_is_got_over(self, bad, save_freq, tmp_path):
        guard = NaNGuard("roll_back")
        trainer = compiled(keras_ext.Trainer)
        with goes_back():
            history = fit(
                trainer,
                Once(bad),
                None,
                guard,
                CSVLogger(tmp_path / "log.csv"),
                keras_ext.callbacks.Checkpoint(tmp_path / "run", save_freq=save_freq),
                batch_size=None,
                epochs=3,
                validation_data=(X, Y),
            )
        assert guard.found == [(bad // STEPS, bad % STEPS, "loss")]
        assert history.epoch == [0, 1, 2]
        assert np.isfinite(history.history["loss"]).all()
        assert len(history.history["val_loss"]) == 3
        assert rows(tmp_path / "log.csv") == ["0", "1", "2"]
        assert trainer.optimizer.iterations == 3 * STEPS
        assert are_finite(trainer)

    def test_in_a_step_of_ones_own(self, tmp_path):
        failed = []

        class Unlucky(keras_ext.Trainer):
            def compute_loss(self, *args, **kwargs):
                loss = super().compute_loss(*args, **kwargs)
                if int(self.optimizer.iterations) == 12 and len(failed) < 2:
                    failed.append(1)
                    return loss * math.nan
                return loss

        guard = NaNGuard("roll_back")
        trainer = compiled(Unlucky, run_eagerly=True)
        checkpoint = keras_ext.callbacks.Checkpoint(tmp_path, save_freq=5)
        with goes_back(1), goes_back(2):
            history = fit(trainer, X, Y, guard, checkpoint, epochs=3, shuffle=True)
        assert guard.found == [(1, 4, "loss")] * 2
        assert history.epoch == [0, 1, 2]
        assert trainer.optimizer.iterations == 3 * STEPS

    def test_no_order_is_made_twice(self, tmp_path):
        """The batches behind the checkpoint are others than before."""
        seen = []

        class Unlucky(keras_ext.Trainer):
            def forward(self, x, training):
                seen.append(np.array(x))
                y_pred = super().forward(x, training)
                return y_pred * math.nan if len(seen) == 2 * STEPS else y_pred

        checkpoint = keras_ext.callbacks.Checkpoint(tmp_path)
        trainer = compiled(Unlucky, run_eagerly=True)
        with goes_back():
            fit(
                trainer,
                X,
                Y,
                NaNGuard("roll_back"),
                checkpoint,
                epochs=2,
                shuffle=True,
            )
        passes = [
            np.concatenate(seen[first : first + STEPS])
            for first in range(0, 3 * STEPS, STEPS)
        ]
        assert len(seen) == 3 * STEPS
        assert not np.array_equal(passes[1], passes[2])
        for one in passes:
            np.testing.assert_array_equal(np.sort(one, axis=0), np.sort(X, axis=0))

    def test_data_that_goes_only_forward(self, tmp_path):
        def batches():
            number = 0
            while True:
                rows = slice(number % STEPS * 4, number % STEPS * 4 + 4)
                yield X[rows] * (np.nan if number == 12 else 1.0), Y[rows]
                number += 1

        guard = NaNGuard("roll_back")
        checkpoint = keras_ext.callbacks.Checkpoint(tmp_path, save_freq=3)
        trainer = compiled(keras_ext.Trainer)
        with goes_back():
            history = fit(
                trainer,
                batches(),
                None,
                guard,
                checkpoint,
                batch_size=None,
                steps_per_epoch=STEPS,
                epochs=3,
            )
        assert guard.found == [(1, 4, "loss")]
        assert history.epoch == [0, 1, 2]
        assert trainer.optimizer.iterations == 3 * STEPS

    def test_a_dataset(self, tmp_path):
        import tensorflow as tf

        data = tf.data.Dataset.from_tensor_slices((spoilt(BAD), Y)).batch(4)
        guard = NaNGuard("roll_back", retries=1)
        checkpoint = keras_ext.callbacks.Checkpoint(tmp_path, save_freq=2)
        trainer = compiled(keras_ext.Trainer)
        again = pytest.warns(UserWarning, match="read again and dropped")
        with goes_back(of=1), again, ends():
            fit(trainer, data, None, guard, checkpoint, batch_size=None)
        assert guard.found == [(0, 3, "loss")] * 2
        assert trainer.optimizer.iterations == 3

    def test_without_a_checkpoint_yet(self, tmp_path):
        guard = NaNGuard("roll_back")
        checkpoint = keras_ext.callbacks.Checkpoint(tmp_path)
        match = "There is no checkpoint in .* yet to return to.*save_freq=100"
        trainer = compiled(keras_ext.Trainer)
        with goes_back(), pytest.raises(FloatingPointError, match=match):
            fit(trainer, spoilt(BAD), Y, guard, checkpoint)
        assert are_finite(trainer)
        # Nothing of it stays.
        assert fit(trainer, X, epochs=2).epoch == [0, 1]

    def test_it_needs_a_checkpoint(self):
        with pytest.raises(ValueError, match="needs a checkpoint to return to"):
            fit(compiled(keras_ext.Trainer), X, Y, NaNGuard("roll_back"))

    def test_an_early_stop_remembers_what_it_was(self, tmp_path):
        stopping = keras.callbacks.EarlyStopping("loss", patience=50)
        guard = NaNGuard("roll_back")
        checkpoint = keras_ext.callbacks.Checkpoint(tmp_path)
        trainer = compiled(keras_ext.Trainer)
        data = Once(STEPS + 2)
        with goes_back():
            fit(
                trainer,
                data,
                None,
                stopping,
                guard,
                checkpoint,
                batch_size=None,
                epochs=4,
            )
        assert stopping.best < math.inf
        assert stopping.wait <= 3


@needs_tensorflow
@pytest.mark.usefixtures("eight_steps")
class TestLoop:
    @pytest.mark.parametrize("chunks", [False, True])
    @pytest.mark.parametrize("action", ["stop", "skip"])
    def test_steps_of_a_trainer(self, action, chunks):
        guard = NaNGuard(action)
        trainer = compiled(keras_ext.Trainer, jit_compile=False)
        loop = keras_ext.Loop(trainer, epochs=1, verbose=0, callbacks=[guard])
        data = (spoilt(BAD), Y)
        with ends() if action == "stop" else left_out():
            for epoch in loop:
                if chunks:
                    for chunk in epoch.chunks(data, BATCH_SIZE, shuffle=False):
                        epoch.log(trainer.steps(chunk))
                else:
                    for batch in epoch.batches(data, BATCH_SIZE, shuffle=False):
                        epoch.log(trainer.step(batch))
        assert guard.found == [(0, 3, "loss")]
        reference = compiled(keras_ext.Trainer, jit_compile=False)
        fit(reference, *((X[:12], Y[:12]) if action == "stop" else without(3)))
        assert_same(state_of(trainer), state_of(reference))

    def by_hand(self, *callbacks, bad, epochs=2):
        """Train with a tape; the loss of the calls in `bad` is no number."""
        import tensorflow as tf

        keras.utils.set_random_seed(5)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        optimizer = keras.optimizers.SGD(0.01, momentum=0.9)

        @tf.function(autograph=False)
        def step(x, y, factor):
            with tf.GradientTape() as tape:
                loss = factor * tf.reduce_mean((model(x, training=True) - y) ** 2)
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply(gradients, model.trainable_variables)
            return {"loss": loss}

        loop = keras_ext.Loop(
            model,
            optimizer=optimizer,
            epochs=epochs,
            verbose=0,
            callbacks=list(callbacks),
        )
        calls = 0
        for epoch in loop:
            for x, y in epoch.batches((X, Y), BATCH_SIZE):
                factor = math.nan if calls in bad else 1.0
                epoch.log(step(x, y, tf.constant(factor)))
                calls += 1
        finite = all(np.isfinite(one).all() for one in model.get_weights())
        return loop.history, int(optimizer.iterations), finite

    def test_a_tape_is_guarded_by_the_logs(self):
        guard = NaNGuard()
        with ends():
            history, iterations, finite = self.by_hand(guard, bad={3})
        assert guard.found == [(0, 3, "loss")]
        assert history.epoch == [0]
        # The update was made before anybody could know.
        assert iterations == 4
        assert not finite

    def test_a_tape_can_go_back(self, tmp_path):
        guard = NaNGuard("roll_back")
        checkpoint = keras_ext.callbacks.Checkpoint(tmp_path, save_freq=3)
        with goes_back():
            history, iterations, finite = self.by_hand(guard, checkpoint, bad={11})
        assert guard.found == [(1, 3, "loss")]
        assert history.epoch == [0, 1]
        assert np.isfinite(history.history["loss"]).all()
        assert iterations == 2 * STEPS
        assert finite

    def test_a_tape_cannot_skip(self):
        with pytest.raises(
            ValueError, match=r"needs the steps of a keras_ext\.Trainer"
        ):
            self.by_hand(NaNGuard("skip"), bad=())
