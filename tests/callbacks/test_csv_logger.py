"""A log with honest columns, from which nothing is ever lost."""

import csv
import io
import os
import shutil
import stat

import keras
import numpy as np
import pytest

import keras_ext
from keras_ext.callbacks import CSVLogger, LearningRateScheduler
from tests.markers import needs_multi_optimizer, needs_tensorflow

pytestmark = pytest.mark.once

_rng = np.random.default_rng(3)
X = _rng.normal(size=(20, 3)).astype("float32")
Y = (X @ _rng.normal(size=(3, 2))).astype("float32")
BATCH_SIZE = 4  # 5 steps an epoch
FIXED = ["epoch", "step", "seconds", "learning_rate"]


def compiled(optimizer=None, metrics=(), **kwargs):
    keras.utils.set_random_seed(5)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(
        optimizer or keras.optimizers.SGD(0.125),
        loss="mse",
        metrics=list(metrics),
        run_eagerly=True,
        **kwargs,
    )
    return model


def fit(model, *callbacks, epochs=1, **kwargs):
    return model.fit(
        X,
        Y,
        batch_size=BATCH_SIZE,
        epochs=epochs,
        verbose=0,
        callbacks=list(callbacks),
        **kwargs,
    )


def drive(*callbacks, epochs=1):
    """Call the hooks as `fit` does, without a model: where only the file matters."""
    hooks = keras.callbacks.CallbackList(list(callbacks), epochs=epochs, steps=5)
    hooks.on_train_begin()
    for epoch in range(epochs):
        hooks.on_epoch_begin(epoch)
        for batch in range(5):
            hooks.on_train_batch_begin(batch)
            hooks.on_train_batch_end(batch, {"loss": 0.5})
        hooks.on_epoch_end(epoch, {"loss": 0.5})
    hooks.on_train_end()


def read(path, separator=","):
    """Return the columns and the rows, as another program would read them."""
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, delimiter=separator, strict=True)
        rows = list(reader)
    for row in rows:
        assert None not in row, f"a cell without a column in {row}"
        assert None not in row.values(), f"a column without a cell in {row}"
    return reader.fieldnames, rows


def column(path, name):
    return [row[name] for row in read(path)[1]]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.csv"


class Vector(keras.metrics.Metric):
    """A metric with one value per output."""

    def __init__(self):
        super().__init__(name="vector")
        self.total = self.add_variable((2,), "zeros", name="total")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.total.assign_add([0.5, 0.25])

    def result(self):
        return keras.ops.stack([self.total[0], self.total[1]])


class Hooks(keras.callbacks.Callback):
    """Calls a function in one hook, and adds to the logs what it returns."""

    def __init__(self, **hooks):
        super().__init__()
        for name, function in hooks.items():
            setattr(self, name, self._hook(function))

    def _hook(self, function):
        def hook(number, logs=None):
            result = function(number)
            if isinstance(result, dict):
                logs.update(result)

        return hook


def crash_at(batch):
    def crash(number):
        if number == batch:
            raise KeyboardInterrupt

    return Hooks(on_train_batch_end=crash)


