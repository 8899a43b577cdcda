"""How often callbacks are called, and that this is often enough for them."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ext import Trainer
from keras_ext.callbacks import CSVLogger, LearningRateScheduler
from keras_ext.training.loop.callback_contract import next_stop, step_hooks
from keras_ext.training.loop.chunk_sizer import ChunkSizer
from tests.training.problems import CLASSIFY, LABELS, X

pytestmark = pytest.mark.once

TRAIN = ["on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end"]
TEST = ["on_test_batch_begin", "on_test_batch_end"]
PREDICT = ["on_predict_batch_begin", "on_predict_batch_end"]
MODES = {"train": TRAIN, "test": TEST, "predict": PREDICT}
OF_MODE = [(mode, hook) for mode, hooks in MODES.items() for hook in hooks]


class If(keras.optimizers.schedules.LearningRateSchedule):
    """The same, decided with Python, which can't be compiled."""

    def __call__(self, step):
        return 0.1 * 0.9 ** int(step)


IF = If()
DECAY = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.9)


def overriding(hook, base=keras.callbacks.Callback, **attributes):
    """Return a class of callbacks with a hook of its own."""
    return type(
        "Own", (base,), {hook: lambda self, batch, logs=None: None} | attributes
    )


def frequency(callback, mode="train"):
    """Return at multiples of how many batches a callback must be called."""
    return next_stop([callback], mode, 0)


