"""Hooks for batches that are called after a call see what they see in `Model.fit`."""

import csv
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ext import Loop, Trainer
from keras_ext.callbacks import (
    Checkpoint,
    CSVLogger,
    LearningRateScheduler,
    Replay,
    TrainingCallback,
)
from keras_ext.training.loop.callback_contract import next_stop
from keras_ext.training.loop.chunk_sizer import ChunkSizer

pytestmark = pytest.mark.once

_rng = np.random.default_rng(0)
X = _rng.normal(size=(200, 6)).astype("float32")
Y = _rng.integers(0, 3, size=200)
BATCH = 16  # 12 batches and one of 8 samples
DECAY = keras.optimizers.schedules.ExponentialDecay(0.01, 20, 0.5)


class Record(keras.callbacks.Callback):
    """Notes every call of a hook, its logs, and what it finds of the optimizer."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def _note(self, hook, number, logs):
        optimizer = self.model.optimizer
        counters = int(optimizer.iterations.numpy()), float(optimizer.learning_rate)
        logs = {name: np.array(value).tolist() for name, value in (logs or {}).items()}
        self.calls.append((hook, number, logs, counters))

    def on_train_batch_begin(self, batch, logs=None):
        # Of the counters, a hook can't find those before the batch any more.
        self.calls.append(("begin", batch, logs))

    def on_train_batch_end(self, batch, logs=None):
        self._note("end", batch, logs)

    def on_test_batch_end(self, batch, logs=None):
        self._note("test", batch, logs)

    def on_predict_batch_end(self, batch, logs=None):
        self._note("predict", batch, logs)

    def on_epoch_end(self, epoch, logs=None):
        self._note("epoch", epoch, logs)


class Vector(keras.metrics.Metric):
    """Has a result that is not a single number."""

    def __init__(self):
        super().__init__(name="vector")
        self.total = self.add_weight(shape=(3,), initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.total.assign_add(tf.reduce_sum(y_pred, axis=0))

    def result(self):
        return self.total


@pytest.fixture(autouse=True)
def _no_hurry(monkeypatch):
    """Have calls make 5 steps, however long they take."""
    monkeypatch.setattr(ChunkSizer, "steps", 5)


def network():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(3, activation="softmax")]
    )


def compiled(model, **options):
    options = {"metrics": ["accuracy"], **options}
    model.compile("adam", "sparse_categorical_crossentropy", **options)
    return model


def trainer_with(kind):
    kinds = {
        "xla": {"jit_compile": True},
        "graph": {"jit_compile": False},
        "eager": {"run_eagerly": True},
        "vector": {"metrics": [Vector()]},
    }
    return compiled(Trainer(network(), seed=1), **kinds[kind])


def dataset_with_odd_batches():
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(BATCH)
    return data.take(2).concatenate(data.skip(12)).concatenate(data.take(7))


DATA = {
    "arrays": lambda: {"x": X, "y": Y, "batch_size": BATCH},
    "streamed": lambda: {"x": X, "y": Y, "batch_size": BATCH, "resident": False},
    "odd batches": lambda: {"x": dataset_with_odd_batches()},
}


def recorded(kind, data, frequency, epochs=2):
    trainer, record = trainer_with(kind), Record()
    record.batch_hook_freq = frequency
    trainer.fit(
        **DATA[data](),
        epochs=epochs,
        verbose=0,
        validation_data=(X, Y),
        callbacks=[LearningRateScheduler(DECAY, update_freq="batch"), record],
    )
    trainer.evaluate(X, Y, BATCH, verbose=0, callbacks=[record])
    trainer.predict(X, BATCH, verbose=0, callbacks=[record])
    return record.calls, trainer.get_weights()


def assert_same(calls, others):
    assert [call[:2] for call in calls] == [call[:2] for call in others]
    for call, other in zip(calls, others, strict=True):
        assert call[3:] == other[3:], call[:2]
        assert list(call[2] or {}) == list(other[2] or {})
        for name, value in (call[2] or {}).items():
            np.testing.assert_allclose(value, other[2][name], rtol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("xla", "arrays"),
        ("graph", "arrays"),
        ("eager", "arrays"),
        ("vector", "arrays"),
        ("graph", "streamed"),
        ("graph", "odd batches"),
    ],
)
def test_replayed_hooks_get_what_hooks_after_every_batch_get(kind, data):
    every, weights = recorded(kind, data, 1)
    replayed, same_weights = recorded(kind, data, "replay")
    assert_same(replayed, every)
    for one, other in zip(same_weights, weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_logs_are_those_of_stock_fit():
    stock, record = compiled(network()), Record()
    arguments = {"batch_size": BATCH, "epochs": 2, "shuffle": False, "verbose": 0}
    stock.fit(X, Y, callbacks=[record], **arguments)
    ours, replayed = compiled(Trainer(network())), Record()
    ours.fit(X, Y, callbacks=[Replay(replayed)], **arguments)
    assert_same(replayed.calls, record.calls)


def test_a_call_makes_many_steps(monkeypatch):
    numbers = []
    monkeypatch.setattr(
        Trainer,
        "steps",
        lambda self, chunk, steps=Trainer.steps: (
            numbers.append(len(chunk)) or steps(self, chunk)
        ),
    )
    trainer = trainer_with("graph")
    trainer.fit(X, Y, BATCH, verbose=0, callbacks=[Replay(Record())])
    assert numbers == [5, 5, 2, 1]


def test_hooks_are_called_in_the_order_of_the_list_after_the_last_batch():
    calls = []

    def named(name, frequency):
        callback = keras.callbacks.LambdaCallback(
            on_train_batch_begin=lambda batch, logs: calls.append(f"{name}<{batch}"),
            on_train_batch_end=lambda batch, logs: calls.append(f"{name}>{batch}"),
        )
        callback.batch_hook_freq = frequency
        return callback

    callbacks = [named("a", "replay"), named("b", "epoch"), named("c", "replay")]
    trainer_with("graph").fit(X[:48], Y[:48], BATCH, verbose=0, callbacks=callbacks)
    assert " ".join(calls) == (
        "b<0 a<0 c<0 a>0 c>0 a<1 c<1 a>1 c>1 a<2 c<2 a>2 b>2 c>2"
    )


class Stop(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 6:
            self.model.stop_training = True


def test_a_stop_ends_the_training_after_the_call_and_the_logs_say_so(tmp_path):
    path = tmp_path / "log.csv"
    history = trainer_with("graph").fit(
        X, Y, BATCH, 3, verbose=0, callbacks=[Replay(Stop()), CSVLogger(path)]
    )
    assert history.epoch == [0]
    assert history.history["steps_after_stop"] == [3]  # of 5 to 9, number 6 stopped
    with open(path, newline="") as file:
        assert next(csv.DictReader(file))["steps_after_stop"] == "3.0"


def test_a_stop_at_the_end_of_a_call_is_not_late():
    stop = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: setattr(
            stop.model, "stop_training", batch == 4
        )
    )
    history = trainer_with("graph").fit(
        X, Y, BATCH, 3, verbose=0, callbacks=Replay(stop)
    )
    assert "steps_after_stop" not in history.history


def test_terminate_on_nan_ends_the_training_after_the_call(capsys):
    spoiled = X.copy()
    spoiled[BATCH * 6] = np.nan
    history = trainer_with("graph").fit(
        spoiled,
        Y,
        BATCH,
        epochs=2,
        shuffle=False,
        verbose=0,
        callbacks=[keras.callbacks.TerminateOnNaN()],
    )
    assert history.epoch == [0]
    assert history.history["steps_after_stop"] == [3]
    assert "Batch 6: Invalid loss" in capsys.readouterr().out


def test_an_exception_leaves_the_counters_as_the_call_did():
    def fail(batch, logs):
        if batch == 2:
            raise RuntimeError("of the user")

    trainer = trainer_with("graph")
    callback = Replay(keras.callbacks.LambdaCallback(on_train_batch_end=fail))
    with pytest.raises(RuntimeError, match="of the user"):
        trainer.fit(X, Y, BATCH, verbose=0, callbacks=[callback])
    assert int(trainer.optimizer.iterations) == 5


def test_a_loop_written_by_hand():
    def calls(frequency):
        trainer, record = trainer_with("graph"), Record()
        record.batch_hook_freq = frequency
        for epoch in Loop(trainer, callbacks=[record], verbose=0, seed=1):
            for chunk in epoch.chunks((X, Y), batch_size=BATCH):
                epoch.log(trainer.steps(chunk) | {"size": 3.0})
        return record.calls

    assert_same(calls("replay"), calls(1))


def test_a_step_that_is_not_a_trainers_gives_the_hooks_its_last_batch():
    record = Record()
    record.batch_hook_freq = "replay"
    model = compiled(network())
    for epoch in Loop(model, callbacks=[record], verbose=0):
        for chunk in epoch.chunks((X, Y), batch_size=BATCH):
            epoch.log({"loss": float(len(chunk))})
    ends = [(call[1], call[2]["loss"]) for call in record.calls if call[0] == "end"]
    assert ends == [
        (4, 5.0),
        (9, 5.0),
        (11, pytest.approx(4.5)),
        (12, pytest.approx(4.36)),
    ]


def test_logs_of_many_steps_that_take_much_room():
    class Large(Trainer):
        def train_step(self, data):
            logs = super().train_step(data)
            return {**logs, "large": tf.fill((2**21,), logs["loss"])}

    sizes = []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: sizes.append(
            (batch, logs["large"].shape, logs["large"][0] == np.float32(logs["loss"]))
        )
    )
    trainer = compiled(Large(network(), seed=1))
    trainer.fit(X, Y, BATCH, verbose=0, callbacks=[Replay(note)])
    assert sizes == [(number, (2**21,), True) for number in range(13)]


def test_a_run_is_saved_and_continued_with_the_callback(tmp_path):
    class Sum(keras.callbacks.Callback):
        total, seen = 0.0, 0

        def on_train_batch_end(self, batch, logs=None):
            self.total += logs["loss"]
            self.seen += 1

    def train(epochs, folder):
        total = Sum()
        trainer_with("graph").fit(
            X,
            Y,
            BATCH,
            epochs,
            verbose=0,
            callbacks=[Replay(total), Checkpoint(folder)],
            resume=True,
        )
        return total

    train(1, tmp_path / "a")
    continued, whole = train(2, tmp_path / "a"), train(2, tmp_path / "b")
    assert (continued.seen, continued.total) == (26, whole.total)


class TestReplay:
    def test_stock_fit_calls_the_callback(self):
        record, plain = Record(), Record()
        for callback in (Replay(record), plain):
            model = compiled(network())
            model.fit(X, Y, BATCH, shuffle=False, verbose=0, callbacks=[callback])
            model.evaluate(X, Y, BATCH, verbose=0, callbacks=[callback])
            model.predict(X, BATCH, verbose=0, callbacks=[callback])
        assert_same(record.calls, plain.calls)
        assert record.params == plain.params

    def test_a_class_is_refused(self):
        with pytest.raises(
            TypeError, match=r"Received: <class.*Make one: `Replay\(Record"
        ):
            Replay(Record)

    def test_it_can_be_a_training_callback(self):
        class Own(TrainingCallback):
            def on_train_batch_end(self, batch, logs=None):
                """Do nothing."""

        assert next_stop([Own()], "train", 0) == 1
        own = Own()
        Replay(own)
        assert next_stop([own], "train", 0) == math.inf


class TestWarning:
    def run(self, callback, steps=520):
        trainer = trainer_with("graph")
        x, y = np.zeros((steps * 2, 6), "float32"), np.zeros(steps * 2)
        trainer.fit(x, y, 2, verbose=0, callbacks=[callback])

    @pytest.fixture(autouse=True)
    def _quick(self, monkeypatch):
        """Have every machine be quick enough."""
        monkeypatch.setattr("keras_ext.training.loop.slowness._SECONDS", 1.0)

    def test_a_callback_that_costs_much_is_named_once(self):
        with pytest.warns(UserWarning, match=r"^Record must be called.*Replay") as seen:
            self.run(Record(), steps=1100)
        assert len(seen) == 1
        assert seen[0].filename == __file__

    def test_one_that_says_so_is_not(self):
        record = Record()
        record.batch_hook_freq = 1
        self.run(record)

    def test_nor_is_one_that_is_replayed(self):
        self.run(Replay(Record()))
