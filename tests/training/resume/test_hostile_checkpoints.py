"""Checkpoints that no run has saved: an error that names them, and nothing is changed.

Their files are whole: somebody has written them. Files that are damaged are the matter
of `test_store.py`.
"""

import copy
import random
import re
import shutil
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ext
from keras_ext.callbacks import Checkpoint, CSVLogger, NaNGuard, WeightAveraging
from keras_ext.training.resume import callback_state
from keras_ext.training.resume.store import CheckpointStore
from tests.training.folders import contents
from tests.training.sharing import write_sharing

# All of it is checked by our own code, before Keras or TensorFlow get any of it.
pytestmark = pytest.mark.once

X, Y = np.ones((8, 2), "float32"), np.zeros((8, 1), "float32")


def dataset():
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(2)


class Patient(keras.callbacks.Callback):
    """Has every kind of state, and what is none."""

    limit = 7

    def __init__(self, path="mine"):
        super().__init__()
        self.path = self._path = path
        self.seen, self.best, self.name, self.values = 0, None, "begin", []
        self.function = len

    @property
    def half(self):
        return self.seen / 2

    def on_epoch_end(self, epoch, logs=None):
        self.seen += 1
        self.best, self.made_later = np.float32(logs["loss"]), (epoch, "later")


class Counter:
    """Further state of a run."""

    count = 0

    def get_state(self):
        return {"count": self.count}

    def set_state(self, state):
        self.count = 0  # changed before anything is looked at
        self.count = state["count"] + 0


class Run:
    """What a program makes before it trains; all of it must stay as it is."""

    def __init__(self, data="arrays", by="fit"):
        keras.utils.set_random_seed(1)
        layers = [keras.Input((2,)), keras.layers.Dense(2), keras.layers.Dense(1)]
        self.trainer = keras_ext.Trainer(keras.Sequential(layers), seed=0)
        self.trainer.compile("adam", loss="mse", jit_compile=False)
        self.trainer.optimizer.build(self.trainer.trainable_variables)
        self.patient, self.counter, self.guard = Patient(), Counter(), NaNGuard()
        self.average, self.data, self.by = WeightAveraging(), data, by

    def train(self, folder, **options):
        callbacks = [
            self.patient,
            self.guard,
            self.average,
            CSVLogger(folder / "log.csv"),
            Checkpoint(folder, save_freq=3),
        ]
        options = {"epochs": 3, "callbacks": callbacks, "verbose": 0, **options}
        if self.by == "fit":
            data = (X, Y, 2) if self.data == "arrays" else (dataset(),)
            return self.trainer.fit(*data, **options)
        batch_size = 2 if self.data == "arrays" else None
        data = (X, Y) if self.data == "arrays" else dataset()
        options["state"] = {"counter": self.counter}
        for epoch in keras_ext.Loop(self.trainer, seed=0, **options):
            for batch in epoch.batches(data, batch_size):
                epoch.log(self.trainer.step(batch))
        return None

    def everything(self):
        """Return all that a checkpoint could change."""
        variables = [*self.trainer.variables, *self.trainer.optimizer.variables]
        return {
            "variables": [np.array(one).tolist() for one in variables],
            "patient": {
                name: value
                for name, value in vars(self.patient).items()
                if name not in ("model", "_model", "params")
            },
            "guard": (self.guard.found, self.guard.request),
            "counter": self.counter.count,
            "random": (random.getstate(), str(np.random.get_state())),
        }


class LeftError(Exception):
    """Ends a training as a kill would."""