class TestFrequency:
    @pytest.mark.parametrize("mode", MODES)
    def test_no_callbacks(self, mode):
        assert next_stop([], mode, 3, 7) == math.inf

    @pytest.mark.parametrize(("mode", "hook"), OF_MODE)
    def test_a_hook_of_its_own_must_be_called_after_every_batch(self, mode, hook):
        callback = overriding(hook)()
        assert frequency(callback, mode) == 1
        for other in MODES.keys() - {mode}:
            assert frequency(callback, other) == math.inf

    @pytest.mark.parametrize(("mode", "hook"), OF_MODE)
    def test_a_hook_set_on_the_instance(self, mode, hook):
        callback = keras.callbacks.Callback()
        setattr(callback, hook, lambda batch, logs=None: None)
        assert frequency(callback, mode) == 1

    @pytest.mark.parametrize(("mode", "hook"), OF_MODE)
    def test_a_hook_inherited_from_an_own_class(self, mode, hook):
        assert frequency(type("Sub", (overriding(hook),), {})(), mode) == 1

    @pytest.mark.parametrize(
        ("callback", "expected"),
        [
            (lambda: keras.callbacks.LambdaCallback(on_train_batch_end=print), 1),
            (lambda: keras.callbacks.LambdaCallback(on_batch_begin=print), 1),
            (lambda: keras.callbacks.LambdaCallback(on_epoch_end=print), math.inf),
            (keras.callbacks.TerminateOnNaN, math.inf),
            (overriding("on_batch_end", keras.callbacks.TerminateOnNaN), 1),
            (overriding("on_epoch_end", keras.callbacks.TerminateOnNaN), math.inf),
            (keras.callbacks.EarlyStopping, math.inf),
            (keras.callbacks.ReduceLROnPlateau, math.inf),
            (keras.callbacks.History, math.inf),
            (keras.callbacks.ProgbarLogger, math.inf),
            (overriding("on_train_batch_end", keras.callbacks.ProgbarLogger), 1),
            (overriding("on_epoch_end", keras.callbacks.ProgbarLogger), math.inf),
            (lambda: CSVLogger("log.csv"), math.inf),
            (lambda: CSVLogger("log.csv", update_freq=7), 7),
            (lambda: LearningRateScheduler(DECAY), math.inf),
            (lambda: LearningRateScheduler(DECAY, verbose=1), math.inf),
            (lambda: LearningRateScheduler(DECAY, update_freq="batch"), math.inf),
            (lambda: LearningRateScheduler(DECAY, 1, update_freq="batch"), 1),
            (lambda: LearningRateScheduler(abs, update_freq="batch"), 1),
        ],
    )
    def test_known_callbacks(self, callback, expected):
        assert frequency(callback()) == expected

    @pytest.mark.parametrize(
        ("base", "options", "expected"),
        [
            (keras.callbacks.ModelCheckpoint, {}, math.inf),
            (keras.callbacks.ModelCheckpoint, {"save_freq": 10}, 10),
            (
                overriding("on_train_batch_end", keras.callbacks.ModelCheckpoint),
                {"save_freq": 10},
                1,
            ),
            (
                overriding("on_epoch_end", keras.callbacks.ModelCheckpoint),
                {"save_freq": 10},
                10,
            ),
        ],
    )
    def test_model_checkpoint(self, base, options, expected):
        assert frequency(base("model.keras", **options)) == expected

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({}, math.inf),
            ({"update_freq": "epoch"}, math.inf),
            ({"update_freq": "batch"}, math.inf),
            ({"update_freq": 10}, math.inf),
            ({"write_steps_per_second": True}, 1),
        ],
    )
    def test_tensorboard(self, options, expected, tmp_path):
        callback = keras.callbacks.TensorBoard(tmp_path, **options)
        assert frequency(callback) == expected
        assert frequency(callback, "predict") == math.inf

    @pytest.mark.parametrize(
        ("said", "expected"),
        [(5, 5), (1, 1), ("epoch", math.inf), ("replay", math.inf), (None, 1)],
    )
    def test_what_a_callback_says_of_itself(self, said, expected):
        hook = "on_train_batch_end"
        of_class = overriding(hook, batch_hook_freq=said)()
        of_property = overriding(hook, batch_hook_freq=property(lambda self: said))()
        of_instance = overriding(hook)()
        of_instance.batch_hook_freq = said
        of_both = overriding(hook, batch_hook_freq=3)()
        of_both.batch_hook_freq = said
        for callback in (of_class, of_property, of_instance, of_both):
            assert frequency(callback) == expected

    @pytest.mark.parametrize(
        ("package", "name", "expected"),
        [
            ("mlflow.keras.callback", "MlflowCallback", math.inf),
            ("keras_tuner.src.engine.tuner_utils", "TunerCallback", math.inf),
            ("wandb.integration.keras.callbacks", "WandbMetricsLogger", math.inf),
            ("tqdm.keras", "TqdmCallback", math.inf),
            ("tqdm_of_mine", "TqdmCallback", 1),
            # It may save the model at a batch.
            ("ray.train.tensorflow.keras", "ReportCheckpointCallback", 1),
            ("mlflow.keras.callback", "Another", 1),
        ],
    )
    def test_callbacks_of_other_packages(self, package, name, expected):
        kind = overriding("on_batch_end", __module__=package)
        kind.__name__ = name
        assert frequency(kind()) == expected
        # One that overrides more is not known, and one that is not for batches is.
        sub = type("Sub", (kind,), {"on_train_batch_end": print})
        assert frequency(sub()) == 1
        assert frequency(type("Sub", (kind,), {"on_epoch_end": print})()) == expected

    def test_it_holds_for_all_modes_whose_hooks_are_overridden(self):
        callback = overriding("on_test_batch_end", batch_hook_freq=4)()
        assert frequency(callback, "test") == 4
        assert frequency(callback, "train") == math.inf

    def test_a_callback_of_keras_may_say_it_too(self):
        checkpoint = type(
            "Patient", (keras.callbacks.ModelCheckpoint,), {"batch_hook_freq": 50}
        )
        assert frequency(checkpoint("model.keras", save_freq=10)) == 50

    @pytest.mark.parametrize("said", [0, -1, 2.5, "batch", True])
    def test_what_is_no_frequency(self, said):
        callback = overriding("on_train_batch_end", batch_hook_freq=said)()
        with pytest.raises(ValueError, match="`batch_hook_freq` must be a positive"):
            frequency(callback)

    @pytest.mark.parametrize(("schedule", "expected"), [(DECAY, math.inf), (IF, 1)])
    def test_a_schedule_that_cannot_be_compiled_is_asked_every_time(
        self, schedule, expected
    ):
        model = small()
        model.compile("sgd", "mse")
        callback = LearningRateScheduler(schedule, update_freq="batch")
        callback.set_model(model)
        for _ in range(2):
            assert frequency(callback) == expected
            hooks = step_hooks([callback])
            assert (hooks.called if expected == 1 else hooks.traced) == (callback,)
        callback.schedule = IF
        assert frequency(callback) == 1