class TestColumns:
    def test_everything_of_keras_and_four_more(self, path, tmp_path):
        keras_path = tmp_path / "keras.csv"
        fit(
            compiled(metrics=["mape", "mae"]),
            keras.callbacks.CSVLogger(keras_path, ";"),
            CSVLogger(path, ";"),
            validation_data=(X, Y),
            epochs=3,
        )
        (columns, rows), (theirs, their_rows) = read(path, ";"), read(keras_path, ";")
        logged = ["loss", "mae", "mape"]
        assert columns == [*FIXED, *logged, *(f"val_{name}" for name in logged)]
        assert [name for name in columns if name in theirs] == theirs
        for row, their_row in zip(rows, their_rows, strict=True):
            assert {name: row[name] for name in theirs} == their_row

    def test_nothing_invented_without_validation(self, path):
        fit(compiled(metrics=["mae"]), CSVLogger(path))
        assert read(path)[0] == [*FIXED, "loss", "mae"]

    def test_values_of_the_fixed_columns(self, path):
        fit(compiled(), CSVLogger(path), epochs=3)
        assert column(path, "epoch") == ["0", "1", "2"]
        assert column(path, "step") == ["5", "10", "15"]
        assert column(path, "learning_rate") == ["0.125"] * 3
        seconds = [float(cell) for cell in column(path, "seconds")]
        assert 0 <= seconds[0] <= seconds[1] <= seconds[2] < 60

    def test_values_are_those_of_the_history(self, path):
        history = fit(compiled(), CSVLogger(path), epochs=3, validation_data=(X, Y))
        for name, values in history.history.items():
            assert column(path, name) == [str(value) for value in values]

    def test_number_of_the_epoch_with_initial_epoch(self, path):
        fit(compiled(), CSVLogger(path), initial_epoch=3, epochs=5)
        assert column(path, "epoch") == ["3", "4"]
        assert column(path, "step") == ["5", "10"]

    def test_validation_every_other_epoch(self, path):
        history = fit(
            compiled(),
            CSVLogger(path),
            epochs=5,
            validation_data=(X, Y),
            validation_freq=2,
        )
        first, second = map(str, history.history["val_loss"])
        assert read(path)[0] == [*FIXED, "loss", "val_loss"]
        assert column(path, "val_loss") == ["NA", first, "NA", second, "NA"]
        assert column(path, "loss") == [str(v) for v in history.history["loss"]]

    def test_training_comes_before_validation(self, path):
        logs = {"val_loss": 1.0, "wer": 2.0, "val_acc": 3.0, "acc": 4.0}
        drive(Hooks(on_epoch_end=lambda epoch: logs), CSVLogger(path))
        names = ["acc", "loss", "wer", "val_acc", "val_loss"]
        assert read(path)[0] == [*FIXED, *names]

    def test_late_columns_come_last_and_stay(self, path):
        late = Hooks(on_epoch_end=lambda epoch: {"abc": epoch} if epoch == 1 else None)
        drive(late, CSVLogger(path), epochs=3)
        assert read(path)[0] == [*FIXED, "loss", "abc"]
        assert column(path, "abc") == ["NA", "1", "NA"]

    def test_vector_valued_metric(self, path):
        fit(compiled(metrics=[Vector()]), CSVLogger(path), epochs=2)
        assert column(path, "vector") == ["[2.5, 1.25]"] * 2

    @pytest.mark.parametrize(
        ("value", "cell"),
        [
            (None, ""),
            ("a,b", "a,b"),
            ('say "a"', 'say "a"'),
            ("two\nlines", "two\nlines"),
            (float("nan"), "nan"),
            ([1, 2], "[1, 2]"),
            (np.array([[1, 2], [3, 4]]), "[[1, 2], [3, 4]]"),
            (np.array(0.5), "0.5"),
            (np.float32(0.5), "0.5"),
        ],
    )
    def test_cells(self, path, value, cell):
        logger = CSVLogger(path)
        logger.on_train_begin()
        logger.on_epoch_end(0, {"value": value})
        assert column(path, "value") == [cell]

    def test_tensors_outside_of_fit(self, path):
        logger = CSVLogger(path)
        logger.on_train_begin()
        logger.on_epoch_end(0, {"a": keras.ops.ones(()), "b": keras.ops.ones((2,))})
        assert column(path, "a") + column(path, "b") == ["1.0", "[1.0, 1.0]"]

    def test_name_clashes(self, path):
        names = ["epoch", "step", "seconds", "logged_step"]
        clash = Hooks(on_epoch_end=lambda epoch: dict.fromkeys(names, 7.5))
        drive(clash, CSVLogger(path), epochs=2)
        columns, rows = read(path)
        assert len(set(columns)) == len(columns) == len(FIXED) + 1 + len(names)
        assert [row["step"] for row in rows] == ["5", "10"]
        assert [row["epoch"] for row in rows] == ["0", "1"]
        for row in rows:
            assert list(row.values()).count("7.5") == len(names)

    def test_names_that_need_quotes(self, path):
        names = {"a,b": 1.0, 'c"d': 2.0, "é": 3.0}
        drive(Hooks(on_epoch_end=lambda epoch: names), CSVLogger(path))
        assert {name: float(read(path)[1][0][name]) for name in names} == names

    def test_hooks_without_model_params_and_logs(self, path):
        logger = CSVLogger(path, update_freq=1)
        logger.on_train_begin()
        logger.on_epoch_begin(0)
        logger.on_train_batch_end(0)
        logger.on_epoch_end(0)
        logger.on_train_end()
        assert column(path, "learning_rate") == ["NA"]
        assert column(path, "step") == ["1"]


