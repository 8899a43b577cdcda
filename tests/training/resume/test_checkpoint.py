"""The callback Checkpoint: when it saves, what it restores, and which signals it hears.

That a run is continued to the bit, in all its forms, is tested in `test_resume.py`; the
files themselves in `test_store.py`.
"""

import functools
import os
import pathlib
import re
import signal
import threading

import keras
import numpy as np
import pytest

import keras_ext
from keras_ext.callbacks import Checkpoint, NaNGuard
from keras_ext.training import Preempted
from keras_ext.training.resume import checkpoint
from tests.forgetful import Forgetful

_rng = np.random.default_rng(3)
X = _rng.normal(size=(20, 3)).astype("float32")
Y = (X @ _rng.normal(size=(3, 2))).astype("float32")
BATCH_SIZE = 4
STEPS = 5  # an epoch


def layers(*, dropout=False):
    noise = [keras.layers.Dropout(0.3, seed=7)] if dropout else []
    return [keras.layers.Dense(4, "tanh"), *noise, keras.layers.Dense(2)]


def compiled(kind=None, *, seed=5, rate=0.01, built=True, dropout=False, **options):
    """Return a model, or a Trainer, with weights that the seed determines."""
    keras.utils.set_random_seed(seed)
    shape = [keras.Input((3,))] if built else []
    model = keras.Sequential([*shape, *layers(dropout=dropout)])
    model = model if kind is None else kind(model)
    model.compile(keras.optimizers.Adam(rate), loss="mse", metrics=["mae"], **options)
    return model


def fit(model, *callbacks, **kwargs):
    options = {"batch_size": BATCH_SIZE, "shuffle": False, "verbose": 0, **kwargs}
    return model.fit(X, Y, callbacks=list(callbacks), **options)


def state_of(model):
    """Return the values of all variables of a model and its optimizer."""
    variables = [
        *model.trainable_variables,
        *model.non_trainable_variables,
        *model.optimizer.variables,
    ]
    return [np.array(variable) for variable in variables]


def assert_same(first, second):
    for one, other in zip(state_of(first), state_of(second), strict=True):
        np.testing.assert_array_equal(one, other)


class Recorded(Checkpoint):
    """Notes after which steps it has saved."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.steps = []

    def saved(self):
        super().saved()
        self.steps.append(int(self.model.optimizer.iterations))


class Hook(Forgetful):
    """Calls a function in one hook for batches, with the number of the call."""

    def __init__(self, function, hook="on_train_batch_end"):
        super().__init__()
        self.calls = 0
        self._function = function
        setattr(self, hook, self._called)

    def _called(self, batch, logs=None):
        self.calls += 1
        self._function(self.calls)


class Clock:
    """Stands for the module `time`."""

    now = 1000.0

    def monotonic(self):
        return self.now

    def pass_by(self, seconds):
        """Return a callback with which every batch takes so long."""

        def later(call):
            self.now += seconds

        return Hook(later)


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes only where a test says so."""
    made = Clock()
    monkeypatch.setattr(checkpoint, "time", made)
    return made


