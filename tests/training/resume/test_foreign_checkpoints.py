"""A run that is continued with another program: refused, and nothing is changed."""

import os
import re
import shutil

import keras
import pytest
import tensorflow as tf

from keras_ext import Loop, Trainer
from keras_ext.callbacks import Checkpoint, CSVLogger
from tests.training.folders import contents
from tests.training.problems import TARGETS, X, make_step

pytestmark = pytest.mark.once


def network(*, width=4, layers=1, kind="Dense", outputs=1, dtype="float32"):
    def layer(units, activation):
        if kind == "Dense":
            return keras.layers.Dense(units, activation, dtype=dtype)
        return keras.layers.EinsumDense(
            "ab,bc->ac", units, bias_axes="c", activation=activation, dtype=dtype
        )

    hidden = [layer(width, "tanh") for _ in range(layers)]
    return keras.Sequential([keras.Input((6,)), *hidden, layer(outputs, None)])


def dataset(samples=70, batch_size=16):
    data = tf.data.Dataset.from_tensor_slices((X[:samples], TARGETS[:samples]))
    return data.batch(batch_size)


OPTIMIZERS = {
    "Adam": lambda: keras.optimizers.Adam(0.01),
    "RMSprop": lambda: keras.optimizers.RMSprop(0.01),
    "SGD": lambda: keras.optimizers.SGD(0.01),
    "momentum": lambda: keras.optimizers.SGD(0.01, momentum=0.9),
    "average": lambda: keras.optimizers.Adam(0.01, use_ema=True),
}


class Fit:
    """Training with `Trainer.fit`."""

    def __init__(self, model, optimizer, metrics=()):
        self.model, self.optimizer = model, optimizer
        self.trainer = Trainer(model, seed=0)
        self.trainer.compile(optimizer, "mse", metrics=[*metrics], jit_compile=False)

    def train(self, data, *, batch_size=None, steps=None, **options):
        x, y = (data, None) if isinstance(data, tf.data.Dataset) else data
        self.trainer.fit(
            x, y, batch_size=batch_size, steps_per_epoch=steps, verbose=0, **options
        )


class ByHand:
    """Training with a `Loop`, of a model that is not compiled."""

    def __init__(self, model, optimizer, metrics=()):
        self.model, self.optimizer = model, optimizer
        optimizer.build(model.trainable_variables)
        self._step = make_step(model, optimizer)

    def train(self, data, *, batch_size=None, steps=None, **options):
        loop = Loop(self.model, optimizer=self.optimizer, seed=0, verbose=0, **options)
        for epoch in loop:
            for x, y in epoch.batches(data, batch_size, steps=steps):
                epoch.log(self._step(x, y))


DRIVERS = [Fit, ByHand]


class EndAt(keras.callbacks.Callback):
    """Has training break off, behind what was saved, as a kill would."""

    batch_hook_freq = 1

    def __init__(self, epoch):
        super().__init__()
        self._epoch = epoch

    def get_state(self):
        return {}

    def set_state(self, state):
        pass

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self._epoch:
            raise InterruptedError


def variables(driver):
    """Return the values of the model's variables and of the optimizer's."""
    found = [*driver.model.variables, *driver.optimizer.variables]
    return [keras.ops.convert_to_numpy(one).tolist() for one in found]


@pytest.fixture(params=DRIVERS)
def driver(request):
    return request.param


places = pytest.mark.parametrize(
    ("driver", "within"),
    [(Fit, False), (Fit, True), (ByHand, True)],
    ids=["fit, between epochs", "fit, within one", "by hand, within one"],
)

# The two that differ most, for what has many cases.
far_places = pytest.mark.parametrize(
    ("driver", "within"),
    [(Fit, False), (ByHand, True)],
    ids=["fit, between epochs", "by hand, within one"],
)


@pytest.fixture
def folder(tmp_path):
    """A folder for checkpoints and a log; the tests compare all that is in it."""
    return tmp_path / "run"


def callbacks_in(folder, save_freq):
    return [CSVLogger(folder / "log.csv"), Checkpoint(folder, save_freq=save_freq)]


SAVED = {}
"""Folders of runs that were trained before, by what was trained."""


