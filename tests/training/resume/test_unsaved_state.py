"""Callbacks that remember what a checkpoint can't hold: each is warned about, once."""

import collections
import dataclasses
import datetime
import importlib.util
import io
import pathlib
import random
import threading
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ext
from keras_ext.callbacks import Checkpoint
from keras_ext.training.resume.unsaved_state import UnsavedState
from tests.training.problems import TARGETS, X, make_step

pytestmark = pytest.mark.once


def network():
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])


class Remember(keras.callbacks.Callback):
    """Makes something when it is made, and changes it after every epoch."""

    def __init__(self, make, change):
        super().__init__()
        self.memory = make()
        self._change = change

    def on_epoch_end(self, epoch, logs=None):
        self._change(self)


def put(value):
    def change(callback):
        callback.memory = value()

    return change


class Meter:
    """A counter as users write it."""

    def __init__(self):
        self.sums = {"loss": 0.0}


@dataclasses.dataclass
class Best:
    epoch: int = 0


Point = collections.namedtuple("Point", ["epoch", "loss"])


class Elsewhere:
    """An array on another device."""

    shape = (3,)

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("not here")


class Table:
    """A table of another library, with its values in an array."""

    __module__ = "pandas"

    def __init__(self, rows):
        self.shape = (rows,)

    def __array__(self, dtype=None, copy=None):
        return np.arange(*self.shape)


class Phase(collections.UserDict):
    """A dict of another kind."""


def lists():
    return collections.defaultdict(list)


def metric():
    return keras.metrics.Mean()


LOST = {
    "defaultdict": (lists, lambda one: one.memory["loss"].append(0.5)),
    "dict of its own kind": (Phase, lambda one: one.memory.update(loss=0.5)),
    "named tuple": (lambda: Point(0, 1.0), put(lambda: Point(1, 0.5))),
    "data class": (Best, lambda one: setattr(one.memory, "epoch", 1)),
    "own class": (Meter, lambda one: one.memory.sums.update(loss=0.5)),
    "among other things": (
        lambda: [threading.Lock(), 0],
        put(lambda: [threading.Lock(), 1]),
    ),
    "generator of NumPy": (np.random.default_rng, lambda one: one.memory.random()),
    "old generator of NumPy": (
        np.random.RandomState,
        lambda one: one.memory.random_sample(),
    ),
    "generator of Python": (random.Random, lambda one: one.memory.random()),
    "generator of Keras": (
        lambda: keras.random.SeedGenerator(1),
        lambda one: one.memory.next(),
    ),
    "metric": (metric, lambda one: one.memory.update_state(1.0)),
    "metrics": (
        lambda: {"loss": metric(), "name": "x"},
        lambda one: one.memory["loss"].update_state(1.0),
    ),
    "variable": (lambda: tf.Variable(0.0), lambda one: one.memory.assign(1.0)),
    "copy of the model": (
        network,
        lambda one: one.memory.layers[0].bias.assign([1.0]),
    ),
    "new model": (lambda: None, put(network)),
    "time": (datetime.datetime.now, put(datetime.datetime.now)),
    "path": (lambda: pathlib.Path("a"), put(lambda: pathlib.Path("b"))),
    "table": (lambda: Table(3), put(lambda: Table(4))),
    "array of strings": (lambda: np.array(["a"]), put(lambda: np.array(["b"]))),
    "array of objects": (
        lambda: np.array([None]),
        put(lambda: np.array([None, None])),
    ),
}

KEPT = {
    "numbers": (lambda: 0, put(lambda: 1)),
    "nested": (lambda: {}, put(lambda: {"loss": [1.0, np.ones(3)], "b": (1, {2})})),
    "tensor": (lambda: None, put(lambda: tf.ones(3))),
    "unchanged": (Meter, lambda one: None),
    "unchanged NaN": (lambda: Point(0, np.nan), put(lambda: Point(0, float("nan")))),
    "frozen model": (network, lambda one: None),
    "the model itself": (lambda: None, lambda one: setattr(one, "memory", one.model)),
    "layers of the model": (
        lambda: None,
        lambda one: setattr(one, "memory", [*one.model.layers, one.model.optimizer]),
    ),
    "function": (lambda: None, put(lambda: print)),
    "class": (lambda: None, put(lambda: Meter)),
    "file": (lambda: None, put(io.StringIO)),
    "thread": (lambda: None, put(threading.Thread)),
    "other objects by name": (dict, lambda one: one.memory.update(train=io.StringIO())),
    "dataset": (
        lambda: None,
        put(lambda: iter(tf.data.Dataset.from_tensors(1).repeat())),
    ),
    "array that can't be read": (lambda: None, put(lambda: Elsewhere())),
    "symbolic": (lambda: None, put(lambda: keras.Input((3,)))),
}


@pytest.fixture(scope="module")
def model():
    built = network()
    built.compile("adam", "mse")
    built.optimizer.build(built.trainable_variables)
    return built