class TestNextStop:
    FIVE = overriding("on_train_batch_end", batch_hook_freq=5)

    @pytest.mark.parametrize(
        ("counts", "expected"),
        [
            ((0,), 5),
            ((3,), 2),
            ((5,), 5),
            ((0, 7), 3),  # the tenth of all comes first
            ((4, 7), 1),  # the fifth of the epoch comes first
            ((10, 20), 5),
        ],
    )
    def test_multiples_in_the_epoch_and_in_all(self, counts, expected):
        assert next_stop([self.FIVE()], "train", *counts) == expected

    def test_the_first_callback_that_must_hear_of_it_decides(self):
        three = overriding("on_train_batch_end", batch_hook_freq=3)()
        callbacks = [self.FIVE(), keras.callbacks.History(), three]
        stops, at = [], 0
        while at < 15:
            at += next_stop(callbacks, "train", at)
            stops.append(at)
        assert stops == [3, 5, 6, 9, 10, 12, 15]


class Record(keras.callbacks.Callback):
    """Keeps the numbers of the batches that it hears of, per epoch."""

    def __init__(self, frequency):
        super().__init__()
        if frequency is not None:
            self.batch_hook_freq = frequency
        self.calls = []

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append([])

    def on_train_batch_begin(self, batch, logs=None):
        self.calls[-1].append([batch])

    def on_train_batch_end(self, batch, logs=None):
        self.calls[-1][-1].append(batch)


@pytest.fixture
def no_hurry(monkeypatch):
    """Have as many steps made at a time as the callbacks allow, after the first."""
    monkeypatch.setattr(
        ChunkSizer, "ran", lambda self, *_: setattr(self, "_steps", 10**6)
    )


def small():
    keras.utils.set_random_seed(5)
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, "softmax")])


class Batches:
    """An iterable of batches of three samples."""

    def __iter__(self):
        for at in range(0, 70, 3):
            yield X[at : at + 3], LABELS[at : at + 3]


class LogsAVector(Trainer):
    """Logs something that has another length with every batch size."""

    def train_step(self, data):
        return super().train_step(data) | {"column": data[0][:, 0]}


def trained(
    callbacks, kind=Trainer, *, data=(X, LABELS), size=3, epochs=2, rate=0.01, **options
):
    trainer = kind(small(), seed=0)
    trainer.compile(keras.optimizers.SGD(rate), **CLASSIFY, **options)
    arguments = {"x": data}
    if isinstance(data, tuple):
        arguments = {"x": data[0], "y": data[1], "batch_size": size}
    trainer.fit(**arguments, epochs=epochs, callbacks=callbacks, verbose=0)
    return trainer