@pytest.fixture(scope="module", autouse=True)
def _saved_runs(tmp_path_factory):
    SAVED.clear()
    SAVED["root"] = tmp_path_factory.mktemp("saved")
    yield
    SAVED.clear()


def save(driver, folder, *, within, data="arrays", optimizer="Adam", layers=1):
    """Train, be killed after a row was logged that no checkpoint knows.

    Saved after step 7 (of 5 an epoch), or after the first epoch.
    """
    key = driver.__name__, within, data, optimizer, layers
    if key not in SAVED:
        saved = SAVED["root"] / str(len(SAVED))
        train_and_be_killed(driver, saved, *key[1:])
        SAVED[key] = saved
    shutil.copytree(SAVED[key], folder)


def train_and_be_killed(driver, folder, within, data, optimizer, layers):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    first = driver(network(layers=layers), OPTIMIZERS[optimizer]())
    callbacks = [
        *callbacks_in(folder, save_freq=7 if within else "epoch"),
        EndAt(epoch=1),
    ]
    arguments = {"data": (X, TARGETS), "batch_size": 16}
    if data == "dataset":
        arguments = {"data": dataset(), "batch_size": None}
    with pytest.raises(InterruptedError):
        first.train(**arguments, epochs=4, callbacks=callbacks)
    assert len((folder / "log.csv").read_text().splitlines()) == 3
    found = Checkpoint(folder).files.read().state
    assert found["loop"]["epoch"] == 1
    assert (found["epoch"] is not None) == within


def resume(driver, folder, *, within, **options):
    arguments = {
        "batch_size": 16,
        "epochs": 4,
        "callbacks": [*callbacks_in(folder, 7 if within else "epoch"), EndAt(9)],
        "resume": True,
        **options,
    }
    driver.train(arguments.pop("data", (X, TARGETS)), **arguments)


def refused(driver, folder, match, error=ValueError, **options):
    """Assert that nothing but an error comes of it."""
    files, weights = contents(folder), variables(driver)
    with pytest.raises(error, match=match):
        resume(driver, folder, **options)
    # The checkpoints and the log.
    assert contents(folder) == files
    # An optimizer that was not built may have more variables than before.
    assert variables(driver)[: len(weights)] == weights


def another_run(path=r".*ckpt-\d+"):
    return rf"The checkpoint '{path}' is that of another run: "


within = pytest.mark.parametrize("within", [False, True], ids=["between", "within"])


KERNEL = r"'\w+/dense(_\d+)?/kernel' of shape \(6, 4\) and type float32"

ARCHITECTURES = {
    "one more layer": ({"layers": 2}, r"(which exists now|Received: )"),
    "one layer less": ({"layers": 0}, r"(which is missing now|Received: )"),
    "other width": ({"width": 5}, KERNEL + r", .*Received: .* of shape \(6, 5\)"),
    "other outputs": (
        {"outputs": 2},
        r"/kernel' of shape \(4, 1\).*Received: .*of shape \(4, 2\)",
    ),
    "other type of layer": (
        {"kind": "EinsumDense"},
        KERNEL + r", .*Received: .*einsum_dense(_\d+)?/kernel'",
    ),
    "other type of numbers": (
        {"dtype": "float64"},
        KERNEL + r", .*Received: .* of shape \(6, 4\) and type float64",
    ),
    "other precision": (
        {"dtype": "bfloat16"},
        KERNEL + r", .*Received: .* of shape \(6, 4\) and type bfloat16",
    ),
}


@far_places
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_another_architecture(driver, folder, within, name):
    save(driver, folder, within=within)
    changes, message = ARCHITECTURES[name]
    second = driver(network(**changes), OPTIMIZERS["Adam"]())
    refused(second, folder, another_run() + ".*" + message, within=within)


@places
def test_an_architecture_of_the_same_layers(driver, folder, within):
    """What is refused is another shape, not another object."""
    save(driver, folder, within=within)
    second = driver(network(), OPTIMIZERS["Adam"]())
    resume(second, folder, within=within)
    rows = (folder / "log.csv").read_text().splitlines()[1:]
    assert [row.split(",")[:2] for row in rows] == [
        ["0", "5"],
        ["1", "10"],
        ["2", "15"],
        ["3", "20"],
    ]


