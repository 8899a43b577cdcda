"""What callbacks, derived from `TrainingCallback` or not, can rely on."""

import gc
import linecache
import warnings
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ext import Loop, Trainer
from keras_ext.callbacks import (
    Checkpoint,
    CSVLogger,
    LearningRateScheduler,
    RunRequest,
    TrainingCallback,
    WeightAveraging,
)
from keras_ext.training.resume import callback_state

pytestmark = pytest.mark.once

X = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
Y = X @ np.array([[1.0], [2.0], [-1.0]], "float32")


def make_trainer(kind=Trainer, **options):
    keras.utils.set_random_seed(0)
    trainer = kind(keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]), seed=0)
    trainer.compile(keras.optimizers.SGD(0.01), "mse", **options)
    return trainer


def fit(callbacks, epochs=1, trainer=None, **options):
    trainer = trainer or make_trainer()
    options = {"batch_size": 4, "verbose": 0, **options}
    return trainer.fit(X, Y, epochs=epochs, callbacks=callbacks, **options)


def in_two_parts(make, folder):
    """Make one epoch, and in another process a second; return the second callback."""
    for epochs in (1, 2):
        callback = make()
        fit([callback, Checkpoint(folder)], epochs, resume=True)
    return callback


class Counting(keras.callbacks.Callback):
    """Has attributes of the contract, and remembers what is no argument."""

    def __init__(self):
        super().__init__()
        self.batch_hook_freq = 2
        self.request = None
        self.schedule = "warm-up"
        self.epochs = 0

    def on_epoch_end(self, epoch, logs=None):
        self.epochs += 1
        self.schedule = f"after epoch {epoch}"


class TestState:
    def test_of_a_callback_with_attributes_of_the_contract(self, tmp_path):
        class Noting(Counting):
            def on_epoch_begin(self, epoch, logs=None):
                self.began_with = self.schedule

        counting = in_two_parts(Noting, tmp_path)
        assert counting.epochs == 2
        assert counting.began_with == "after epoch 0"

    def test_what_controls_a_run_was_saved_once(self):
        counting = Counting()
        saved = {"batch_hook_freq": 7, "request": "interrupt", "epochs": 3}
        states = [("Counting", saved)]
        callback_state.check_states([counting], states)
        callback_state.set_states([counting], states)
        assert counting.epochs == 3
        assert (counting.batch_hook_freq, counting.request) == (2, None)

    @pytest.mark.parametrize("base", [keras.callbacks.Callback, TrainingCallback])
    def test_a_request_is_no_state(self, base, tmp_path):
        class Asking(base):
            def on_epoch_end(self, epoch, logs=None):
                if epoch == 0:
                    self.request = RunRequest.INTERRUPT

        asked = fit([Asking(), Checkpoint(tmp_path)], 3, resume=True)
        assert asked.epoch == [0]
        continued = fit([Asking(), Checkpoint(tmp_path)], 3, resume=True)
        assert continued.epoch == [0, 1, 2]

    def test_get_state_alone_of_another_callback(self, tmp_path):
        class Getting(Counting):
            def get_state(self):
                return {"epochs": self.epochs}

        assert in_two_parts(Getting, tmp_path).epochs == 2

    @pytest.mark.parametrize("base", [keras.callbacks.Callback, TrainingCallback])
    def test_set_state_alone(self, base, tmp_path):
        class Setting(base):
            def __init__(self):
                super().__init__()
                self.epochs = 0

            def on_epoch_end(self, epoch, logs=None):
                self.epochs += 1

            def set_state(self, state):
                self.epochs = 10 * state["epochs"]

        assert in_two_parts(Setting, tmp_path).epochs == 11

    def test_get_state_alone_of_a_training_callback(self, tmp_path):
        class Getting(TrainingCallback):
            def get_state(self):
                return {}

        fit([Getting()])
        with pytest.raises(ValueError, match="Getting overrides `get_state` without"):
            fit([Getting(), Checkpoint(tmp_path)])

    @pytest.mark.parametrize("state", [None, 5])
    def test_get_state_returns_a_dict(self, state, tmp_path):
        class Getting(TrainingCallback):
            def get_state(self):
                return state

            def set_state(self, state):
                raise AssertionError

        with pytest.raises(TypeError, match="must return a dict"):
            fit([Getting(), Checkpoint(tmp_path)])


