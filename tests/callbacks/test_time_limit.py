"""A training that ends before a given time has passed, and can be continued."""

import csv
import math

import keras
import numpy as np
import pytest

import keras_ext
from keras_ext.callbacks import CSVLogger, TimeLimit, time_limit
from tests.forgetful import Forgetful
from tests.markers import needs_tensorflow

_rng = np.random.default_rng(3)
X = _rng.normal(size=(20, 3)).astype("float32")
Y = (X @ _rng.normal(size=(3, 2))).astype("float32")
BATCH_SIZE = 4
STEPS = 5  # an epoch


class Clock:
    """Stands for the module `time`."""

    now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes only where a test says so."""
    made = Clock()
    monkeypatch.setattr(time_limit, "time", made)
    return made


class Take(Forgetful):
    """Lets time pass: for the first batch, for every later one, for every epoch's end.

    Counts the batches.
    """

    def __init__(self, clock, batch=1.0, *, first=None, end=0.0):
        super().__init__()
        self._clock = clock
        self._batch = batch
        self._first = batch if first is None else first
        self._end = end
        self.batches = 0

    def on_train_batch_end(self, batch, logs=None):
        self._clock.now += self._batch if self.batches else self._first
        self.batches += 1

    def on_epoch_end(self, epoch, logs=None):
        end = self._end
        self._clock.now += end(epoch) if callable(end) else end


def layers():
    return [
        keras.Input((3,)),
        keras.layers.Dense(4, "relu"),
        keras.layers.Dropout(0.3, seed=7),
        keras.layers.Dense(2),
    ]


def compiled(kind=None, optimizer=None):
    model = keras.Sequential(layers())
    model = model if kind is None else kind(model)
    model.compile(optimizer or keras.optimizers.SGD(0.1, momentum=0.9), loss="mse")
    return model


def fit(model, *callbacks, epochs=10**6, **kwargs):
    return model.fit(
        X,
        Y,
        batch_size=BATCH_SIZE,
        epochs=epochs,
        verbose=0,
        callbacks=list(callbacks),
        **kwargs,
    )


class TestArguments:
    @pytest.mark.parametrize(
        "limit", ["", "10", "10m", "-5s", "0s", 0, -1.0, math.nan, None, True, [1]]
    )
    def test_wrong_limits(self, limit):
        with pytest.raises(ValueError, match="`limit` must be a length of time"):
            TimeLimit(limit)

    def test_there_is_none_without_a_limit(self):
        with pytest.raises(TypeError, match="limit"):
            TimeLimit()

    @pytest.mark.parametrize("limit", ["10s", 10, 10.0, " 10 s "])
    def test_the_limit_is_kept(self, limit):
        made = TimeLimit(limit)
        assert made.limit == limit
        assert made.interrupted is False


class TestWithoutCheckpoint:
    """In `keras.Model.fit`, on all backends."""

    def train(self, *callbacks, **kwargs):
        return fit(compiled(), *callbacks, **kwargs)

    def test_it_ends_before_the_limit(self, clock):
        limit, take = TimeLimit(10), Take(clock)
        history = self.train(take, limit)
        assert limit.interrupted is True
        # A tenth batch could be just too long.
        assert take.batches == 9
        # Keras reports an epoch that was cut short.
        assert history.epoch == [0, 1]

    def test_it_leaves_alone_what_ends_in_time(self, clock):
        limit, take = TimeLimit(11.5), Take(clock)
        history = self.train(take, limit, epochs=2)
        assert limit.interrupted is False
        assert take.batches == 10
        assert history.epoch == [0, 1]

    def test_the_limit_may_be_written_out(self, clock):
        limit, take = TimeLimit("1min 10s"), Take(clock, batch=10.0)
        self.train(take, limit)
        assert take.batches == 6

    def test_the_first_call_says_nothing_of_the_others(self, clock):
        limit, take = TimeLimit(110), Take(clock, first=100.0)
        self.train(take, limit)
        assert take.batches == 10

    def test_a_first_call_that_takes_all_of_it(self, clock):
        limit, take = TimeLimit(110), Take(clock, first=110.0)
        self.train(take, limit)
        assert take.batches == 1
        assert limit.interrupted

    # Time: 5, with the end of the epoch 9; 14, with the end 18; 23.
    @pytest.mark.parametrize(
        ("seconds", "batches"), [(9, 5), (13, 5), (13.5, 6), (18, 10), (22, 10)]
    )
    def test_the_longest_pause_must_fit_once_more(self, seconds, batches, clock):
        limit, take = TimeLimit(seconds), Take(clock, end=4.0)
        self.train(take, limit)
        # The pause is known only after the first epoch.
        assert take.batches == (batches if seconds > 9 else 5)
        assert limit.interrupted

    def test_one_slow_batch_counts_for_all(self, clock):
        class Slow(keras.callbacks.Callback):
            def on_train_batch_begin(self, batch, logs=None):
                clock.now += 20.0 if batch == 3 else 0.0

        limit, take = TimeLimit(30), Take(clock)
        self.train(Slow(), take, limit)
        # 24 after the fourth, and it may happen again.
        assert take.batches == 4

    def test_the_object_can_be_used_again(self, clock):
        limit = TimeLimit(10)
        self.train(Take(clock), limit)
        assert limit.interrupted
        self.train(Take(clock), limit, epochs=1)
        assert limit.interrupted is False
        take = Take(clock)
        self.train(take, limit)
        assert take.batches == 9

    def test_a_real_clock(self):
        limit = TimeLimit(0.5)
        self.train(limit)  # without it, for hours
        assert limit.interrupted

    @needs_tensorflow
    def test_the_same_in_trainer_fit(self, clock):
        limit, take = TimeLimit(10), Take(clock)
        trainer = compiled(keras_ext.Trainer)
        history = fit(trainer, take, limit)
        assert take.batches == 9
        assert limit.interrupted
        assert trainer.stop_training
        assert history.epoch == [0, 1]

    @needs_tensorflow
    def test_many_steps_per_call(self):
        limit = TimeLimit(0.5)
        fit(compiled(keras_ext.Trainer), limit)
        assert limit.interrupted


def state_of(model):
    """Return the values of all variables of a model and its optimizer."""
    variables = [*model.variables, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def assert_same(first, second):
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return [
            {name: cell for name, cell in row.items() if name != "seconds"}
            for row in csv.DictReader(file)
        ]


def trained(*callbacks, seed=1, optimizer=None, **kwargs):
    """Train as one process would; return the state, the History and the Trainer."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    trainer = compiled(keras_ext.Trainer, optimizer and optimizer())
    history = fit(trainer, *callbacks, **kwargs)
    return state_of(trainer), history.history, trainer