class TestArguments:
    @pytest.mark.parametrize("save_freq", [0, -1, 2.5, None, True, [1]])
    def test_no_number_of_steps(self, save_freq, tmp_path):
        with pytest.raises(ValueError, match="`save_freq` must be a positive integer"):
            Checkpoint(tmp_path, save_freq=save_freq)

    @pytest.mark.parametrize("save_freq", ["", "batch", "10", "10m", "0s", "-5s"])
    def test_no_length_of_time(self, save_freq, tmp_path):
        with pytest.raises(ValueError, match="`save_freq` must be a length of time"):
            Checkpoint(tmp_path, save_freq=save_freq)

    @pytest.mark.parametrize("directory", [3, None, ["run"], ""])
    def test_wrong_directories(self, directory):
        match = re.escape(f"`directory` must be a path. Received: {directory!r} of")
        with pytest.raises(TypeError, match=match):
            Checkpoint(directory)

    @pytest.mark.parametrize("max_to_keep", [0, -1, 1.5, "3", True])
    def test_wrong_numbers_to_keep(self, max_to_keep, tmp_path):
        match = "`max_to_keep` must be a positive integer"
        with pytest.raises(ValueError, match=match):
            Checkpoint(tmp_path, max_to_keep=max_to_keep)

    @pytest.mark.parametrize("name", ["run*", "run?", "run[1]"])
    def test_a_folder_that_is_a_pattern(self, name, tmp_path):
        with pytest.raises(ValueError, match="must not contain any of"):
            Checkpoint(tmp_path / name)

    @pytest.mark.parametrize("name", ["best.keras", "{epoch}.weights.h5"])
    def test_a_file_of_weights(self, name, tmp_path):
        with pytest.raises(ValueError, match=r"must be a folder.*ModelCheckpoint"):
            Checkpoint(tmp_path / name)
        (tmp_path / name).mkdir()
        assert Checkpoint(tmp_path / name).directory == str(tmp_path / name)

    @pytest.mark.parametrize("directory", [None, 5, ["run"]])
    def test_no_folder(self, directory):
        with pytest.raises(TypeError):
            Checkpoint(directory)

    def test_all_but_the_folder_have_names(self, tmp_path):
        with pytest.raises(TypeError, match="positional"):
            Checkpoint(tmp_path, "epoch")

    @pytest.mark.parametrize("kind", [str, pathlib.Path, os.fsencode])
    def test_kinds_of_paths(self, kind, tmp_path):
        made = Checkpoint(kind(str(tmp_path / "run")))
        assert made.directory == str(tmp_path / "run")

    def test_no_folder_is_made_before_the_first_one(self, tmp_path):
        made = Checkpoint(tmp_path / "a" / "run")
        assert made.next_epoch == 0
        assert list(tmp_path.iterdir()) == []
        fit(compiled(keras_ext.Trainer), made)
        assert made.next_epoch == 1

    def test_one_is_enough(self, tmp_path):
        two = [Checkpoint(tmp_path / name) for name in "ab"]
        with pytest.raises(ValueError, match="Expected one Checkpoint among the"):
            fit(compiled(keras_ext.Trainer), *two)


class TestWhenItSaves:
    """In `Trainer.fit`."""

    @pytest.mark.parametrize(
        ("save_freq", "steps"),
        [
            ("epoch", [5, 10, 15]),
            (1, [*range(1, 16), 15]),
            (2, [2, 4, 6, 8, 10, 12, 14, 15]),
            # Within the epoch, which has not ended then, and at the end.
            (5, [5, 10, 15, 15]),
            (7, [7, 14, 15]),
            (100, [15]),
            (np.int64(7), [7, 14, 15]),
        ],
    )
    def test_steps(self, save_freq, steps, tmp_path):
        made = Recorded(tmp_path, save_freq=save_freq, max_to_keep=None)
        fit(compiled(keras_ext.Trainer), made, epochs=3)
        assert made.steps == steps
        assert len(made.files.paths()) == len(steps)
        assert made.next_epoch == 3

    @pytest.mark.parametrize(
        ("save_freq", "steps"),
        [
            ("25s", [3, 6, 9, 10]),
            ("20s", [2, 4, 6, 8, 10, 10]),
            ("1min", [6, 10]),
            ("0.01h", [4, 8, 10]),
            ("2h", [10]),
        ],
    )
    def test_times(self, save_freq, steps, clock, tmp_path):
        made = Recorded(tmp_path, save_freq=save_freq)
        clock.now += 1000.0  # before training begins, which does not count
        fit(compiled(keras_ext.Trainer), clock.pass_by(10.0), made, epochs=2)
        assert made.steps == steps

    def test_the_time_of_a_validation_counts(self, clock, tmp_path):
        def later(call):
            clock.now += 30.0 * (call == 1)

        made = Recorded(tmp_path, save_freq="25s")
        fit(
            compiled(keras_ext.Trainer),
            Hook(later, "on_test_begin"),
            Hook(later, "on_test_batch_end"),
            made,
            epochs=2,
            validation_data=(X, Y),
        )
        assert made.steps == [5, 10]

    @pytest.mark.parametrize(("max_to_keep", "kept"), [(1, 1), (2, 2), (None, 4)])
    def test_max_to_keep(self, max_to_keep, kept, tmp_path):
        made = Checkpoint(tmp_path, max_to_keep=max_to_keep)
        fit(compiled(keras_ext.Trainer), made, epochs=4)
        assert len(list(tmp_path.glob("*.index"))) == kept
        assert len(list(tmp_path.glob("*.data-*"))) == kept
        assert made.next_epoch == Checkpoint(tmp_path).next_epoch == 4

    def test_next_epoch_within_an_epoch(self, tmp_path):
        def leave(call):
            if call == 8:
                raise KeyError

        made = Checkpoint(tmp_path, save_freq=7)
        with pytest.raises(KeyError):
            fit(compiled(keras_ext.Trainer), made, Hook(leave), epochs=3)
        assert Checkpoint(tmp_path).next_epoch == 1

    def test_another_run_is_not_mixed_up(self, tmp_path):
        fit(compiled(keras_ext.Trainer), Checkpoint(tmp_path))
        with pytest.raises(FileExistsError, match="Pass `resume=True` to continue it"):
            fit(compiled(keras_ext.Trainer), Checkpoint(tmp_path))