@far_places
@pytest.mark.parametrize(
    ("saved", "now", "message"),
    [
        ("Adam", "RMSprop", "'adam/iteration'.*Received: .*'rm_?sprop/iteration'"),
        ("Adam", "SGD", "'adam/iteration'.*Received: .*'(?i:sgd)/iteration'"),
        ("SGD", "Adam", "'(?i:sgd)/iteration'.*Received: .*'adam/iteration'"),
        (
            "SGD",
            "momentum",
            "lacks the optimizer's variable '(?i:sgd)/.*momentum'",
        ),
        (
            "momentum",
            "SGD",
            "has the optimizer's variable '(?i:sgd)/.*momentum'",
        ),
        ("Adam", "average", "the optimizer's variable 'adam/.*(now|Received)"),
    ],
)
def test_another_optimizer(driver, folder, within, saved, now, message):
    save(driver, folder, within=within, optimizer=saved)
    second = driver(network(), OPTIMIZERS[now]())
    refused(second, folder, another_run() + ".*" + message, within=within)


DATA = {
    "fewer samples": (
        {"data": (X[:60], TARGETS[:60])},
        r"its data had samples=70, .*Received: samples=60, ",
    ),
    "one sample less": (
        {"data": (X[:69], TARGETS[:69])},
        r"its data had samples=70, .*batches=5.*Received: samples=69, .*batches=5",
    ),
    "other batch size": (
        {"batch_size": 14},
        r"samples=70, batch_size=16, .*Received: samples=70, batch_size=14",
    ),
    "fewer steps": ({"steps": 4}, r"batches=5.*Received: .*batches=4"),
    "a dataset": (
        {"data": dataset(), "batch_size": None},
        r"its data had samples=70, .*Received: batches=5",
    ),
}


@far_places
@pytest.mark.parametrize("name", DATA)
def test_other_data(driver, folder, within, name):
    save(driver, folder, within=within)
    changes, message = DATA[name]
    second = driver(network(), OPTIMIZERS["Adam"]())
    refused(second, folder, another_run() + ".*" + message, within=within, **changes)


@far_places
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": 50}, r"had batches=5\. Received: batches=4\."),
        ({"batch_size": 10}, r"had batches=5\. Received: batches=7\."),
    ],
    ids=["samples", "batch size"],
)
def test_another_dataset(driver, folder, within, changes, message):
    save(driver, folder, within=within, data="dataset")
    second = driver(network(), OPTIMIZERS["Adam"]())
    message = another_run() + ".*" + message
    options = {"data": dataset(**changes), "batch_size": None}
    refused(second, folder, message, within=within, **options)


@far_places
def test_arrays_instead_of_a_dataset(driver, folder, within):
    save(driver, folder, within=within, data="dataset")
    second = driver(network(), OPTIMIZERS["Adam"]())
    message = another_run() + r".*had batches=5\. Received: samples=70, "
    refused(second, folder, message, within=within)


@within
def test_other_metrics_within_an_epoch(folder, within):
    """Between epochs there is nothing in them that is to be restored."""
    save(Fit, folder, within=within)
    second = Fit(network(), OPTIMIZERS["Adam"](), metrics=["mae"])
    if within:
        message = another_run() + ".*metrics's variable"
        refused(second, folder, message, within=within)
    else:
        resume(second, folder, within=within)
        assert len((folder / "log.csv").read_text().splitlines()) == 5


# An architecture that shows only when the first batch comes.


@within
@pytest.mark.parametrize(("width", "fits"), [(4, True), (5, False)])
def test_a_model_that_is_not_built(folder, within, width, fits):
    def unbuilt(width):
        layers = [keras.layers.Dense(width, "tanh"), keras.layers.Dense(1)]
        return Fit(keras.Sequential(layers), OPTIMIZERS["Adam"]())

    callbacks = [*callbacks_in(folder, 7 if within else "epoch"), EndAt(1)]
    with pytest.raises(InterruptedError):
        unbuilt(4).train((X, TARGETS), batch_size=16, epochs=4, callbacks=callbacks)
    before = contents(folder)
    second = unbuilt(width)
    if fits:
        resume(second, folder, within=within)
        assert len((folder / "log.csv").read_text().splitlines()) == 5
        return
    message = another_run() + r".*of shape \(6, 4\).*of shape \(6, 5\)"
    with pytest.raises(ValueError, match=message):
        resume(second, folder, within=within)
    assert contents(folder) == before