def noticed(model, callback):
    """Return the warnings of three epochs."""
    callback.set_model(model)
    unsaved = UnsavedState([callback])
    variables = [*model.variables, *model.optimizer.variables]
    unsaved.warn(variables)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for epoch in range(3):
            callback.on_epoch_end(epoch)
            unsaved.warn(variables)
    return [str(one.message) for one in caught]


@pytest.mark.parametrize(("make", "change"), LOST.values(), ids=LOST)
def test_what_is_lost(model, make, change):
    callback = Remember(make, change)
    (message,) = noticed(model, callback)
    assert message.startswith(
        "The callback Remember has changed attributes that are not saved, so that a "
        "continued run lacks them: `memory`, of type "
        f"{type(callback.memory).__name__}. Expected: numbers, strings, arrays"
    )
    assert message.endswith("or methods `get_state` and `set_state`.")


@pytest.mark.parametrize(("make", "change"), KEPT.values(), ids=KEPT)
def test_what_is_not(model, make, change):
    assert noticed(model, Remember(make, change)) == []


class Arguments(keras.callbacks.Callback):
    """Has arguments which it changes, and one that it does not."""

    def __init__(self, step=0, found=(), name="x", data=None):
        super().__init__()
        self.step, self._found, self.name, self.data = step, found, name, data

    def on_epoch_end(self, epoch, logs=None):
        self.step += 1
        self._found.append(epoch)


def test_arguments_that_are_changed(model):
    found = []
    (message,) = noticed(model, Arguments(found=found, data=np.ones((1000, 1000))))
    assert (
        "`step`, an argument of the constructor; `_found`, an argument of the "
        "constructor. Exp"
    ) in message
    assert len(found) == 3


def test_one_that_says_what_its_state_is(model):
    class Says(Arguments):
        def get_state(self):
            return {}

        def set_state(self, state):
            pass

    assert noticed(model, Says(found=[])) == []


def driven(driver, folder, callbacks, **options):
    model = network()
    callbacks = [Checkpoint(folder, save_freq=2), *callbacks]
    if driver == "fit":
        trainer = keras_ext.Trainer(model)
        trainer.compile("adam", "mse")
        trainer.fit(X, TARGETS, epochs=3, batch_size=16, callbacks=callbacks, verbose=0)
        return
    optimizer = keras.optimizers.Adam()
    step = make_step(model, optimizer)
    loop = keras_ext.Loop(
        *(model,),
        optimizer=optimizer,
        epochs=3,
        callbacks=callbacks,
        verbose=0,
        **options,
    )
    for epoch in loop:
        for x, y in epoch.batches((X, TARGETS), 16):
            epoch.log(step(x, y))


def test_what_belongs_to_the_run(model):
    callback = Remember(
        lambda: {"of the run": [model, model.optimizer], "mine": Best()},
        lambda one: model.layers[0].bias.assign([one.memory["mine"].epoch + 1.0]),
    )
    assert noticed(model, callback) == []


@pytest.mark.parametrize("driver", ["fit", "loop"])
def test_a_warning_for_a_run(driver, tmp_path):
    callback = Remember(*LOST["defaultdict"])
    with pytest.warns(UserWarning, match=r"`memory`, of type defaultdict") as caught:
        driven(driver, tmp_path, [callback])
    assert len(caught) == 1


def test_what_the_loop_was_told_of(tmp_path):
    callback = Remember(*LOST["metric"])
    driven("loop", tmp_path, [callback], state={"mine": callback.memory})


def test_what_is_made_when_training_begins(tmp_path):
    class Began(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.began = datetime.datetime.now()
            self.losses = collections.defaultdict(list)

    driven("fit", tmp_path, [Began()])


def callbacks_of_keras(folder):
    kinds = keras.callbacks
    arguments = {
        kinds.CSVLogger: {"filename": str(folder / "log.csv"), "append": True},
        kinds.EarlyStopping: {"monitor": "loss", "restore_best_weights": True},
        kinds.LambdaCallback: {"on_epoch_end": lambda epoch, logs: None},
        kinds.LearningRateScheduler: {"schedule": lambda epoch: 0.1},
        kinds.ModelCheckpoint: {"filepath": str(folder / "m.keras"), "save_freq": 2},
        kinds.ReduceLROnPlateau: {"monitor": "loss", "patience": 1, "min_delta": 9.0},
        kinds.TerminateOnNaN: {},
        kinds.History: {},
        kinds.ProgbarLogger: {},
    }
    if importlib.util.find_spec("tensorboard"):
        arguments[kinds.TensorBoard] = {
            **{"log_dir": str(folder / "tb"), "update_freq": 1, "histogram_freq": 1},
            "write_graph": False,
        }
    return [
        # Keras's own are not looked at: those that are derived from them are.
        type(f"My{kind.__name__}", (kind,), {"__module__": __name__})(**options)
        for kind, options in arguments.items()
    ]


def test_no_callback_of_keras_is_warned_about(tmp_path):
    driven("fit", tmp_path / "run", callbacks_of_keras(tmp_path))