class TestFit:
    def test_every_batch(self, no_hurry):
        record = Record(None)
        trained([record])
        assert record.calls == [[[batch, batch] for batch in range(24)]] * 2

    def test_once_an_epoch(self, no_hurry):
        record = Record("epoch")
        trained([record])
        # The last batch is smaller.
        assert record.calls == [[[0, 0], [1, 22], [23, 23]], [[0, 22], [23, 23]]]

    def test_every_fifth_batch_of_the_epoch_and_of_all(self, no_hurry):
        record = Record(5)
        trained([record])
        first = [[0, 0], [1, 4], [5, 9], [10, 14], [15, 19], [20, 22], [23, 23]]
        assert record.calls[0] == first
        # 24 steps were made before: the first batch is the 25th, the sixth the 30th.
        ends = [0, 4, 5, 9, 10, 14, 15, 19, 20, 22, 23]
        begins = [0, *(end + 1 for end in ends[:-1])]
        assert record.calls[1] == [
            list(call) for call in zip(begins, ends, strict=True)
        ]

    @pytest.mark.parametrize("frequency", [5, "epoch"])
    @pytest.mark.parametrize("kind", ["arrays", "dataset", "iterable"])
    def test_at_any_pace_nothing_is_left_out(self, kind, frequency):
        record = Record(frequency)
        data = {
            "arrays": (X, LABELS),
            "dataset": tf.data.Dataset.from_tensor_slices((X, LABELS)).batch(3),
            "iterable": Batches(),
        }
        trainer = trained([record], data=data[kind])
        assert int(trainer.optimizer.iterations) == 48
        for calls in record.calls:
            begins, ends = zip(*calls, strict=True)
            assert begins == (0, *(end + 1 for end in ends[:-1]))
            assert ends[-1] == 23
        if frequency == 5:
            first, second = ({end + 1 for _, end in calls} for calls in record.calls)
            assert {5, 10, 15, 20} <= first & second
            assert {25, 30, 35, 40, 45} <= {24 + steps for steps in second}

    def test_model_checkpoint_saves_after_exactly_so_many_batches(
        self, no_hurry, tmp_path
    ):
        path = tmp_path / "{epoch}-{batch}.keras"
        trained([keras.callbacks.ModelCheckpoint(path, save_freq=10)])
        saved = {
            file.name: int(keras.models.load_model(file).optimizer.iterations)
            for file in tmp_path.iterdir()
        }
        assert saved == {
            "1-10.keras": 10,
            "1-20.keras": 20,
            "2-6.keras": 30,
            "2-16.keras": 40,
        }

    def test_csv_logger_writes_after_exactly_so_many_batches(self, no_hurry, tmp_path):
        path = tmp_path / "log.csv"
        trained([CSVLogger(path, update_freq=10)])
        rows = [line.split(",") for line in path.read_text().splitlines()]
        step = rows[0].index("step")
        assert [int(row[step]) for row in rows[1:]] == [10, 20, 24, 30, 40, 48]

    def test_a_nan_ends_the_training_at_once_if_that_is_asked_for(self, no_hurry):
        x = X.copy()
        x[12:15] = np.nan
        trainer = Trainer(small())
        trainer.compile(keras.optimizers.SGD(0.01), **CLASSIFY)
        stop = keras.callbacks.TerminateOnNaN()
        stop.batch_hook_freq = 1
        trainer.fit(x, LABELS, batch_size=3, shuffle=False, callbacks=[stop], verbose=0)
        assert int(trainer.optimizer.iterations) == 5


class TestStepHooks:
    def test_callbacks_that_act_before_every_step(self):
        class Acting(keras.callbacks.Callback):
            def before_compiled_step(self):
                pass

        acting, schedule = Acting(), LearningRateScheduler(DECAY, update_freq="batch")
        others = [keras.callbacks.History(), LearningRateScheduler(abs)]
        seen_by_python = LearningRateScheduler(DECAY, 1, update_freq="batch")
        found = step_hooks([acting, *others[:1], schedule, seen_by_python])
        assert found.traced == (acting, schedule)
        assert found.called == (seen_by_python,)

    def test_callbacks_act_before_and_after_every_step(self, no_hurry):
        class Acting(keras.callbacks.Callback):
            batch_hook_freq = "epoch"

            def __init__(self):
                super().__init__()
                self.early = tf.Variable(0, dtype="int64")
                self.late = tf.Variable(0, dtype="int64")

            def before_compiled_step(self):
                self.early.assign_add(self.model.optimizer.iterations)

            def after_compiled_step(self):
                self.late.assign_add(self.model.optimizer.iterations)

        acting = Acting()
        trainer = trained([acting], size=10, epochs=1)
        steps = int(trainer.optimizer.iterations)
        assert steps == 7
        assert int(acting.early) == sum(range(steps))
        assert int(acting.late) == sum(range(1, steps + 1))

    @pytest.mark.parametrize(
        ("kind", "as_dataset", "options", "schedule"),
        [
            (Trainer, False, {}, DECAY),
            (Trainer, False, {}, IF),
            (Trainer, True, {}, DECAY),
            (Trainer, False, {"run_eagerly": True}, DECAY),
            (LogsAVector, False, {}, DECAY),
        ],
        ids=["arrays", "in Python", "dataset", "eagerly", "one by one"],
    )
    def test_a_schedule_acts_before_every_step(
        self, kind, as_dataset, options, schedule, no_hurry
    ):
        """The same weights as with the schedule in the optimizer."""
        data = (X, LABELS)
        if as_dataset:
            data = tf.data.Dataset.from_tensor_slices(data).batch(10)

        def weights(rate, callbacks):
            trainer = trained(
                callbacks, kind, data=data, size=10, rate=rate, epochs=1, **options
            )
            return trainer.get_weights()

        expected = weights(DECAY, [])
        actual = weights(0.5, [LearningRateScheduler(schedule, update_freq="batch")])
        for one, other in zip(actual, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