class TestStepHooks:
    def test_one_that_is_none_is_not_called(self):
        class Off(keras.callbacks.Callback):
            batch_hook_freq = "epoch"
            before_compiled_step = after_compiled_step = None
            calls = 0

            def on_train_batch_end(self, batch, logs=None):
                self.calls += 1

        class OffToo(Off, TrainingCallback):
            pass

        for callback in (Off(), OffToo()):
            fit([callback])
            assert 0 < callback.calls < 5  # many steps per call

    def test_a_loop_by_hand_traces_nothing(self):
        class Counting(TrainingCallback):
            steps = 0

            def after_compiled_step(self):
                self.steps += 1

        counting, trainer = Counting(), make_trainer()
        for epoch in Loop(trainer, callbacks=[counting], verbose=0):
            for batch in epoch.batches((X, Y), 4):
                epoch.log(trainer.step(batch))
        assert counting.steps == 5

    def test_weights_are_taken_once_after_an_evaluation_in_between(self):
        class Evaluating(keras.callbacks.Callback):
            def __init__(self, callbacks):
                super().__init__()
                self._callbacks = callbacks

            def on_epoch_begin(self, epoch, logs=None):
                self.model.evaluate(X, Y, verbose=0, callbacks=self._callbacks)

        def averaged(evaluated):
            averaging, trainer = WeightAveraging(decay=0.5), make_trainer()
            callbacks = [averaging, Evaluating([averaging] if evaluated else [])]
            fit(callbacks, epochs=2, trainer=trainer)
            return trainer.get_weights()

        for one, other in zip(averaged(True), averaged(False), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_another_schedule_within_a_training(self):
        def constant(rate):
            return keras.optimizers.schedules.ExponentialDecay(rate, 1, 1.0)

        steps = []

        def function(step):
            steps.append(step)
            return 0.25

        class Changing(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                scheduler.schedule = (constant(0.125), constant(0.5), function)[epoch]

        scheduler = LearningRateScheduler(constant(1.0), update_freq="batch")
        history = fit([Changing(), scheduler], epochs=3).history
        assert history["learning_rate"] == [0.125, 0.5, 0.25]
        assert steps == [10, 11, 12, 13, 14]

    def test_what_is_compiled_lets_go_of_callbacks(self):
        class Counting(TrainingCallback):
            def __init__(self):
                super().__init__()
                self.steps = tf.Variable(0, trainable=False)

            def after_compiled_step(self):
                self.steps.assign_add(1)

        counting, trainer = Counting(), make_trainer()
        fit([counting], trainer=trainer)
        counting = weakref.ref(counting)
        fit([], trainer=trainer)
        gc.collect()
        assert counting() is None


def test_a_request_that_does_not_exist():
    def asking(base):
        def on_epoch_begin(self, epoch, logs=None):
            self.request = "rollback"

        return type("Asking", (base,), {"on_epoch_begin": on_epoch_begin})()

    with pytest.raises(ValueError, match=r"`Asking.request` must be .* 'rollback'"):
        fit([asking(TrainingCallback)])
    # Of others, it need not be one to the run.
    fit([asking(keras.callbacks.Callback)])


@pytest.mark.parametrize("asked_in", [1, 2])
def test_roll_back_at_the_end_of_an_epoch(asked_in, tmp_path):
    """Also of the last one; and nothing is saved before."""

    class RollingBack(TrainingCallback):
        has_asked = False

        def on_epoch_end(self, epoch, logs=None):
            if epoch == asked_in and not RollingBack.has_asked:
                RollingBack.has_asked = True
                weights = self.model.get_weights()
                self.model.set_weights([one * np.nan for one in weights])
                self.request = RunRequest.ROLL_BACK

    trainer = make_trainer()
    callbacks = [RollingBack(), CSVLogger(tmp_path / "log.csv"), Checkpoint(tmp_path)]
    history = fit(callbacks, epochs=3, trainer=trainer)
    assert RollingBack.has_asked
    assert callbacks[0].request is None
    assert history.epoch == [0, 1, 2]
    assert np.isfinite(history.history["loss"]).all()
    assert np.isfinite(trainer.get_weights()[0]).all()
    rows = (tmp_path / "log.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["0", "1", "2"]


class TestWarnings:
    """They name the line that has called something of keras_ext."""

    class NotForXla(Trainer):
        def train_step(self, data):
            one = tf.py_function(lambda: np.float32(1), [], tf.float32)
            return {**super().train_step(data), "one": one}

    def of_fit(self):
        many = np.ones((1001, 3), "float32"), np.ones((1001, 1), "float32")
        make_trainer(self.NotForXla).fit(*many, batch_size=1, verbose=0)

    def of_steps(self):
        trainer = make_trainer(self.NotForXla)
        for epoch in Loop(trainer, epochs=300, verbose=0):
            for chunk in epoch.chunks((X, Y), 4):
                epoch.log(trainer.steps(chunk))
            break

    def of_step(self):
        trainer = make_trainer(self.NotForXla)
        for _ in range(1001):
            trainer.step((X[:4], Y[:4]))

    @pytest.mark.parametrize("call", ["of_fit", "of_steps", "of_step"])
    def test_of_a_step_that_xla_cannot_compile(self, call):
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            getattr(self, call)()
        (warning,) = [one for one in found if "XLA cannot compile" in str(one.message)]
        assert warning.filename == __file__
        called = {"of_fit": ".fit(", "of_steps": ".steps(", "of_step": ".step("}
        line = linecache.getline(__file__, warning.lineno)
        assert called[call] in line