def restores(epoch):
    return pytest.warns(
        UserWarning, match=rf"Restored the variables.*initial_epoch={epoch}`.*Trainer"
    )


class TestStockFit:
    """In `keras.Model.fit`."""

    @pytest.mark.parametrize("dropout", [False, True])
    @pytest.mark.parametrize("save_freq", ["epoch", 5])
    def test_it_goes_on(self, dropout, save_freq, tmp_path):
        first = Checkpoint(tmp_path, save_freq=save_freq)
        fit(compiled(dropout=dropout), first, epochs=2)
        # Of all the model has, nothing may matter but its shape.
        again = compiled(dropout=dropout, seed=6, rate=0.5)
        second = Checkpoint(tmp_path)
        # What was saved in an epoch's last step belongs to that epoch.
        epoch = 2 if save_freq == "epoch" else 1
        assert second.next_epoch == epoch
        with restores(epoch):
            fit(again, second, initial_epoch=2, epochs=4)
        reference = compiled(dropout=dropout)
        fit(reference, epochs=4)
        assert_same(again, reference)
        assert again.optimizer.iterations == 4 * STEPS
        assert second.next_epoch == 4

    def test_random_numbers_of_the_process(self, tmp_path):
        class Draw(keras.callbacks.Callback):
            def __init__(self):
                super().__init__()
                self.drawn = []

            def on_epoch_begin(self, epoch, logs=None):
                self.drawn.append(np.random.random())

        draws = [Draw() for _ in range(3)]
        fit(compiled(), draws[0], Checkpoint(tmp_path), epochs=2)
        with restores(2):
            fit(
                compiled(seed=6),
                draws[1],
                Checkpoint(tmp_path),
                initial_epoch=2,
                epochs=4,
            )
        fit(compiled(), draws[2], epochs=4)
        assert draws[0].drawn + draws[1].drawn == draws[2].drawn

    def test_another_working_directory(self, tmp_path, monkeypatch):
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path)
        made = Checkpoint("run")
        fit(compiled(), made, Hook(lambda call: os.chdir(tmp_path / "other")))
        assert made.next_epoch == Checkpoint(tmp_path / "run").next_epoch == 1
        assert os.listdir(tmp_path / "other") == []

    @pytest.mark.parametrize(
        ("save_freq", "steps"), [("epoch", [5, 10]), (3, [3, 6, 9]), (100, [])]
    )
    def test_when_it_saves(self, save_freq, steps, tmp_path):
        made = Recorded(tmp_path, save_freq=save_freq)
        fit(compiled(), made, epochs=2)
        assert made.steps == steps

    def test_it_counts_steps_and_not_calls(self, tmp_path):
        made = Recorded(tmp_path, save_freq=2)
        fit(compiled(steps_per_execution=2), made, batch_size=2)
        assert made.steps == [2, 4, 6, 8, 10]

    def test_times(self, clock, tmp_path):
        made = Recorded(tmp_path, save_freq="25s")
        fit(compiled(), clock.pass_by(10.0), made, epochs=2)
        assert made.steps == [3, 6, 9]

    def test_an_empty_folder_says_nothing(self, tmp_path):
        made = Checkpoint(tmp_path)
        history = fit(compiled(), made, initial_epoch=made.next_epoch, epochs=2)
        assert history.epoch == [0, 1]

    def test_a_model_that_is_not_built(self, tmp_path):
        fit(compiled(built=False), Checkpoint(tmp_path))
        again = compiled(built=False, rate=0.5)
        match = r"which the model does not have yet\. Build it before `fit`"
        with pytest.raises(ValueError, match=match):
            fit(again, Checkpoint(tmp_path))
        assert float(again.optimizer.learning_rate) == 0.5
        again.build((None, 3))
        with restores(1):
            fit(again, Checkpoint(tmp_path), initial_epoch=1, epochs=2)
        reference = compiled(built=False)
        fit(reference, epochs=2)
        assert_same(again, reference)

    def test_another_model(self, tmp_path):
        fit(compiled(), Checkpoint(tmp_path))
        other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        other.compile("adam", loss="mse")
        before = other.get_weights()
        with pytest.raises(ValueError, match="is that of another run"):
            fit(other, Checkpoint(tmp_path))
        for one, value in zip(other.get_weights(), before, strict=True):
            np.testing.assert_array_equal(one, value)

    def test_signals_are_left_alone(self, tmp_path):
        before = signal.getsignal(signal.SIGTERM)
        seen = []
        hook = Hook(lambda call: seen.append(signal.getsignal(signal.SIGTERM)))
        fit(compiled(), Checkpoint(tmp_path), hook)
        assert set(seen) == {before}