@needs_tensorflow
class TestWithCheckpoint:
    """In `Trainer.fit`, where the run is saved and goes on in the next process."""

    def test_an_epoch_cut_short_is_not_reported(self, clock, tmp_path):
        limit, log = TimeLimit(8), CSVLogger(tmp_path / "log.csv")
        take, checkpoint = Take(clock), keras_ext.callbacks.Checkpoint(tmp_path / "run")
        _, history, trainer = trained(
            take, limit, log, checkpoint, validation_data=(X, Y)
        )
        assert limit.interrupted
        assert take.batches == 7
        assert not trainer.stop_training
        assert len(history["loss"]) == len(history["val_loss"]) == 1
        assert [row["epoch"] for row in rows(tmp_path / "log.csv")] == ["0"]
        # In epoch 1, where step 7 is.
        assert checkpoint.next_epoch == 1
        # One for the epoch, one for the end.
        assert len(checkpoint.files.paths()) == 2

    @pytest.mark.parametrize(("seconds", "save_freq"), [(4, "epoch"), (5, 2), (13, 5)])
    def test_continued_until_the_end(self, seconds, save_freq, clock, tmp_path):
        options = {"epochs": 3, "validation_split": 0.2, "shuffle": True}
        steps = 4 * 3
        interrupted, made = True, 0
        processes = 0
        while interrupted:
            limit, take = TimeLimit(seconds), Take(clock, end=0.5)
            found, history, _ = trained(
                take,
                limit,
                CSVLogger(tmp_path / "first.csv"),
                keras_ext.callbacks.Checkpoint(tmp_path / "run", save_freq=save_freq),
                seed=1 + processes,
                resume=True,
                **options,
            )
            interrupted, made = limit.interrupted, made + take.batches
            processes += 1
            assert processes <= steps + 1
        assert made == steps
        assert processes > 1 or seconds == 13
        expected, reference, _ = trained(CSVLogger(tmp_path / "second.csv"), **options)
        assert_same(found, expected)
        assert history == reference
        assert rows(tmp_path / "first.csv") == rows(tmp_path / "second.csv")

    def test_at_the_end_of_the_last_epoch(self, clock, tmp_path):
        def optimizer():
            return keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)

        limit = TimeLimit(100)
        first = trained(
            Take(clock, end=lambda epoch: 99.0 * (epoch == 1)),
            limit,
            keras_ext.callbacks.Checkpoint(tmp_path),
            epochs=2,
            optimizer=optimizer,
        )
        assert len(first[1]["loss"]) == 2
        again = trained(
            keras_ext.callbacks.Checkpoint(tmp_path),
            epochs=2,
            optimizer=optimizer,
            resume=True,
            seed=2,
        )
        expected = trained(epochs=2, optimizer=optimizer)
        assert_same(again[0], expected[0])
        assert again[1] == expected[1]

    # The limit is reached within an epoch, and with the epoch that stops early.
    @pytest.mark.parametrize(
        "ends", [(12, 0.0), (100, 95.0)], ids=["within", "at the stop"]
    )
    @pytest.mark.parametrize("limit_first", [True, False])
    def test_early_stopping_stays_right(self, ends, limit_first, clock, tmp_path):
        def stopping():
            return keras.callbacks.EarlyStopping(
                "loss", patience=2, min_delta=100.0, restore_best_weights=True
            )

        seconds, end = ends
        interrupted = 0
        for process in range(4):
            limit = TimeLimit(seconds)
            take = Take(clock, end=lambda epoch: end * (epoch == 2))
            others = [limit, stopping()] if limit_first else [stopping(), limit]
            found, history, _ = trained(
                take,
                *others,
                keras_ext.callbacks.Checkpoint(tmp_path),
                seed=1 + process,
                epochs=8,
                resume=True,
            )
            if not limit.interrupted:
                break
            interrupted += 1
        assert interrupted
        expected, reference, _ = trained(stopping(), epochs=8)
        assert len(reference["loss"]) == 3
        assert history == reference
        assert_same(found, expected)

    def test_a_run_that_is_over_is_not_interrupted(self, clock, tmp_path):
        checkpoint = keras_ext.callbacks.Checkpoint(tmp_path)
        first = trained(Take(clock), TimeLimit(100), checkpoint, epochs=2)
        limit, take = TimeLimit("1s"), Take(clock)
        again = trained(
            take,
            limit,
            keras_ext.callbacks.Checkpoint(tmp_path),
            epochs=2,
            resume=True,
            seed=2,
        )
        assert limit.interrupted is False
        assert take.batches == 0
        assert_same(first[0], again[0])