# Folders.


def test_no_such_folder(driver, tmp_path):
    first = driver(network(), OPTIMIZERS["SGD"]())
    weights = variables(first)
    missing = tmp_path / "missing"
    for folder in (str(missing), missing):
        message = rf"there is no checkpoint in '{re.escape(str(missing))}'"
        with pytest.raises(FileNotFoundError, match=message):
            first.train((X, TARGETS), resume=folder)
    assert list(tmp_path.iterdir()) == []
    assert variables(first) == weights


def test_no_such_folder_and_a_checkpoint_for_another(driver, tmp_path):
    first = driver(network(), OPTIMIZERS["SGD"]())
    callbacks = [Checkpoint(tmp_path / "new")]
    with pytest.raises(FileNotFoundError, match=r"no checkpoint in .*old"):
        first.train((X, TARGETS), resume=tmp_path / "old", callbacks=callbacks)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("resume_from", [True, "./run"])
def test_a_new_run_is_begun_in_the_folder_of_the_checkpoint(
    driver, tmp_path, resume_from, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    first = driver(network(), OPTIMIZERS["SGD"]())
    first.train((X, TARGETS), resume=resume_from, callbacks=[Checkpoint("run")])
    saved = Checkpoint(tmp_path / "run").files.read()
    assert saved.state["loop"]["epoch"] == 1
    assert saved.variables[0].tolist() == variables(first)[0]


@pytest.mark.parametrize("resume_from", [True, "run"])
def test_another_working_directory(driver, tmp_path, resume_from, monkeypatch):
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)

    def train(save_in, *more, **options):
        away = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: os.chdir(tmp_path / "other")
        )
        away.batch_hook_freq = "epoch"
        trained = driver(network(), OPTIMIZERS["SGD"]())
        checkpoint = Checkpoint(save_in, save_freq=3)
        callbacks = [checkpoint, CSVLogger("log.csv"), away, *more]
        trained.train(dataset(), callbacks=callbacks, **options)
        assert checkpoint.directory == save_in

    keras.utils.set_random_seed(1)
    with pytest.raises(InterruptedError):
        train("run", EndAt(1), epochs=3)
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(2)
    train("run" if resume_from is True else "new", epochs=3, resume=resume_from)
    assert os.listdir(tmp_path / "other") == []
    monkeypatch.chdir(tmp_path)
    saved = Checkpoint("run" if resume_from is True else "new").files.read()
    assert saved.state["loop"]["steps_made"] == 15
    keras.utils.set_random_seed(1)
    whole = driver(network(), OPTIMIZERS["SGD"]())
    whole.train(dataset(), epochs=3)
    assert saved.variables[0].tolist() == variables(whole)[0]
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 4


def test_a_working_directory_that_is_a_pattern(tmp_path, monkeypatch):
    (tmp_path / "runs[1]").mkdir()
    monkeypatch.chdir(tmp_path / "runs[1]")
    with pytest.raises(
        ValueError, match=r"Received: 'run', which is '.*runs\[1\].run'"
    ):
        Checkpoint("run")


@far_places
def test_a_folder_that_is_used(driver, folder, within):
    save(driver, folder, within=within)
    second = driver(network(), OPTIMIZERS["Adam"]())
    message = rf"'{re.escape(str(folder))}' holds the checkpoints of an earlier run"
    refused(
        second,
        folder,
        message + r"\. Pass `resume=True`",
        FileExistsError,
        within=within,
        resume=False,
    )