class TestLearningRate:
    @pytest.mark.parametrize("logger_first", [False, True])
    def test_beside_a_scheduler(self, path, logger_first):
        callbacks = [CSVLogger(path), LearningRateScheduler(lambda e, rate: rate / 2)]
        fit(compiled(), *(callbacks if logger_first else callbacks[::-1]), epochs=3)
        assert column(path, "learning_rate") == ["0.0625", "0.03125", "0.015625"]

    @pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (2, 1, 0)])
    def test_beside_one_that_lowers_it(self, path, order):
        callbacks = [
            CSVLogger(path),
            keras.callbacks.ReduceLROnPlateau("loss", 0.5, 1, min_delta=1e9),
            LearningRateScheduler(lambda epoch, rate: rate),
        ]
        fit(compiled(), *(callbacks[number] for number in order), epochs=4)
        expected = ["0.125", "0.125", "0.0625", "0.03125"]
        assert column(path, "learning_rate") == expected

    def test_of_every_step(self, path):
        schedule = LearningRateScheduler(lambda step: step / 8, update_freq="batch")
        fit(compiled(), CSVLogger(path, update_freq=2), schedule)
        assert column(path, "step") == ["2", "4", "5"]
        assert column(path, "learning_rate") == ["0.125", "0.375", "0.5"]

    def test_held_schedule_tells_the_step_to_come(self, path):
        schedule = keras.optimizers.schedules.PiecewiseConstantDecay([4], [0.5, 0.25])
        logger = CSVLogger(path, update_freq=2)
        fit(compiled(keras.optimizers.SGD(schedule)), logger)
        assert column(path, "learning_rate") == ["0.5", "0.5", "0.25"]

    def test_loss_scale(self, path):
        inner = keras.optimizers.SGD(0.25)
        fit(compiled(keras.optimizers.LossScaleOptimizer(inner)), CSVLogger(path))
        assert column(path, "learning_rate") == ["0.25"]

    @needs_multi_optimizer
    @pytest.mark.parametrize("scheduled", [False, True])
    def test_multi_optimizer(self, path, scheduled):
        sgd = keras.optimizers.SGD(0.5, name="sgd")
        adam = keras.optimizers.Adam(0.25, name="adam")
        chosen = keras.optimizers.OptimizerMap(sgd, {".*bias": adam})
        model = compiled(keras.optimizers.MultiOptimizer(chosen))
        keep = LearningRateScheduler(lambda epoch, rate: rate)
        fit(model, CSVLogger(path), *([keep] if scheduled else []))
        columns, (row,) = read(path)
        assert columns == [*FIXED, "learning_rate_adam", "learning_rate_sgd", "loss"]
        assert row["learning_rate"] == "NA"
        assert row["learning_rate_adam"] == "0.25"
        assert row["learning_rate_sgd"] == "0.5"