@needs_tensorflow
class TestLoop:
    def run(self, *callbacks, seed=1, resume=False):
        keras.utils.clear_session()
        keras.utils.set_random_seed(seed)
        trainer = compiled(keras_ext.Trainer)
        loop = keras_ext.Loop(
            trainer, epochs=3, verbose=0, callbacks=list(callbacks), resume=resume
        )
        cut = []
        for epoch in loop:
            for batch in epoch.batches((X, Y), BATCH_SIZE):
                epoch.log(trainer.step(batch))
            cut.append(loop.interrupted)
            assert epoch.cut_short is loop.interrupted
            if not loop.interrupted:
                epoch.evaluate((X, Y))
        return state_of(trainer), loop.history.history, cut

    def test_the_body_is_told(self, clock, tmp_path):
        cuts = []
        for process in range(4):
            limit = TimeLimit(7)
            checkpoint = keras_ext.callbacks.Checkpoint(tmp_path)
            found, history, cut = self.run(
                Take(clock), limit, checkpoint, seed=1 + process, resume=True
            )
            cuts.append(cut)
            if not limit.interrupted:
                break
        assert cuts == [[False, True], [False, True], [False]]
        expected, reference, _ = self.run()
        assert history == reference
        assert_same(found, expected)

    def test_without_a_checkpoint(self, clock):
        take, limit = Take(clock), TimeLimit(7)
        _, history, cut = self.run(take, limit)
        assert take.batches == 6
        assert cut == [False, False]
        assert len(history["loss"]) == 2
