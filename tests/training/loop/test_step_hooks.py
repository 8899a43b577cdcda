"""`before_compiled_step` and `after_compiled_step` act at every step."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ext import Loop, Trainer
from keras_ext.callbacks import (
    LearningRateScheduler,
    TrainingCallback,
    WeightAveraging,
)
from keras_ext.training.loop.callback_contract import step_hooks
from keras_ext.training.step.compiled_functions import CompiledFunctions

X = np.random.default_rng(0).normal(size=(22, 3)).astype("float32")
Y = X @ np.array([[1.0], [2.0], [-1.0]], "float32")
SIZES = (4, 4, 3, 4, 4, 3)  # an odd batch in the middle, and one at the end
EPOCHS = 2


class Halves(keras.utils.PyDataset):
    def __len__(self):
        return len(SIZES)

    def __getitem__(self, index):
        return batches()[index]


class Loader:
    """A `DataLoader`: a length, and a new iterator for every epoch."""

    def __len__(self):
        return len(SIZES)

    def __iter__(self):
        return iter(batches())


def batches():
    ends = np.cumsum(SIZES)
    return [(X[e - n : e], Y[e - n : e]) for e, n in zip(ends, SIZES, strict=True)]


def endless():
    while True:
        yield from batches()


def dataset():
    spec = tuple(tf.TensorSpec((None, n), tf.float32) for n in (3, 1))
    data = tf.data.Dataset.from_generator(batches, output_signature=spec)
    return data.apply(tf.data.experimental.assert_cardinality(len(SIZES)))


# What is trained on, options of `fit` and `Epoch.chunks`, and steps an epoch.
DATA = {
    "arrays": (lambda: (X, Y), {"batch_size": 4}, 6),
    "streamed": (lambda: (X, Y), {"batch_size": 4, "resident": False}, 6),
    "dataset": (dataset, {}, 6),
    "PyDataset": (Halves, {}, 6),
    "generator": (endless, {"steps": 6}, 6),
    "loader": (Loader, {}, 6),
}


class Noting(TrainingCallback):
    """Notes, in variables, how many steps there were before and after each one."""

    batch_hook_freq = "epoch"

    def __init__(self):
        super().__init__()
        self.before = tf.Variable(0, dtype="int64", trainable=False)
        self.after = tf.Variable(0, dtype="int64", trainable=False)
        self.calls = 0

    def before_compiled_step(self):
        self.before.assign_add(self.model.optimizer.iterations)

    def after_compiled_step(self):
        self.after.assign_add(self.model.optimizer.iterations)

    def on_train_batch_end(self, batch, logs=None):
        self.calls += 1


class NotingInPython(Noting):
    """Does the same with Python's `if` on a tensor, which can't be traced."""

    def before_compiled_step(self):
        if self.model.optimizer.iterations >= 0:
            super().before_compiled_step()


class Foreign(keras.callbacks.Callback):
    """Has the methods, and is derived from Keras's class."""

    batch_hook_freq = "epoch"

    def __init__(self):
        super().__init__()
        self.before = tf.Variable(0, dtype="int64", trainable=False)
        self.after = tf.Variable(0, dtype="int64", trainable=False)

    before_compiled_step = Noting.before_compiled_step
    after_compiled_step = Noting.after_compiled_step


class LogsAVector(Trainer):
    """Its logs can't be handed on from step to step in a loop."""

    def train_step(self, data):
        return {**super().train_step(data), "x": tf.reduce_sum(data[0], axis=-1)}

    def steps(self, chunk):
        return {"loss": super().steps(chunk)["loss"]}


def fit(trainer, data, options, callbacks):
    x, y = data if isinstance(data, tuple) else (data, None)
    options = dict(options)
    steps = options.pop("steps", None)
    trainer.fit(
        x,
        y,
        epochs=EPOCHS,
        verbose=0,
        shuffle=False,
        callbacks=callbacks,
        steps_per_epoch=steps,
        **options,
    )


def chunks(trainer, data, options, callbacks):
    for epoch in Loop(trainer, epochs=EPOCHS, verbose=0, callbacks=callbacks):
        for chunk in epoch.chunks(data, shuffle=False, **options):
            epoch.log(trainer.steps(chunk))


def batches_of_chunks(trainer, data, options, callbacks):
    for epoch in Loop(trainer, epochs=EPOCHS, verbose=0, callbacks=callbacks):
        for chunk in epoch.chunks(data, shuffle=False, **options):
            for batch in chunk:
                logs = trainer.step(batch)
            epoch.log(logs)


def one_by_one(trainer, data, options, callbacks):
    for epoch in Loop(trainer, epochs=EPOCHS, verbose=0, callbacks=callbacks):
        for batch in epoch.batches(data, shuffle=False, **options):
            epoch.log(trainer.step(batch))


DRIVERS = {f.__name__: f for f in (fit, chunks, batches_of_chunks, one_by_one)}