class TestSteps:
    @pytest.mark.parametrize(
        ("update_freq", "steps"),
        [
            (1, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
            (3, [3, 5, 6, 9, 10]),
            (np.int64(5), [5, 10]),
            (100, [5, 10]),
            ("epoch", [5, 10]),
        ],
    )
    def test_rows(self, path, update_freq, steps):
        drive(CSVLogger(path, update_freq=update_freq), epochs=2)
        assert column(path, "step") == [str(step) for step in steps]
        assert column(path, "epoch") == [str(int(step > 5)) for step in steps]

    def test_running_values_and_those_of_the_epoch(self, path):
        running = []
        note = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: running.append(str(logs["loss"]))
        )
        logger = CSVLogger(path, update_freq=1)
        history = fit(compiled(), note, logger, validation_data=(X, Y)).history
        assert column(path, "loss")[:4] == running[:4]
        assert column(path, "loss")[4] == str(history["loss"][0])
        val_loss = str(history["val_loss"][0])
        assert column(path, "val_loss") == ["NA"] * 4 + [val_loss]

    @pytest.mark.parametrize(
        ("update_freq", "steps"), [(1, [3, 5, 8, 10]), (4, [5, 8, 10])]
    )
    def test_several_steps_per_execution(self, path, update_freq, steps):
        model = compiled(steps_per_execution=3)
        fit(model, CSVLogger(path, update_freq=update_freq), epochs=2)
        assert column(path, "step") == [str(step) for step in steps]

    @pytest.mark.parametrize(
        ("steps_per_execution", "steps"), [(1, [2, 4, 5]), (3, [3, 6])]
    )
    @pytest.mark.filterwarnings("ignore:Your input ran out of data")
    def test_generator_of_unknown_length(self, path, steps_per_execution, steps):
        def batches():
            for begin in range(0, len(X), BATCH_SIZE):
                yield X[begin : begin + BATCH_SIZE], Y[begin : begin + BATCH_SIZE]

        model = compiled(steps_per_execution=steps_per_execution)
        logger = CSVLogger(path, update_freq=2)
        model.fit(batches(), shuffle=False, verbose=0, callbacks=[logger])
        assert column(path, "step") == [str(step) for step in steps]

    def test_epoch_without_steps_has_its_row(self, path):
        logger = CSVLogger(path, update_freq=5)
        drive(logger)
        logger.on_epoch_begin(1)
        logger.on_epoch_end(1, {"loss": 0.25})
        assert column(path, "step") == ["5", "5"]
        assert column(path, "loss") == ["0.5", "0.25"]

    def test_early_end_of_an_epoch(self, path):
        class Stop(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                self.model.stop_training = batch == 2

        fit(compiled(), Stop(), CSVLogger(path), epochs=2)
        assert column(path, "step") == ["3"]

    def test_evaluate_in_between_counts_no_steps(self, path):
        logger = CSVLogger(path, update_freq=2)
        fit(compiled(), logger, validation_data=(X, Y), validation_batch_size=1)
        assert column(path, "step") == ["2", "4", "5"]

    @needs_tensorflow
    def test_trainer(self, path):
        model = compiled(steps_per_execution=3)
        logger = CSVLogger(path, update_freq=2)
        fit(keras_ext.Trainer(model), logger, epochs=2, validation_data=(X, Y))
        assert read(path)[0] == [*FIXED, "loss", "val_loss"]
        assert column(path, "step") == ["2", "4", "5", "6", "8", "10"]

    @needs_tensorflow
    @pytest.mark.parametrize("optimizer", [None, keras.optimizers.SGD(0.5)])
    def test_loop_around_an_uncompiled_model(self, path, optimizer):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        logger = CSVLogger(path, update_freq=4)
        loop = keras_ext.Loop(
            model, optimizer=optimizer, epochs=2, callbacks=logger, verbose=0
        )
        for epoch in loop:
            for step, _ in enumerate(epoch.batches(X, BATCH_SIZE)):
                epoch.log({"mine": step})
            if epoch.index == 1:
                epoch.log_validation({"mine": 7})
        assert read(path)[0] == [*FIXED, "mine", "val_mine"]
        assert column(path, "step") == ["4", "5", "8", "10"]
        assert column(path, "mine") == ["1.5", "2.0", "1.0", "2.0"]
        assert column(path, "val_mine") == ["NA", "NA", "NA", "7.0"]
        rate = "0.5" if optimizer else "NA"
        assert column(path, "learning_rate") == [rate] * 4


class TestOnDisk:
    @pytest.mark.parametrize("update_freq", ["epoch", 1])
    def test_a_later_callback_reads_the_row(self, path, update_freq):
        seen = []

        def look(number):
            seen.append(column(path, "step"))

        later = Hooks(on_epoch_end=look, on_train_batch_end=look)
        fit(compiled(), CSVLogger(path, update_freq=update_freq), later)
        steps = ["1", "2", "3", "4", "5"]
        if update_freq == 1:
            assert seen == [steps[:1], steps[:2], steps[:3], steps[:4], steps, steps]
        else:
            assert seen == [[]] * 5 + [["5"]]

    def test_header_when_training_begins(self, path):
        CSVLogger(path).on_train_begin()
        assert read(path) == (FIXED, [])

    def test_a_crash_leaves_all_rows(self, path):
        with pytest.raises(KeyboardInterrupt):
            fit(compiled(), CSVLogger(path, update_freq=1), crash_at(3))
        assert column(path, "step") == ["1", "2", "3", "4"]

    def test_a_crash_while_a_column_is_added(self, path, monkeypatch):
        def fail(source, target):
            raise OSError("no space left")

        logger = CSVLogger(path)
        logger.on_train_begin()
        logger.on_epoch_end(0, {"loss": 1.0})
        monkeypatch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="no space left"):
            logger.on_epoch_end(1, {"loss": 0.5, "late": 2.0})
        assert column(path, "loss") == ["1.0"]
        assert os.listdir(path.parent) == ["log.csv"]

    def test_no_other_file_is_touched(self, path):
        others = [path.with_name(name) for name in ("log.csv.new", "log.csv.tmp")]
        for other in others:
            other.write_text("mine")
        drive(CSVLogger(path, update_freq=2), epochs=3)
        assert {other.read_text() for other in others} == {"mine"}
        assert len(os.listdir(path.parent)) == 3

    def test_an_epochs_row_takes_the_place_of_a_running_one(self, path, monkeypatch):
        logger = CSVLogger(path, update_freq=1)
        losses = iter([0.5, 0.123456789, 1.0, 22.5])
        late = Hooks(on_epoch_end=lambda epoch: {"late": next(losses)})
        drive(late, logger)
        monkeypatch.setattr(os, "replace", None)  # which would rewrite the file
        for epoch in (1, 2, 3):
            logger.on_epoch_begin(epoch)
            logger.on_train_batch_end(0, {"loss": 0.25, "late": "a longer one"})
            logger.on_epoch_end(epoch, {"loss": 1 / 3, "late": next(losses)})
        assert column(path, "late")[4:] == ["0.5", "0.123456789", "1.0", "22.5"]
        assert column(path, "loss")[4:] == ["0.5"] + [str(1 / 3)] * 3

    def test_no_row_is_missing_while_one_is_replaced(self, path, monkeypatch):
        class Interrupted(io.FileIO):
            def truncate(self, size=None):
                raise KeyboardInterrupt

        logger = CSVLogger(path, update_freq=1)
        drive(logger)
        logger.on_epoch_begin(1)
        logger.on_train_batch_end(0, {"loss": "a longer one"})
        monkeypatch.setattr(
            "keras_ext.callbacks._csv_table.open",
            Interrupted,
            raising=False,
        )
        with pytest.raises(KeyboardInterrupt):
            logger.on_epoch_end(1, {"loss": 0.25})
        assert column(path, "loss") == ["0.5"] * 5 + ["0.25"]

    def test_cells_longer_than_those_that_python_reads(self, path):
        late = Hooks(
            on_epoch_end=lambda epoch: {
                "matrix": np.zeros((200, 200)),
                **({"late": 1} if epoch else {}),
            }
        )
        limit = csv.field_size_limit()
        drive(late, CSVLogger(path, update_freq=5), epochs=2)
        assert csv.field_size_limit() == limit
        text = path.read_text()
        assert text.count("[0.0") == 2 * 200
        assert text.splitlines()[0].endswith("matrix,late")

    @pytest.mark.skipif(os.name != "posix", reason="POSIX file modes")
    def test_mode_of_the_file_is_kept(self, path):
        path.write_text("epoch,loss\r\n")
        path.chmod(0o640)
        drive(CSVLogger(path, append=True))
        assert stat.S_IMODE(path.stat().st_mode) == 0o640