class TestOneObjectForAll:
    def test_trainer_fit_and_then_stock_fit(self, tmp_path):
        made, trainer = Recorded(tmp_path), compiled(keras_ext.Trainer)
        fit(trainer, made, epochs=2)
        with restores(2):
            keras.Model.fit(
                trainer,
                X,
                Y,
                batch_size=BATCH_SIZE,
                shuffle=False,
                verbose=0,
                initial_epoch=made.next_epoch,
                epochs=4,
                callbacks=[made],
            )
        assert made.steps == [5, 10, 15, 20]
        assert made.next_epoch == 4

    def test_stock_fit_and_then_trainer_fit(self, tmp_path):
        made = Recorded(tmp_path)
        fit(compiled(), made)
        with pytest.raises(FileExistsError):
            fit(compiled(keras_ext.Trainer), made)
        assert made.steps == [5]

    def test_two_runs_of_a_trainer(self, tmp_path):
        made, trainer = Recorded(tmp_path), compiled(keras_ext.Trainer)
        fit(trainer, made, epochs=1)
        history = fit(trainer, made, epochs=3, resume=True)
        assert made.steps == [5, 10, 15]
        assert history.epoch == [0, 1, 2]

    def test_after_a_run_that_could_not_begin(self, tmp_path):
        class Fails(keras.callbacks.Callback):
            def on_train_begin(self, logs=None):
                raise KeyError

        made = Recorded(tmp_path)
        with pytest.raises(KeyError):
            fit(compiled(keras_ext.Trainer), made, Fails())
        fit(compiled(), made)
        assert made.steps == [5]