class Leave(keras.callbacks.Callback):
    def get_state(self):
        return {}

    def set_state(self, state):
        pass

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise LeftError


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Checkpoints of runs that were left within an epoch, by data and driver."""
    root, found = tmp_path_factory.mktemp("saved"), {}
    for data, by in [("arrays", "fit"), ("dataset", "fit"), ("arrays", "loop")]:
        folder = root / f"{data} {by}"
        run = Run(data, by)
        run.counter.count = 5
        callbacks = [
            run.patient,
            run.guard,
            run.average,
            CSVLogger(folder / "log.csv"),
            Checkpoint(folder, save_freq=3, max_to_keep=1),
            Leave(),
        ]
        with pytest.raises(LeftError):
            run.train(folder, callbacks=callbacks)
        found[data, by] = folder, CheckpointStore(str(folder)).read()
    return found


@pytest.fixture(scope="module")
def run():
    """One program for all that is refused, since nothing of it may be changed."""
    made = {}

    def get(*key):
        if key not in made:
            made[key] = Run(*key)
        return made[key]

    return get


def tampered(saved, folder, change, data="arrays", by="fit"):
    """Write a checkpoint whose state was changed into a folder."""
    original, whole = saved[data, by]
    shutil.copytree(original, folder, ignore=shutil.ignore_patterns("ckpt-*"))
    state, variables = copy.deepcopy(whole.state), list(whole.variables)
    state = change(state) or state
    iterators = [iter(dataset()) for _ in range(whole.iterators)]
    files = CheckpointStore(str(folder))
    files.write([tf.Variable(one) for one in variables], state, iterators)
    files.close()


def refused(folder, run, match=""):
    """Assert that a checkpoint is refused, and that nothing is changed by it."""
    before, files = run.everything(), contents(folder)
    with pytest.raises(ValueError, match=match) as caught:
        run.train(folder, resume=True)
    assert type(caught.value) is ValueError
    path = re.escape(str(folder / "ckpt-1"))
    assert re.search(rf"{path}|No checkpoint in .*ckpt-1: ", str(caught.value))
    assert run.everything() == before
    assert contents(folder) == files


def put(*names, to):
    """Return what puts a value at a place in a state."""

    def change(state):
        for name in names[:-1]:
            state = state[name]
        state[names[-1]] = to

    return change


def drop(*names):
    def change(state):
        for name in names[:-1]:
            state = state[name]
        del state[names[-1]]

    return change


def of_patient(**attributes):
    def change(state):
        next(its for name, its in state["callbacks"] if name == "Patient").update(
            attributes
        )

    return change


def of(callback, *names, to):
    def change(state):
        its = next(its for name, its in state["callbacks"] if name == callback)
        put(*names, to=to)(its)

    return change


def put_gauss(state):
    version, numbers, _ = state["random"]["python"]
    state["random"]["python"] = (version, numbers, "x")


def drop_own(state):
    its = next(its for name, its in state["callbacks"] if name == "WeightAveraging")
    del its["own"]


RANDOM = np.random.RandomState(0).get_state()
STATES = {
    "a list": (lambda state: [1], r"state\['variables'\] must be a list"),
    "a number": (lambda state: 5, r"state\['variables'\] must be a list"),
    "nothing": (lambda state: {"none": 1}, r"state\['variables'\] must be a list"),
    **{
        f"no {name}": (drop(name), f"must be a dict with '{name}'")
        for name in ("loop", "epoch", "callbacks", "others", "compiled", "random")
    },
    "no sources": (drop("sources"), "must be a dict with 'sources'"),
    "no reset": (drop("reset"), "must be a dict with 'reset'"),
    "no variables": (drop("variables"), r"state\['variables'\] must be a list"),
    "no seed": (drop("loop", "seed"), r"was saved in keras\.Model\.fit"),
    "no step": (drop("epoch", "step"), "must be a dict with 'step'"),
    "epoch -3": (put("loop", "epoch", to=-3), "must be a non-negative integer"),
    "epoch 1.5": (put("loop", "epoch", to=1.5), r"integer\. Received: 1\.5"),
    "epoch None": (put("loop", "epoch", to=None), "must be a non-negative integer"),
    "epoch True": (put("loop", "epoch", to=True), r"integer\. Received: True"),
    "epoch 2**70": (put("loop", "epoch", to=2**70), "must be a non-negative integer"),
    "seed a text": (put("loop", "seed", to="x"), r"'seed'\] must be a non-negative"),
    "steps -1": (put("loop", "steps_made", to=-1), "'steps_made'.* must be a non-neg"),
    "stopped": (put("loop", "stopped", to="yes"), r"'stopped'\] must be a boolean"),
    "loop None": (put("loop", to=None), r"state\['loop'\] must be a dict"),
    "epoch a list": (put("epoch", to=[]), r"state\['epoch'\] must be a dict"),
    "step -1": (put("epoch", "step", to=-1), "must be a non-negative integer"),
    "passes": (put("epoch", "passes", to="1"), "must be a non-negative integer"),
    "pass steps": (put("epoch", "pass_steps", to=99), "a pass of 99 steps is part"),
    "logs": (put("epoch", "logs", to={}), "must be a dict with 'values'"),
    "totals": (put("epoch", "logs", "totals", to={"a": 1}), "must be a list"),
    "one total": (put("epoch", "logs", "totals", to={"a": (1.0,)}), "of length 2"),
    "names": (put("epoch", "validation", to={1: 2}), "must be a string"),
    "callbacks": (put("callbacks", to={"a": 1}), r"\['callbacks'\] must be a list"),
    "one callback": (put("callbacks", 0, to="History"), "must be a list"),
    "its name": (put("callbacks", 0, to=(1, {})), "must be a string"),
    "others": (put("others", to=[]), r"\['others'\] must be a dict"),
    "compiled": (put("compiled", to=None), "around a model that was not a Trainer"),
    "made": (put("compiled", "train", "made", to=-1), "must be a non-negative"),
    "regular": (put("compiled", "train", "regular", to=3), "must be a list"),
    "random": (put("random", to={}), "random numbers of Python or NumPy"),
    "python": (put("random", "python", to=(3, np.zeros(3), None)), "random numbers of"),
    "gauss": (put_gauss, "random numbers of Python or NumPy"),
    "numpy": (put("random", "numpy", to=("MT19937",)), "random numbers of"),
    # NumPy would read beyond its numbers.
    "position": (
        put("random", "numpy", to=(*RANDOM[:2], 10**6, 0, 0.0)),
        "random numbers of .* position",
    ),
    "reset -1": (put("reset", to=[-1]), "must be a non-negative integer"),
    "reset 1000": (put("reset", to=[1000]), "number of reset must be less than"),
    "variables -": (drop("variables", -1), "the number of variables"),
    "description": (put("variables", 0, to=[1, 2]), "of length 4"),
    "shape": (put("variables", 0, 2, to=[3, 2]), r"must be of shape \(2, 2\)"),
    "dtype": (put("variables", 0, 3, to="int8"), "type float32, as its values"),
    "source": (put("sources", 0, to=[0]), "must be a list of length 4|of length 4"),
    "no seed of it": (put("sources", 0, 2, to={}), "the data must have 'seed'"),
    "its seed": (put("sources", 0, 2, "seed", to=-1), "must be a non-negative"),
    "its source": (put("sources", 0, 2, "x", to=1), "must not have 'x'"),
    "its iterator": (put("sources", 0, 3, to=[0]), "an iterator must be less than 0"),
    # Callbacks.
    "an argument": (of_patient(path="theirs"), "Patient saves no 'path'"),
    "hidden": (of_patient(_path="theirs"), "Patient saves no '_path'"),
    "a method": (of_patient(on_epoch_end="x"), "Patient saves no 'on_epoch_end'"),
    "a property": (of_patient(half=1.0), "Patient saves no 'half'"),
    "a function": (of_patient(function="x"), "Patient saves no 'function'"),
    "no name": (of_patient(**{"a b": 1}), "Patient saves no 'a b'"),
    "dunder": (of_patient(__class__="x"), "Patient saves no '__class__'"),
    "model": (of_patient(model=1, _model=2), "Patient saves no 'model'"),
    "hooks": (of_patient(set_state=1), "Patient saves no 'set_state'"),
    "a text": (of_patient(seen="5"), "must be of type int. Received: str"),
    "a list ": (of_patient(seen=[5]), "must be of type int. Received: list"),
    "a number ": (of_patient(name=5), "must be of type str. Received: int"),
    "a dict": (of_patient(values={}), "must be of type list. Received: dict"),
    "no state": (
        lambda state: put("callbacks", 0, to=("Patient", 5))(state),
        "state of the callback Patient must be a dict",
    ),
    "History": (of("History", "filepath", to="x"), "History saves no 'filepath'"),
    "a compiled hook": (
        of_patient(after_compiled_step="x"),
        "Patient saves no 'after_compiled_step'",
    ),
    "history": (
        of("History", "history", to={"loss": "x"}),
        "History must hold a list for each name",
    ),
    "long history": (
        of("History", "history", to={"loss": [1.0] * 99}),
        "History must hold a list for each name",
    ),
    "epochs of it": (of("History", "epoch", to=[-1]), "must be a non-negative"),
    "found": (of("NaNGuard", "found", to=[1]), "NaNGuard is not one that it accepts"),
    "rolled back": (of("NaNGuard", "rolled_back", to=-9), "rolled_back=-9"),
    "rows": (of("CSVLogger", "rows", to=-1), "rows=-1"),
    "columns": (of("CSVLogger", "columns", to=[1]), "`columns` must be names"),
    "average": (of("WeightAveraging", "values", to=[]), "must be arrays of shapes"),
    "counters": (of("WeightAveraging", "counters", to=["x"]), "counters='x'"),
    "own": (of("WeightAveraging", "own", to=[np.zeros(3)]), "arrays of shapes"),
    "own None": (drop_own, "WeightAveraging is not one.*'own'"),
}


@pytest.mark.parametrize("name", STATES)
def test_fit(name, saved, run, tmp_path):
    change, match = STATES[name]
    tampered(saved, tmp_path / "run", change)
    refused(tmp_path / "run", run(), match)


@pytest.mark.parametrize("name", ["best", "monitor_op"])
def test_keras_s_own_callbacks_hold_no_text(name):
    callbacks = [keras.callbacks.EarlyStopping("loss")]
    callbacks[0].on_train_begin()
    callback_state.check_states(callbacks, callback_state.get_states(callbacks))
    with pytest.raises(ValueError, match=f"'{name}' of the callback EarlyStopping"):
        callback_state.check_states(callbacks, [("EarlyStopping", {name: "x"})])


BY_HAND = {
    "other": (
        put("others", "counter", to={}),
        "'counter' is not one that it accepts.*'cou",
    ),
    "other a text": (put("others", "counter", "count", to="x"), "TypeError"),
    **{
        name: STATES[name]
        for name in ("epoch -3", "no seed of it", "an argument", "average", "compiled")
    },
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_loop_by_hand(name, saved, run, tmp_path):
    change, match = BY_HAND[name]
    tampered(saved, tmp_path / "run", change, by="loop")
    refused(tmp_path / "run", run("arrays", "loop"), match)


def held(*leaves, count=1, odd=False):
    piece = {"odd": odd, "count": count, "leaves": list(leaves)}
    return put("sources", 0, 2, "held", to=[piece])


READ_AHEAD = {
    "nothing held": (drop("sources", 0, 2, "held"), "'held'"),
    "held": (put("sources", 0, 2, "held", to=[1]), "must be a dict"),
    "no leaves": (held(), "batches that were read ahead do not match"),
    "one leaf": (held(X[:2]), "batches that were read ahead do not match"),
    "other shapes": (held(X[:2, :1], Y[:2]), "batches that were read ahead"),
    "other lengths": (held(X[:2], Y[:1]), "batches that were read ahead"),
    "other types": (held(X[:2], Y[:2].astype(int)), "batches that were read ahead"),
    "no arrays": (held(1, 2), "batches that were read ahead"),
    "no batch": (held(X[:2], Y[:2], count=0), "batches that were read ahead"),
    "batch size": (put("sources", 0, 2, "batch_size", to="x"), "must be a non-neg"),
    "iterators": (put("sources", 0, 3, to=[7]), "an iterator must be less than 2"),
}


@pytest.mark.parametrize("name", READ_AHEAD)
def test_a_dataset(name, saved, run, tmp_path):
    change, match = READ_AHEAD[name]
    tampered(saved, tmp_path / "run", change, data="dataset")
    refused(tmp_path / "run", run("dataset"), match)


@pytest.mark.parametrize("key", [("arrays", "fit"), ("arrays", "loop")])
def test_what_was_not_changed_is_taken(key, saved, tmp_path):
    """Otherwise all of this would say nothing."""
    tampered(saved, tmp_path / "run", lambda state: None, *key)
    run = Run(*key)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*state of a callback Leave")
        run.train(tmp_path / "run", resume=True)
    assert run.trainer.optimizer.iterations == 12
    assert run.patient.seen == 3
    assert run.patient.made_later == (2, "later")
    assert run.counter.count == (5 if key[1] == "loop" else 0)


class TestStockFit:
    @pytest.mark.parametrize(
        ("change", "match"),
        [
            (STATES[name][0], STATES[name][1])
            for name in ("epoch -3", "random", "position", "variables -", "shape")
        ],
    )
    def test_refused(self, change, match, tmp_path):
        def compiled():
            model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
            model.compile("adam", "mse")
            return model

        first, second = compiled(), compiled()
        first.fit(X, X, verbose=0, callbacks=[Checkpoint(tmp_path / "good")])
        good = CheckpointStore(str(tmp_path / "good")).read()
        change(good.state)
        files = CheckpointStore(str(tmp_path / "bad"))
        files.write([tf.Variable(one) for one in good.variables], good.state)
        files.close()
        before = random.getstate(), [one.tolist() for one in second.get_weights()]
        with pytest.raises(ValueError, match=match):
            second.fit(X, X, verbose=0, callbacks=[Checkpoint(tmp_path / "bad")])
        with pytest.raises(ValueError, match=r"bad.ckpt-1' cannot be used"):
            assert Checkpoint(tmp_path / "bad").next_epoch
        after = random.getstate(), [one.tolist() for one in second.get_weights()]
        assert after == before


def test_a_path_of_keras_stays(tmp_path):
    """ModelCheckpoint and RemoteMonitor send where they were told to."""

    def train(folder, resume):
        run = Run()
        best = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", "loss")
        run.trainer.fit(
            X,
            Y,
            verbose=0,
            epochs=1 + resume,
            callbacks=[best, Checkpoint(folder)],
            resume=resume,
        )

    train(tmp_path / "good", resume=False)
    good = CheckpointStore(str(tmp_path / "good")).read()
    of("ModelCheckpoint", "filepath", to=str(tmp_path / "theirs.keras"))(good.state)
    files = CheckpointStore(str(tmp_path / "bad"))
    files.write([tf.Variable(one) for one in good.variables], good.state)
    files.close()
    with pytest.raises(ValueError, match="ModelCheckpoint saves no 'filepath'"):
        train(tmp_path / "bad", resume=True)
    assert not (tmp_path / "theirs.keras").exists()
    train(tmp_path / "good", resume=True)


# What is said to be in the files.


def test_tensors_that_share_their_bytes(tmp_path):
    """A small file that says it holds a thousand large tensors."""
    path = write_sharing(tmp_path, tensors=1000, size=250_000)
    assert sum(one.stat().st_size for one in tmp_path.iterdir()) < 2e6
    # TensorFlow reads them.
    reader = tf.train.load_checkpoint(path)
    assert len(reader.get_variable_to_shape_map()) == 1002
    assert reader.get_tensor("variables/999/.ATTRIBUTES/VARIABLE_VALUE").sum() == 0
    with pytest.raises(ValueError, match=r"ckpt-1: its tensors .* 1000\d{6} bytes"):
        CheckpointStore(str(tmp_path)).read()


def test_variables_are_compared_before_they_are_read(saved, tmp_path, monkeypatch):
    """However large they are."""
    tampered(saved, tmp_path / "run", lambda state: None)
    trainer = keras_ext.Trainer(
        keras.Sequential(
            [keras.Input((2,)), keras.layers.Dense(3), keras.layers.Dense(1)]
        )
    )
    trainer.compile("adam", "mse")
    reader = type(tf.train.load_checkpoint(str(tmp_path / "run" / "ckpt-1")))
    read, get_tensor = [], reader.get_tensor
    monkeypatch.setattr(
        reader,
        "get_tensor",
        lambda self, name: read.append(name) or get_tensor(self, name),
    )
    with pytest.raises(ValueError, match="is that of another run"):
        trainer.fit(
            X, Y, verbose=0, callbacks=[Checkpoint(tmp_path / "run")], resume=True
        )
    assert read == ["state/.ATTRIBUTES/py_state"]


def test_other_tensors_than_a_checkpoint_has(tmp_path):
    folder = tmp_path / "run"
    files = CheckpointStore(str(folder))
    files.write([tf.Variable(1.0)], 1)
    files.close()
    names = [name for name, _ in tf.train.list_variables(str(folder / "ckpt-1"))]
    reader = tf.train.load_checkpoint(str(folder / "ckpt-1"))
    tensors = [reader.get_tensor(name) for name in names]
    tf.raw_ops.SaveV2(
        prefix=str(folder / "ckpt-1"),
        tensor_names=[*names, "more"],
        shape_and_slices=[""] * (len(names) + 1),
        tensors=[*map(tf.constant, tensors), tf.constant(1)],
    )
    with pytest.raises(ValueError, match="ckpt-1: it holds 'more', which Checkpoint"):
        CheckpointStore(str(folder)).read()


@pytest.mark.parametrize(
    "text",
    [
        "5",
        "{}",
        '{"variables": -1, "state": 1}',
        '{"variables": 9, "state": 1}',
        '{"variables": "1", "state": 1}',
        '{"variables": 1, "state": {"__kind__": "tensor", "array": 0}}',
        '{"variables": 1, "state": {"__kind__": "array", "array": 0}}',
        '{"variables": 0, "state": {"__kind__": "array", "array": -1}}',
        '{"variables": 0, "state": {"__kind__": "number", "array": 0}}',
        '{"variables": 0, "state": {"__kind__": "tuple", "items": 5}}',
        '{"variables": 0, "state": {"__kind__": "set", "items": [[1]]}}',
        '{"variables": 0, "state": {"__kind__": "dict", "items": [1]}}',
        '{"variables": 0, "state": {"__kind__": ["dict"]}}',
        '{"variables": 0, "state": ' + "[" * 100_000 + "]" * 100_000 + "}",
        "nonsense",
    ],
)
def test_a_text_that_is_no_state(text, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "keras_ext.training.resume.store.pack", lambda value: (text, [])
    )
    files = CheckpointStore(str(tmp_path))
    files.write([tf.Variable([1.0, 2.0])], None)
    files.close()
    with pytest.raises(ValueError, match=r"No checkpoint in .* can be read\. ckpt-1: "):
        files.read()