def trained(driver, data, callbacks, kind=Trainer, rate=0.01, **compiled):
    keras.utils.set_random_seed(0)
    trainer = kind(keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]))
    trainer.compile(keras.optimizers.SGD(rate), "mse", **compiled)
    make, options, _ = DATA[data]
    DRIVERS[driver](trainer, make(), options, callbacks)
    return trainer


def check(noting, data):
    steps = EPOCHS * DATA[data][2]
    assert int(noting.before) == sum(range(steps))
    assert int(noting.after) == sum(range(1, steps + 1))


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("driver", DRIVERS)
def test_hooks_act_at_every_step(driver, data):
    callbacks = [Noting(), NotingInPython(), Foreign()]
    for callback in callbacks:
        trained(driver, data, [callback])
        check(callback, data)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Trainer, {"jit_compile": True}),
        (Trainer, {"jit_compile": False}),
        (Trainer, {"run_eagerly": True}),
        (LogsAVector, {}),
    ],
    ids=["xla", "graph", "eager", "one by one"],
)
def test_hooks_act_however_steps_are_compiled(kind, options):
    traced, called = Noting(), NotingInPython()
    trained("fit", "arrays", [traced, called], kind, **options)
    check(traced, "arrays")
    check(called, "arrays")


def test_hooks_that_are_compiled_cost_no_calls():
    noting, called = Noting(), NotingInPython()
    trained("fit", "arrays", [noting])
    trained("fit", "arrays", [called])
    # The first call of all makes one step, and the odd batch comes by itself.
    assert noting.calls < 2 * DATA["arrays"][2]
    assert called.calls == 2 * DATA["arrays"][2]


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("driver", DRIVERS)
def test_house_callbacks_act_at_every_step(driver, data):
    """As an optimizer that holds the schedule, and as weights taken by hand."""
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.8)
    average = WeightAveraging(decay=0.9)
    scheduler = LearningRateScheduler(schedule, update_freq="batch")
    actual = trained(driver, data, [scheduler, average], rate=1.0)

    class Taking(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.taken = []

        def on_train_batch_end(self, batch, logs=None):
            self.taken.append(self.model.get_weights())

    taking = Taking()
    if driver == "batches_of_chunks":
        driver = "chunks"  # with a callback for every batch, chunks are of one
    trained(driver, data, [taking], rate=schedule)
    assert len(taking.taken) == EPOCHS * DATA[data][2]
    weights = 0.9 ** np.arange(len(taking.taken))[::-1]
    for number, value in enumerate(actual.get_weights()):
        values = [one[number] for one in taking.taken]
        expected = np.average(values, axis=0, weights=weights)
        np.testing.assert_allclose(value, expected, rtol=2e-5, atol=1e-6)


class TestStockFit:
    def test_the_run_says_that_it_calls_no_step_hooks(self):
        class Asking(TrainingCallback):
            def on_train_begin(self, logs=None):
                self.answers = self.calls_step_hooks, self.is_resumable

        asking = Asking()
        assert (asking.calls_step_hooks, asking.is_resumable) == (False, False)
        trainer = trained("fit", "arrays", [asking])
        assert asking.answers == (True, False)
        keras.Model.fit(trainer, X, Y, verbose=0, callbacks=[asking])
        assert asking.answers == (False, False)

    def test_a_callback_of_a_loop_is_called_for_batches_there(self):
        noting = Noting()
        trainer = trained("fit", "arrays", [noting])
        noting.calls = 0
        keras.Model.fit(trainer, X, Y, batch_size=4, verbose=0, callbacks=[noting])
        assert noting.calls == 6
        check(noting, "arrays")  # the hooks around a step were not called again


def counting(monkeypatch):
    """Return what says how many functions were compiled for steps since."""
    made, of = [], CompiledFunctions.of

    def count(self, *args, **kwargs):
        found = of(self, *args, **kwargs)
        if all(found is not one for one in made):
            made.append(found)
        return found

    monkeypatch.setattr(CompiledFunctions, "of", count)
    return lambda: len(made)


@pytest.mark.parametrize("data", ["arrays", "generator"])
def test_hooks_that_do_nothing_are_not_compiled_again(data, monkeypatch):
    """A new scheduler of epochs in every `fit` costs no compilation."""
    keras.utils.set_random_seed(0)
    trainer = Trainer(keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]))
    trainer.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=True)
    make, options, _ = DATA[data]
    compiled = []
    count_compiled = counting(monkeypatch)
    for _ in range(2):
        scheduler = LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1))
        averaging = WeightAveraging("swa")
        fit(trainer, make(), options, [scheduler, averaging])
        hooks = step_hooks([scheduler, averaging])
        assert (hooks.traced, hooks.called) == ((), ())
        compiled.append(count_compiled())
    assert compiled[0] == compiled[1] > 0