def send(number, *, call):
    """Return what sends a signal to this process, when called so many times."""

    def function(calls):
        if calls == call:
            os.kill(os.getpid(), number)

    return function


@pytest.fixture(autouse=True)
def _handlers():
    """Give the signals back, whatever a test has left."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Ended(Forgetful):
    """Counts how often training has ended."""

    def __init__(self):
        super().__init__()
        self.times = 0

    def on_train_end(self, logs=None):
        self.times += 1


def run(*callbacks, seed=5, **kwargs):
    """Train as one process would, in a shuffled order."""
    keras.utils.clear_session()
    trainer = compiled(keras_ext.Trainer, seed=seed, dropout=True)
    options = {"epochs": 3, "shuffle": True, "validation_data": (X, Y), **kwargs}
    return trainer, fit(trainer, *callbacks, **options).history


@functools.cache
def uninterrupted():
    """Return a run by which no signal came; it is made once."""
    return run()


class TestSignals:
    def assert_continued(self, folder):
        """Assert that the run in a folder is continued as if nothing had been."""
        again, history = run(Checkpoint(folder), seed=6, resume=True)
        reference, expected = uninterrupted()
        assert history == expected
        assert_same(again, reference)

    @pytest.mark.parametrize("call", [1, 7, 15])
    def test_sigterm(self, call, tmp_path):
        before = signal.getsignal(signal.SIGTERM)
        made, ended = Recorded(tmp_path, save_freq="1h"), Ended()
        hook = Hook(send(signal.SIGTERM, call=call))
        with pytest.raises(Preempted, match="SIGTERM: the run is saved as") as left:
            run(hook, made, ended)
        assert left.value.code == 75
        assert isinstance(left.value, SystemExit)
        assert made.files.paths()[-1] in str(left.value)
        assert made.steps == [call]
        assert hook.calls == call
        assert ended.times == 1
        assert signal.getsignal(signal.SIGTERM) is before
        self.assert_continued(tmp_path)

    def test_sigint(self, tmp_path):
        before = signal.getsignal(signal.SIGINT)
        made = Recorded(tmp_path)
        hook = Hook(send(signal.SIGINT, call=8))
        with pytest.raises(KeyboardInterrupt, match="SIGINT: the run is saved as"):
            run(hook, made)
        assert made.steps == [5, 8]
        assert signal.getsignal(signal.SIGINT) is before
        self.assert_continued(tmp_path)

    # In the first and in the last batch, and in the last epoch of all.
    @pytest.mark.parametrize(
        ("call", "first"), [(1, True), (3, False), (5, True), (14, False)]
    )
    def test_in_a_validation(self, call, first, tmp_path):
        made = Recorded(tmp_path, save_freq="1h")
        hook = Hook(send(signal.SIGTERM, call=call), "on_test_batch_end")
        with pytest.raises(Preempted):
            run(*([hook, made] if first else [made, hook]))
        # It was not waited for.
        assert hook.calls == call
        assert made.steps == [-(-call // STEPS) * STEPS]
        self.assert_continued(tmp_path)

    def test_before_a_validation(self, tmp_path):
        made = Recorded(tmp_path, save_freq="1h")
        hook = Hook(send(signal.SIGTERM, call=1), "on_test_begin")
        count = Hook(lambda call: None, "on_test_batch_end")
        with pytest.raises(Preempted):
            run(hook, count, made)
        assert count.calls == 1
        self.assert_continued(tmp_path)

    def test_at_the_end_of_an_epoch(self, tmp_path):
        made = Recorded(tmp_path, save_freq="1h")
        with pytest.raises(Preempted):
            run(Hook(send(signal.SIGTERM, call=2), "on_epoch_end"), made)
        assert made.next_epoch == 2
        self.assert_continued(tmp_path)

    def test_others_may_be_asked_for(self, tmp_path):
        made = Checkpoint(tmp_path, signals=[signal.SIGUSR1])
        hook = Hook(send(signal.SIGUSR1, call=7))
        with pytest.raises(Preempted, match="SIGUSR1"):
            run(hook, made)
        self.assert_continued(tmp_path)

    def test_a_second_one_has_its_old_effect(self, tmp_path):
        class SecondError(Exception):
            pass

        def handler(number, frame):
            raise SecondError

        def twice(call):
            if call == 7:
                os.kill(os.getpid(), signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGTERM)

        signal.signal(signal.SIGTERM, handler)
        with pytest.raises(SecondError):
            run(Hook(twice), Checkpoint(tmp_path))
        assert signal.getsignal(signal.SIGTERM) is handler
        # What was saved before is whole.
        assert Checkpoint(tmp_path).next_epoch == 1
        self.assert_continued(tmp_path)

    @pytest.mark.parametrize("signals", [(), None])
    def test_they_are_heard_only_while_training(self, signals, tmp_path):
        options = {} if signals is None else {"signals": signals}
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = [signal.getsignal(number) for number in numbers]
        seen = []

        def look(call):
            seen.append([signal.getsignal(number) for number in numbers])

        made = Checkpoint(tmp_path, **options)
        assert [signal.getsignal(number) for number in numbers] == before
        run(Hook(look), made, epochs=1)
        assert all((now == before) is (signals == ()) for now in seen)
        assert [signal.getsignal(number) for number in numbers] == before

    def test_handlers_are_given_back_after_an_error(self, tmp_path):
        before = signal.getsignal(signal.SIGTERM)

        def fail(call):
            raise KeyError

        with pytest.raises(KeyError):
            run(Hook(fail), Checkpoint(tmp_path))
        assert signal.getsignal(signal.SIGTERM) is before

    def test_in_another_thread(self, tmp_path):
        before = signal.getsignal(signal.SIGTERM)
        results, seen = [], []
        made = Recorded(tmp_path)

        def train():
            hook = Hook(lambda call: seen.append(signal.getsignal(signal.SIGTERM)))
            results.append(run(hook, made))

        thread = threading.Thread(target=train)
        thread.start()
        thread.join()
        assert made.steps == [5, 10, 15]
        assert set(seen) == {before}
        reference, expected = uninterrupted()
        assert results[0][1] == expected
        assert_same(results[0][0], reference)

    def test_in_a_loop_by_hand(self, tmp_path):
        def train(*callbacks, seed, resume):
            keras.utils.clear_session()
            trainer = compiled(keras_ext.Trainer, seed=seed)
            loop = keras_ext.Loop(
                trainer, epochs=3, verbose=0, callbacks=list(callbacks), resume=resume
            )
            for epoch in loop:
                for batch in epoch.batches((X, Y), BATCH_SIZE):
                    epoch.log(trainer.step(batch))
                epoch.evaluate((X, Y))
            return trainer, loop.history.history

        hook = Hook(send(signal.SIGTERM, call=7))
        with pytest.raises(Preempted):
            train(hook, Checkpoint(tmp_path), seed=5, resume=True)
        again, history = train(Checkpoint(tmp_path), seed=6, resume=True)
        reference, expected = train(seed=5, resume=False)
        assert history == expected
        assert_same(again, reference)

    def test_while_nothing_is_saved_any_more(self, tmp_path):
        """In the validation behind the epoch that NaNGuard has ended."""

        class Unlucky(keras_ext.Trainer):
            def compute_loss(self, *args, **kwargs):
                loss = super().compute_loss(*args, **kwargs)
                return loss * (np.nan if self.optimizer.iterations == 3 else 1.0)

        trainer = compiled(Unlucky, run_eagerly=True)
        made = Recorded(tmp_path, save_freq=2)
        hook = Hook(send(signal.SIGTERM, call=2), "on_test_batch_end")
        ends = pytest.warns(UserWarning, match="Training ends")
        with ends, pytest.raises(Preempted):
            fit(trainer, hook, NaNGuard(), made, validation_data=(X, Y))
        assert made.steps == [2]