class TestChangedByOthers:
    """What another program does to the file while training goes on."""

    @pytest.mark.parametrize(
        ("change", "epochs"),
        [
            (lambda path: path.unlink(), ["2", "3"]),
            (lambda path: shutil.rmtree(path.parent), ["2", "3"]),
            (lambda path: path.write_bytes(b""), ["2", "3"]),
            (lambda path: path.write_bytes(b"\xef\xbb\xbf"), ["2", "3"]),
            (lambda path: os.truncate(path, 10), ["2", "3"]),
            (lambda path: path.write_bytes(_lines(path)[0]), ["2", "3"]),
            (lambda path: os.truncate(path, path.stat().st_size - 2), list("0123")),
            (lambda path: path.write_bytes(b"\n".join(_lines(path))), list("0123")),
            (lambda path: path.write_bytes(b"".join(_lines(path)[::2])), list("123")),
            (
                lambda path: path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes()),
                list("0123"),
            ),
        ],
        ids=[
            *("removed", "folder removed", "emptied", "byte order mark only"),
            *("torn header", "no rows", "no line break", "other line breaks"),
            *("a row removed", "byte order mark"),
        ],
    )
    @pytest.mark.parametrize("update_freq", ["epoch", 5])
    def test_the_rows_that_follow_are_right(
        self, tmp_path, change, epochs, update_freq
    ):
        path = tmp_path / "folder" / "log.csv"
        meddle = Hooks(on_epoch_end=lambda epoch: change(path) if epoch == 1 else None)
        logger = CSVLogger(path, update_freq=update_freq)
        drive(logger, meddle, epochs=4)
        assert read(path)[0] == [*FIXED, "loss"]
        assert column(path, "epoch") == epochs
        assert column(path, "loss") == ["0.5"] * len(epochs)
        assert logger.get_state()["rows"] == len(epochs)

    @pytest.mark.parametrize("update_freq", ["epoch", 5])
    def test_a_column_that_was_added_is_kept(self, path, update_freq):
        def add(epoch):
            if epoch == 1:
                header, *rows = path.read_text().splitlines()
                lines = [f"note,{header}", *(f"a,{row}" for row in rows)]
                path.write_text("\n".join(lines))

        drive(
            CSVLogger(path, update_freq=update_freq), Hooks(on_epoch_end=add), epochs=4
        )
        assert column(path, "note") == ["a", "a", "NA", "NA"]
        assert column(path, "epoch") == list("0123")

    @pytest.mark.parametrize("content", ["", "epoch,step\n7,1\n"])
    def test_before_a_row_is_replaced(self, path, content):
        logger = CSVLogger(path, update_freq=5)
        change = Hooks(
            on_train_batch_end=lambda batch: batch == 4 and path.write_text(content)
        )
        drive(logger, change)
        assert column(path, "epoch") == [*(["7"] if content else []), "0"]

    def test_a_row_that_another_has_added_is_not_replaced(self, path):
        def add(batch):
            if batch == 4:
                with open(path, "a") as file:
                    file.write("mine\n")

        drive(CSVLogger(path, update_freq=5), Hooks(on_train_batch_end=add))
        assert column(path, "epoch") == ["0", "mine", "0"]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (
                b"epoch;loss\n0;1.5\n",
                r"expected a column 'epoch', .*'epoch;loss'\]. Another program has cha",
            ),
            (b"epoch,loss\n0,1.5\n1,2,3\n", r"more, .*: prevent it from writing"),
            (b"\x89PNG\xff\xfe", r"'utf-8' codec can't decode.* Another program has"),
        ],
        ids=["separator", "cells", "binary"],
    )
    def test_what_is_not_a_log_any_more(self, path, content, message):
        change = Hooks(on_epoch_end=lambda epoch: path.write_bytes(content))
        with pytest.raises(ValueError, match=message):
            drive(CSVLogger(path), change, epochs=4)
        assert path.read_bytes() == content

    def test_a_folder_in_its_place(self, path):
        def change(epoch):
            path.unlink()
            path.mkdir()

        with pytest.raises(
            OSError, match=r"CSVLogger cannot write .*log.csv.*Expected"
        ):
            drive(CSVLogger(path), Hooks(on_epoch_end=change), epochs=2)