def test_another_run_than_that_of_the_folder(driver, tmp_path):
    save(driver, tmp_path / "first", within=False)
    save(driver, tmp_path / "second", within=False)
    third = driver(network(), OPTIMIZERS["Adam"]())
    refused(
        third,
        tmp_path,
        r"second' holds the checkpoints of an earlier run, but another .*first'",
        FileExistsError,
        within=False,
        resume=tmp_path / "first",
        callbacks=[Checkpoint(tmp_path / "second")],
    )


def test_a_run_is_continued_in_another_folder(driver, tmp_path):
    save(driver, tmp_path / "first", within=False)
    before = contents(tmp_path / "first")
    second = driver(network(), OPTIMIZERS["Adam"]())
    with pytest.warns(UserWarning, match="state of a callback CSVLogger"):
        resume(
            second,
            tmp_path,
            within=False,
            resume=str(tmp_path / "first"),
            callbacks=[Checkpoint(tmp_path / "second"), EndAt(9)],
        )
    assert contents(tmp_path / "first") == before
    saved = Checkpoint(tmp_path / "second").files.read()
    assert saved.state["loop"] == {
        "epoch": 4,
        "seed": 0,
        "steps_made": 20,
        "stopped": False,
    }


def test_a_folder_that_is_a_pattern(driver, tmp_path):
    first = driver(network(), OPTIMIZERS["SGD"]())
    weights = variables(first)
    with pytest.raises(ValueError, match=r"must not contain any of .*run\*"):
        first.train((X, TARGETS), resume=tmp_path / "run*")
    with pytest.raises(ValueError, match=r"must not contain any of .*run\["):
        Checkpoint(tmp_path / "run[1]")
    assert variables(first) == weights
    assert list(tmp_path.iterdir()) == []


def test_resume_without_a_checkpoint(driver, tmp_path):
    first = driver(network(), OPTIMIZERS["SGD"]())
    weights = variables(first)
    message = r"there is none. Pass `callbacks=\[keras_ext.callbacks.Checkpoint"
    with pytest.raises(ValueError, match=message):
        first.train((X, TARGETS), resume=True)
    assert variables(first) == weights


def test_resume_of_a_wrong_type(driver, tmp_path):
    first = driver(network(), OPTIMIZERS["SGD"]())
    weights = variables(first)
    callbacks = [Checkpoint(tmp_path / "run")]
    for wrong in (None, 1, 0, 3.5, ["run"], {"run": True}, b"run"):
        message = (
            r"`resume` must be True, False or a folder with checkpoints\. "
            rf"Received: {re.escape(repr(wrong))} of type {type(wrong).__name__}"
        )
        with pytest.raises(TypeError, match=message):
            first.train((X, TARGETS), resume=wrong, callbacks=callbacks)
        with pytest.raises(TypeError, match=message):
            first.train((X, TARGETS), resume=wrong)
    assert variables(first) == weights
    assert list(tmp_path.iterdir()) == []


def test_two_checkpoints(driver, folder, tmp_path):
    save(driver, folder, within=False)
    second = driver(network(), OPTIMIZERS["Adam"]())
    callbacks = [Checkpoint(folder), Checkpoint(tmp_path / "other")]
    message = r"Expected one Checkpoint among the callbacks\. Received: 2, .*run.*other"
    refused(second, tmp_path, message, within=False, callbacks=callbacks)


def test_a_damaged_checkpoint_alone(driver, folder):
    save(driver, folder, within=False)
    for index in folder.glob("*.index"):
        index.write_bytes(b"nonsense")
    second = driver(network(), OPTIMIZERS["Adam"]())
    message = r"No checkpoint in .*run' can be read\. ckpt-1: "
    refused(second, folder, message, within=False)


def test_checkpoints_of_somebody_else(driver, folder):
    """They are passed over, and never touched; nor is the file that names them."""
    save(driver, folder, within=False)
    other = tf.train.Checkpoint(v=tf.Variable(1.0))
    manager = tf.train.CheckpointManager(other, str(folder), 3)
    manager.save(checkpoint_number=9)
    theirs = {
        name: content
        for name, content in contents(folder).items()
        if name == "checkpoint" or name.startswith("ckpt-9")
    }
    assert len(theirs) == 3
    second = driver(network(layers=2), OPTIMIZERS["Adam"]())
    passed_over = "left alone: ckpt-9: it was not written by"
    with pytest.warns(UserWarning, match=passed_over):
        refused(second, folder, another_run(".*ckpt-1"), within=False)
    third = driver(network(), OPTIMIZERS["Adam"]())
    with pytest.warns(UserWarning, match=passed_over):
        resume(third, folder, within=False)
    assert len((folder / "log.csv").read_text().splitlines()) == 5
    after = contents(folder)
    assert {name: after[name] for name in theirs} == theirs