def _lines(path):
    return path.read_bytes().splitlines(keepends=True)


class TestFile:
    def test_folders_are_made(self, tmp_path):
        path = tmp_path / "runs" / "first" / "log.csv"
        drive(CSVLogger(path))
        assert column(path, "step") == ["5"]

    def test_relative_path(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        drive(CSVLogger("log.csv"))
        assert column(tmp_path / "log.csv", "step") == ["5"]

    def test_relative_path_and_another_working_directory(self, tmp_path, monkeypatch):
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path)
        logger = CSVLogger("log.csv", append=True, update_freq=2)
        away = Hooks(on_epoch_end=lambda epoch: os.chdir(tmp_path / "other"))
        drive(logger, away, epochs=2)
        drive(logger)
        assert logger.filename == "log.csv"
        assert column(tmp_path / "log.csv", "step")[-2:] == ["14", "15"]
        assert os.listdir(tmp_path / "other") == []

    @pytest.mark.parametrize("kind", [str, os.fsencode])
    def test_kinds_of_paths(self, path, kind):
        drive(CSVLogger(kind(path)))
        assert column(path, "step") == ["5"]

    @pytest.mark.parametrize("dangling", [False, True])
    @pytest.mark.parametrize("append", [False, True])
    def test_symbolic_link(self, tmp_path, dangling, append):
        target, link = tmp_path / "target.csv", tmp_path / "link.csv"
        if not dangling:
            target.write_text("epoch,loss\r\n0,1.5\r\n")
        link.symlink_to(target)
        drive(CSVLogger(link, append=append))
        assert link.is_symlink()
        assert not target.is_symlink()
        kept = ["0"] if append and not dangling else []
        assert column(target, "epoch") == [*kept, "0"]

    def test_directory_is_refused_before_training(self, tmp_path):
        model = compiled()
        with pytest.raises(OSError, match=r"cannot write .*: not a regular file. Expe"):
            fit(model, CSVLogger(tmp_path))
        assert int(keras.ops.convert_to_numpy(model.optimizer.iterations.value)) == 0

    def test_path_below_a_file_is_refused_before_training(self, tmp_path):
        (tmp_path / "file").write_text("mine")
        model = compiled()
        with pytest.raises(OSError, match=r"CSVLogger cannot write .*Expected the pat"):
            fit(model, CSVLogger(tmp_path / "file" / "log.csv"))
        assert int(keras.ops.convert_to_numpy(model.optimizer.iterations.value)) == 0
        assert (tmp_path / "file").read_text() == "mine"

    @pytest.mark.parametrize("append", [False, True])
    def test_write_protected_file_is_left_alone(self, path, monkeypatch, append):
        path.write_text("epoch\r\n0\r\n")
        monkeypatch.setattr(os, "access", lambda *_: False)
        with pytest.raises(OSError, match="the file is write-protected"):
            drive(CSVLogger(path, append=append))
        assert path.read_text() == "epoch\n0\n"