# Other callbacks.


def test_a_log_that_keras_would_erase(driver, folder):
    save(driver, folder, within=False)
    second = driver(network(), OPTIMIZERS["Adam"]())
    log = folder / "keras.csv"
    log.write_text("epoch,loss\n0,1.0\n")
    callbacks = [keras.callbacks.CSVLogger(str(log)), Checkpoint(folder)]
    message = "keras.callbacks.CSVLogger would erase the rows"
    refused(second, folder, message, within=False, callbacks=callbacks)


def test_a_log_of_keras_that_is_appended_to(driver, folder):
    callbacks = [Checkpoint(folder)]
    driver(network(), OPTIMIZERS["Adam"]()).train((X, TARGETS), callbacks=callbacks)
    log = folder / "keras.csv"
    log.write_text("epoch,loss\n0,1.0\n")
    callbacks = [keras.callbacks.CSVLogger(str(log), append=True), Checkpoint(folder)]
    second = driver(network(), OPTIMIZERS["Adam"]())
    with pytest.warns(UserWarning, match="no state for CSVLogger, which begins again"):
        resume(
            second, folder, within=False, callbacks=callbacks, batch_size=None, epochs=3
        )
    rows = log.read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "0", "1", "2"]


def test_a_log_of_keras_in_a_new_run(driver, folder, tmp_path):
    first = driver(network(), OPTIMIZERS["Adam"]())
    log = tmp_path / "keras.csv"
    log.write_text("old")
    callbacks = [keras.callbacks.CSVLogger(str(log)), Checkpoint(folder)]
    resume(first, folder, within=False, callbacks=callbacks, epochs=1)
    rows = log.read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "0"]


class Counter(keras.callbacks.Callback):
    """Has a state."""

    def __init__(self):
        super().__init__()
        self.epochs_seen = 0

    def on_epoch_end(self, epoch, logs=None):
        self.epochs_seen += 1


class Nothing(keras.callbacks.Callback):
    """Has none."""


@far_places
def test_a_callback_that_is_missing(driver, folder, within):
    frequency = 7 if within else "epoch"
    callbacks = [Counter(), Checkpoint(folder, save_freq=frequency), EndAt(1)]
    first = driver(network(), OPTIMIZERS["Adam"]())
    with pytest.raises(InterruptedError):
        first.train((X, TARGETS), batch_size=16, epochs=3, callbacks=callbacks)
    second = driver(network(), OPTIMIZERS["Adam"]())
    with pytest.warns(UserWarning, match="state of a callback Counter, which is not"):
        resume(second, folder, within=within, callbacks=callbacks[1:2], epochs=3)


@far_places
def test_a_callback_that_is_new(driver, folder, within):
    frequency = 7 if within else "epoch"
    callbacks = [Checkpoint(folder, save_freq=frequency), EndAt(1)]
    first = driver(network(), OPTIMIZERS["Adam"]())
    with pytest.raises(InterruptedError):
        first.train((X, TARGETS), batch_size=16, epochs=3, callbacks=callbacks)
    second, counter = driver(network(), OPTIMIZERS["Adam"]()), Counter()
    with pytest.warns(UserWarning, match="no state for Counter, which begins again"):
        resume(
            second, folder, within=within, callbacks=[counter, callbacks[0]], epochs=3
        )
    assert counter.epochs_seen == 2