class TestAppend:
    def test_to_its_own_file(self, path):
        drive(CSVLogger(path, update_freq=2))
        before = read(path)[1]
        drive(CSVLogger(path, append=True), epochs=2)
        columns, rows = read(path)
        assert columns == [*FIXED, "loss"]
        assert rows[:3] == before
        assert [row["step"] for row in rows] == ["2", "4", "5", "10", "15"]
        assert [row["epoch"] for row in rows] == ["0", "0", "0", "0", "1"]
        seconds = [float(row["seconds"]) for row in rows]
        assert seconds == sorted(seconds)

    def test_steps_that_are_no_multiple_of_the_frequency(self, path, tmp_path):
        drive(CSVLogger(tmp_path / "new.csv", update_freq=3), epochs=3)
        drive(CSVLogger(path))
        logger = CSVLogger(path, append=True, update_freq=3)
        drive(logger, epochs=3)
        assert logger.batch_hook_freq == 3
        new = column(tmp_path / "new.csv", "step")
        assert column(path, "step")[1:] == [str(int(step) + 5) for step in new]

    @needs_tensorflow
    def test_trainer_stops_for_every_row(self, path):
        path.write_text("epoch,step\n0,7\n")
        logger = CSVLogger(path, append=True, update_freq=4)
        fit(keras_ext.Trainer(compiled()), logger, epochs=2)
        assert logger.batch_hook_freq == 4
        assert column(path, "step") == ["7", "11", "12", "15", "17"]

    def test_to_a_file_of_keras(self, path):
        theirs = keras.callbacks.CSVLogger(path)
        fit(compiled(metrics=["mae"]), theirs, epochs=2, validation_data=(X, Y))
        theirs, before = read(path)
        fit(compiled(), CSVLogger(path, append=True), epochs=2)
        columns, rows = read(path)
        assert columns == [*theirs, "step", "seconds", "learning_rate"]
        for row, old in zip(rows[:2], before, strict=True):
            new = dict.fromkeys(("step", "seconds", "learning_rate"), "NA")
            assert row == {**old, **new}
        assert [row["step"] for row in rows[2:]] == ["5", "10"]
        assert [row["val_mae"] for row in rows[2:]] == ["NA", "NA"]

    def test_with_other_columns(self, path):
        fit(compiled(metrics=["mape"]), CSVLogger(path), validation_data=(X, Y))
        (before,) = read(path)[1]
        fit(compiled(metrics=["mae"]), CSVLogger(path, append=True), epochs=2)
        columns, rows = read(path)
        assert columns[-1] == "mae"
        assert rows[0] == {**before, "mae": "NA"}
        assert [row["mape"] for row in rows[1:]] == ["NA", "NA"]
        assert [float(row["mae"]) > 0 for row in rows[1:]] == [True, True]

    @pytest.mark.parametrize("content", [None, "", "\r\n", "epoch,loss\r\n"])
    def test_to_no_rows(self, path, content):
        if content is not None:
            path.write_bytes(content.encode())
        drive(CSVLogger(path, append=True), epochs=2)
        assert set(read(path)[0]) == {*FIXED, "loss"}
        assert column(path, "step") == ["5", "10"]

    @pytest.mark.parametrize("torn", ["2,15", "2,1", "2,", "2,15,0.75"])
    def test_to_a_torn_last_line(self, path, torn):
        path.write_text(f"epoch,step,seconds,loss\n0,5,0.25,2.5\n1,10,0.5,1.5\n{torn}")
        drive(CSVLogger(path, append=True), epochs=2)
        rows = read(path)[1]
        assert [row["loss"] for row in rows[:3]] == ["2.5", "1.5", "NA"]
        assert rows[2]["epoch"] == "2"
        begin = 15 if "15" in torn else 10
        assert [row["step"] for row in rows[3:]] == [str(begin + 5), str(begin + 10)]

    def test_cells_that_are_no_numbers(self, path):
        path.write_text("epoch,step,seconds\n0,many,nan\n1,inf,\n")
        drive(CSVLogger(path, append=True), epochs=2)
        assert column(path, "step") == ["many", "inf", "5", "10"]

    def test_what_the_user_added_is_kept(self, path):
        drive(CSVLogger(path))
        table = [line + ",note" for line in path.read_text().splitlines()]
        path.write_text("\n".join(table), encoding="utf-8-sig")
        drive(CSVLogger(path, append=True), epochs=2)
        assert read(path)[0] == [*FIXED, "loss", "note"]
        assert column(path, "note") == ["note", "NA", "NA"]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (
                b"name,age\nAda,36\n",
                r"not a log to append to: expected a column 'epoch', ",
            ),
            (
                b"epoch;loss\n0;1.5\n",
                r"separated by ','. Received: columns \['epoch;lo",
            ),
            (
                b"epoch,loss\n0,1.5\n1,2,3\n",
                r"Received: line 3 with more, below the columns",
            ),
            (
                b"epoch,loss,loss\n0,1,2\n",
                r"names every column once. Received: columns \['epo",
            ),
            (
                b"\x89PNG\xff\xfe",
                r"is not a log to append to: 'utf-8' codec can't decode",
            ),
        ],
        ids=["no log", "separator", "cells", "twice", "binary"],
    )
    def test_to_something_else_is_refused(self, path, content, message):
        path.write_bytes(content)
        model = compiled()
        with pytest.raises(ValueError, match=message):
            fit(model, CSVLogger(path, append=True))
        assert path.read_bytes() == content
        assert int(keras.ops.convert_to_numpy(model.optimizer.iterations.value)) == 0

    def test_several_fits_with_one_logger(self, path):
        logger, model = CSVLogger(path, append=True), compiled()
        for epochs in (1, 2):
            fit(model, logger, initial_epoch=epochs - 1, epochs=epochs)
        assert column(path, "epoch") == ["0", "1"]
        assert column(path, "step") == ["5", "10"]

    def test_without_append_every_fit_begins_anew(self, path):
        path.write_text("name\nAda\n")
        logger, model = CSVLogger(path), compiled()
        for epochs in (1, 2):
            fit(model, logger, epochs=epochs)
            assert column(path, "step") == ["5", "10"][:epochs]