def test_several_callbacks_of_one_class(driver, folder):
    """They are told apart by their order; one that is too many is warned about."""
    callbacks = [Counter(), Nothing(), Counter(), Checkpoint(folder)]
    callbacks[2].epochs_seen = 100
    driver(network(), OPTIMIZERS["Adam"]()).train(
        (X, TARGETS), batch_size=16, epochs=1, callbacks=callbacks
    )
    counters = [Counter() for _ in range(3)]
    second = driver(network(), OPTIMIZERS["Adam"]())
    message = "no state for Counter"
    with pytest.warns(UserWarning, match=message) as caught:
        resume(
            second,
            folder,
            within=False,
            callbacks=[*counters, Checkpoint(folder)],
            epochs=3,
        )
    assert len([one for one in caught if message in str(one.message)]) == 1
    assert [one.epochs_seen for one in counters] == [3, 103, 2]


def test_callbacks_without_state_come_and_go(driver, folder):
    callbacks = [Checkpoint(folder), Nothing()]
    driver(network(), OPTIMIZERS["Adam"]()).train(
        (X, TARGETS), batch_size=16, epochs=1, callbacks=callbacks
    )
    second = driver(network(), OPTIMIZERS["Adam"]())
    callbacks = [keras.callbacks.LambdaCallback(), Checkpoint(folder)]
    resume(second, folder, within=False, callbacks=callbacks, epochs=2)
    assert Checkpoint(folder).next_epoch == 2


# `state=`, and what is logged.


def test_a_state_that_has_none():
    model = network()
    for useless in (object(), 5, "text", None, [], [1], {}, len):
        message = (
            r"`state` has 'thing', which has neither variables nor the methods.*"
            rf"of type {type(useless).__name__}"
        )
        with pytest.raises(TypeError, match=message):
            Loop(model, verbose=0, state={"thing": useless})


def metric_loop(folder, *, epochs, steps_saved, in_state, **options):
    """Train with a metric of one's own, and return its values at the epochs' ends."""
    driver, mean = ByHand(network(), OPTIMIZERS["Adam"]()), keras.metrics.Mean("mine")
    loop = Loop(
        driver.model,
        optimizer=driver.optimizer,
        epochs=epochs,
        callbacks=[Checkpoint(folder, save_freq=steps_saved)],
        seed=0,
        verbose=0,
        state={"mine": mean} if in_state else None,
        **options,
    )
    for epoch in loop:
        for x, y in epoch.batches((X, TARGETS), 16):
            mean.update_state(driver._step(x, y)["loss"])
            epoch.log({"mine": mean})
    return loop.history.history["mine"]


def test_a_metric_that_belongs_to_nothing(folder):
    message = (
        r"The metric 'mine' is logged, but belongs neither to the model nor to "
        r"`state`.*Pass `Loop\(..., state=\{'mine': metric\}\)`"
    )
    with pytest.raises(ValueError, match=message):
        metric_loop(folder, epochs=2, steps_saved=2, in_state=False)
    assert contents(folder) == {}


def test_a_metric_that_belongs_to_nothing_between_epochs(folder, tmp_path):
    whole = metric_loop(folder, epochs=2, steps_saved="epoch", in_state=False)
    other = tmp_path / "other"
    keras.utils.set_random_seed(1234)
    expected = metric_loop(other, epochs=2, steps_saved=2, in_state=True)
    keras.utils.set_random_seed(1234)
    first = metric_loop(
        tmp_path / "third", epochs=1, steps_saved="epoch", in_state=False
    )
    assert first == whole[:1]
    second = metric_loop(
        tmp_path / "third", epochs=2, steps_saved="epoch", in_state=False, resume=True
    )
    assert second == expected
    assert len(second) == 2


# The same program, whose layers have other names.


@places
def test_layers_that_keras_has_named_otherwise(driver, folder, within):
    keras.utils.set_random_seed(1)
    whole = driver(network(layers=2), OPTIMIZERS["Adam"]())
    options = {"batch_size": 16, "epochs": 4}
    whole.train((X, TARGETS), **options)
    keras.utils.clear_session(free_memory=False)
    save(driver, folder, within=within, layers=2)
    network(layers=3)
    second = driver(network(layers=2), OPTIMIZERS["Adam"]())
    names = [one.path for one in second.model.variables]
    assert names != [one.path for one in whole.model.variables]
    assert variables(second) != variables(whole)
    resume(second, folder, within=within)
    assert variables(second) == variables(whole)