class TestBadInputs:
    @pytest.mark.parametrize("separator", ["", ";;", '"', "\n", "\r", "\0", None, 3])
    def test_separator(self, separator):
        with pytest.raises(ValueError, match=r"`separator` must be one character.*Rec"):
            CSVLogger("log.csv", separator)

    @pytest.mark.parametrize("separator", ["\t", " ", "|", "."])
    def test_unusual_separators(self, path, separator):
        drive(CSVLogger(path, separator))
        assert read(path, separator)[0] == [*FIXED, "loss"]

    @pytest.mark.parametrize("update_freq", [0, -1, 1.5, None, True, "batch", "10"])
    def test_update_freq(self, update_freq):
        with pytest.raises(
            ValueError,
            match=r"`update_freq` must be 'epoch' or a positive integer, .*Received: ",
        ):
            CSVLogger("log.csv", update_freq=update_freq)

    def test_address(self):
        with pytest.raises(
            ValueError, match=r"path in the local file.*Received: filen"
        ):
            CSVLogger("gs://bucket/log.csv")

    @pytest.mark.parametrize("filename", [None, 3])
    def test_no_path(self, filename):
        with pytest.raises(TypeError, match=r"`filename` must be a path. Received: "):
            CSVLogger(filename)


@pytest.mark.parametrize("filename", [3, None, ""])
def test_wrong_paths(filename):
    with pytest.raises(
        TypeError, match=f"`filename` must be a path.*: {filename!r} of"
    ):
        CSVLogger(filename)
