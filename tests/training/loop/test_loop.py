"""`Loop`: the hooks of stock `fit`, honest averages, and a clean end in every case."""

import copy
import io
import re
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ext
from keras_ext import Loop, Trainer
from keras_ext.training import StepLogs
from tests.training.problems import (
    CLASSIFY,
    LABELS,
    TARGETS,
    X,
    classifier,
    make_step,
)


class Recorder(keras.callbacks.Callback):
    """Writes down every train and epoch hook with its arguments."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def on_train_begin(self, logs=None):
        self.calls.append(("train begin", logs))

    def on_train_end(self, logs=None):
        self.calls.append(("train end", logs))

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(("epoch begin", epoch, logs))

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(("epoch end", epoch, logs))

    def on_train_batch_begin(self, batch, logs=None):
        self.calls.append(("batch begin", batch, logs))

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(("batch end", batch, logs))

    @property
    def names(self):
        return [call[0] for call in self.calls]


def line():
    keras.utils.set_random_seed(2)
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])


def train(callbacks=(), epochs=3, optimizer=None, validate=False, **kwargs):
    """A loop with an uncompiled model and the user's own optimizer."""
    model, optimizer = line(), optimizer or keras.optimizers.SGD(0.1)
    step = make_step(model, optimizer)
    loop = Loop(
        model,
        optimizer=optimizer,
        epochs=epochs,
        callbacks=list(callbacks),
        verbose=0,
        **kwargs,
    )
    for epoch in loop:
        for x, y in epoch.batches((X, TARGETS), shuffle=False):
            epoch.log(step(x, y))
        if validate:
            epoch.log_validation({"loss": np.mean((model(X) - TARGETS) ** 2)})
    return model, loop


def stock(callbacks=(), epochs=3, validate=False):
    model = line()
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    history = model.fit(
        X,
        TARGETS,
        epochs=epochs,
        shuffle=False,
        callbacks=list(callbacks),
        verbose=0,
        validation_data=(X, TARGETS) if validate else None,
    )
    return model, history


def _assert_same_calls(actual, expected):
    assert len(actual) == len(expected)
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours[:-1] == theirs[:-1]
        ours_logs, their_logs = ours[-1] or {}, theirs[-1] or {}
        assert ours_logs.keys() == their_logs.keys()
        for name, value in ours_logs.items():
            assert value == pytest.approx(their_logs[name], rel=1e-5), name


class TestHooks:
    @pytest.mark.parametrize("validate", [False, True])
    def test_same_hooks_in_the_same_order_as_stock_fit(self, validate):
        ours, theirs = Recorder(), Recorder()
        train([ours], validate=validate)
        stock([theirs], validate=validate)
        _assert_same_calls(ours.calls, theirs.calls)

    def test_early_stopping(self):
        def make():
            return keras.callbacks.EarlyStopping(
                monitor="loss", min_delta=1e9, patience=1, restore_best_weights=True
            )

        ours, theirs = Recorder(), Recorder()
        model, loop = train([make(), ours], epochs=9)
        stock_model, history = stock([make(), theirs], epochs=9)
        _assert_same_calls(ours.calls, theirs.calls)
        assert loop.history.epoch == history.epoch == [0, 1]
        for a, b in zip(model.get_weights(), stock_model.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)

    def test_terminate_on_nan_ends_the_inner_for(self):
        model = line()
        recorder = Recorder()
        callbacks = [keras.callbacks.TerminateOnNaN(), recorder]
        loop = Loop(model, epochs=5, callbacks=callbacks, verbose=0)
        for epoch in loop:
            for _ in epoch.batches((X, TARGETS)):
                epoch.log({"loss": float("nan") if epoch.step == 2 else 1.0})
        assert recorder.names.count("batch end") == 2
        assert recorder.names[-2:] == ["epoch end", "train end"]
        assert loop.stop_training

    def test_callbacks_that_work_on_the_model(self, tmp_path):
        best = tmp_path / "best.weights.h5"
        rates = keras_ext.callbacks.LearningRateScheduler(lambda e: 0.1 / (e + 1))
        log = keras_ext.callbacks.CSVLogger(tmp_path / "log.csv")
        save = keras.callbacks.ModelCheckpoint(
            best, monitor="loss", save_best_only=True, save_weights_only=True
        )
        model, loop = train([log, rates, save, keras.callbacks.TerminateOnNaN()])
        assert loop.history.history["learning_rate"] == pytest.approx(
            [0.1, 0.05, 0.1 / 3]
        )
        assert len((tmp_path / "log.csv").read_text().splitlines()) == 4
        fresh = line()
        fresh.load_weights(best)
        np.testing.assert_allclose(fresh(X), model(X), rtol=1e-6)

    def test_reduce_lr_on_plateau_changes_the_users_optimizer(self):
        optimizer = keras.optimizers.SGD(0.1)
        plateau = keras.callbacks.ReduceLROnPlateau(
            monitor="loss", min_delta=1e9, patience=1, factor=0.5, min_lr=0
        )
        train([plateau], epochs=3, optimizer=optimizer)
        assert float(optimizer.learning_rate.numpy()) == pytest.approx(0.025)

    def test_a_callback_without_the_optimizer_is_told_what_to_do(self):
        rates = keras_ext.callbacks.LearningRateScheduler(lambda e: 0.1)
        loop = Loop(line(), callbacks=[rates], verbose=0)
        with pytest.raises(AttributeError, match="this Loop has none"):
            list(loop)

    def test_a_callback_can_call_the_model_and_know_its_class(self):
        seen = []

        class Look(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                seen.append(isinstance(self.model, keras.Sequential))
                seen.append(tuple(self.model(X).shape))

        _, loop = train([Look()], epochs=1)
        assert seen == [True, (70, 1)]
        assert copy.deepcopy(loop.history).history == loop.history.history

    def test_a_callback_that_holds_the_model_itself(self):
        model = line()

        def stop(epoch, logs):
            model.stop_training = True

        callback = keras.callbacks.LambdaCallback(on_epoch_end=stop)
        for _ in range(2):
            loop = Loop(model, epochs=5, callbacks=callback, verbose=0)
            for epoch in loop:
                for _ in epoch.batches([1.0]):
                    epoch.log({})
            assert loop.history.epoch == [0]

    def test_a_callback_list(self):
        recorder = Recorder()
        stop = keras.callbacks.EarlyStopping(monitor="loss", min_delta=1e9)
        model = line()
        callbacks = keras.callbacks.CallbackList([stop, recorder], model=model)
        loop = Loop(model, epochs=9, callbacks=callbacks)
        for epoch in loop:
            for _ in epoch.batches([1.0]):
                epoch.log({"loss": 1.0})
        assert loop.history.epoch == [0, 1]
        assert recorder.params["steps_per_execution"] == 1

    def test_backup_and_restore_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match=r"works only in keras\.Model\.fit"):
            Loop(line(), callbacks=[keras.callbacks.BackupAndRestore(tmp_path)])

    def test_stop_training_set_in_the_body(self):
        loop = Loop(line(), epochs=5, verbose=0)
        for epoch in loop:
            for _ in epoch.batches(range(3)):
                epoch.log({"loss": 0.0})
            loop.stop_training = True
        assert loop.history.epoch == [0]

    def test_number_of_steps_reaches_the_callbacks(self):
        seen = []

        class Look(keras.callbacks.Callback):
            def on_train_batch_begin(self, batch, logs=None):
                seen.append(self.params["steps"])

        train([Look()], epochs=1)
        assert seen == [3, 3, 3]


class TestEnd:
    def end_with(self, action, **kwargs):
        recorder = Recorder()
        loop = Loop(line(), epochs=3, callbacks=[recorder], verbose=0)

        def body():
            for epoch in loop:
                for _ in epoch.batches(range(2)):
                    epoch.log({"loss": 1.0})
                    if epoch.index == 1:
                        action()
                        return

        body()
        return recorder

    def test_leaving_the_loop_closes_the_callbacks(self):
        recorder = self.end_with(lambda: None)
        assert recorder.names.count("train end") == 1
        assert recorder.calls[-1] == ("train end", {"loss": 1.0})

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_an_exception_closes_the_callbacks(self, error):
        recorder = Recorder()
        loop = Loop(line(), epochs=3, callbacks=[recorder], verbose=0)

        def raise_error():
            for epoch in loop:
                for _ in epoch.batches(range(2)):
                    epoch.log({"loss": 1.0})
                    raise error("mine")

        with pytest.raises(error, match="mine"):
            raise_error()
        assert recorder.names == [
            "train begin",
            "epoch begin",
            "batch begin",
            "batch end",
            "train end",
        ]

    def test_as_context_manager_errors_of_callbacks_are_raised(self):
        class Bad(keras.callbacks.Callback):
            def on_train_end(self, logs=None):
                raise OSError("disk full")

        def body(loop):
            with loop:
                for epoch in loop:
                    for _ in epoch.batches([1.0]):
                        epoch.log({})
                    break

        with pytest.raises(OSError, match="disk full"):
            body(Loop(line(), epochs=3, callbacks=[Bad()], verbose=0))

    def test_a_context_manager_closes_once(self):
        recorder = Recorder()
        loop = Loop(line(), epochs=3, callbacks=[recorder], verbose=0)
        with loop:
            epochs = iter(loop)
            next(epochs)
        assert list(epochs) == []
        assert recorder.names == ["train begin", "epoch begin", "train end"]

    def test_break_after_a_batch_ends_the_epoch(self):
        recorder = Recorder()
        loop = Loop(line(), epochs=2, callbacks=[recorder], verbose=0)
        for epoch in loop:
            for _ in epoch.batches(range(10)):
                epoch.log({"loss": 1.0})
                if epoch.step == 3:
                    break
        assert recorder.names.count("batch end") == 6
        assert loop.history.epoch == [0, 1]

    def ema(self):
        return keras.optimizers.SGD(0.1, use_ema=True, ema_overwrite_frequency=None)

    def test_ema_of_a_compiled_model_is_written_into_it_at_the_end(self):
        stock_model, trainer = line(), Trainer(line())
        for model in (stock_model, trainer):
            model.compile(self.ema(), loss="mse")
        stock_model.fit(X, TARGETS, epochs=3, shuffle=False, verbose=0)
        loop = Loop(trainer, epochs=3, verbose=0)
        for epoch in loop:
            for batch in epoch.batches((X, TARGETS), shuffle=False):
                epoch.log(trainer.step(batch))
        for a, b in zip(trainer.get_weights(), stock_model.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)

    def test_ema_of_an_own_optimizer_is_left_to_its_owner(self):
        plain, _ = train()
        averaged, loop = train(optimizer=self.ema())
        for a, b in zip(averaged.get_weights(), plain.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        loop.optimizer.finalize_variable_values(averaged.trainable_variables)
        assert not np.array_equal(averaged.get_weights()[0], plain.get_weights()[0])

    def test_an_optimizer_that_was_never_used(self):
        model = line()
        model.compile(self.ema(), loss="mse")
        for epoch in Loop(model, epochs=1, verbose=0):
            for _ in epoch.batches([1.0]):
                epoch.log({})

    def test_no_epochs(self):
        recorder = Recorder()
        assert list(Loop(line(), epochs=0, callbacks=[recorder], verbose=0)) == []
        assert recorder.names == ["train begin", "train end"]


class TestLogs:
    def one_epoch(self, data, log):
        loop = Loop(line(), epochs=1, verbose=0)
        for epoch in loop:
            for batch in epoch.batches(data, shuffle=False):
                epoch.log(log(batch))
        return loop.history.history

    def test_numbers_are_averaged_over_the_samples(self):
        values = np.arange(70.0, dtype="float32")
        history = self.one_epoch(values, lambda x: {"mean": tf.reduce_mean(x)})
        assert history["mean"] == pytest.approx([values.mean()])

    @pytest.mark.parametrize(
        "convert", [float, np.float32, np.asarray, tf.constant, lambda v: [v][0]]
    )
    def test_every_kind_of_number(self, convert):
        history = self.one_epoch([1, 2, 3], lambda x: {"x": convert(float(x))})
        assert history["x"] == [2.0]

    def test_step_logs_are_read_as_they_are(self):
        history = self.one_epoch([1, 2, 3], lambda x: StepLogs(x=x))
        assert history["x"] == [3.0]

    def test_step_logs_stay_what_they_are_with_more_beside_them(self):
        def more(x):
            return {"a": 1.0} | (StepLogs(x=x) | {"b": 2.0}).copy()

        history = self.one_epoch([1, 2, 3], more)
        assert history == {"a": [1.0], "x": [3.0], "b": [2.0]}

    def test_an_empty_batch(self):
        history = self.one_epoch([X[:0], X[:4]], lambda x: {"n": float(len(x))})
        assert history["n"] == [4.0]

    def test_metrics_are_read_and_reset(self):
        metric = keras.metrics.Sum()
        loop = Loop(line(), epochs=2, verbose=0)
        for epoch in loop:
            for value in epoch.batches([1.0, 2.0, 3.0]):
                metric.update_state(value)
                epoch.log({"sum": metric})
        assert loop.history.history["sum"] == [6.0, 6.0]

    def test_validation_metrics_are_read_and_reset(self):
        metric = keras.metrics.Sum()
        loop = Loop(line(), epochs=2, verbose=0)
        for epoch in loop:
            for _ in epoch.batches([1.0]):
                epoch.log({})
            metric.update_state(5.0)
            epoch.log_validation({"sum": metric})
        assert loop.history.history == {"val_sum": [5.0, 5.0]}

    def test_evaluate_of_a_compiled_model(self):
        trainer = Trainer(classifier())
        trainer.compile("sgd", **CLASSIFY)
        loop = Loop(trainer, epochs=1, verbose=0)
        for epoch in loop:
            for batch in epoch.batches((X, LABELS), 10):
                epoch.log(trainer.step(batch))
            logs = epoch.evaluate((X, LABELS), batch_size=9)
        assert loop.history.history["val_loss"] == [logs["loss"]]
        assert logs == trainer.evaluate(X, LABELS, 9, verbose=0, return_dict=True)

    def test_several_passes_in_one_epoch(self):
        recorder = Recorder()
        loop = Loop(line(), epochs=1, callbacks=[recorder], verbose=0)
        for epoch in loop:
            for data in ([1.0, 2.0], [6.0]):
                for value in epoch.batches(data):
                    epoch.log({"x": value})
        begun = [call[1] for call in recorder.calls if call[0] == "batch begin"]
        assert begun == [0, 1, 2]
        assert recorder.params["steps"] == 3
        assert loop.history.history["x"] == [3.0]


class TestErrors:
    def body(self, use, data=(1.0, 2.0, 3.0)):
        loop = Loop(line(), epochs=1, verbose=0)
        for epoch in loop:
            for batch in epoch.batches(list(data)):
                use(epoch, batch)

    def test_a_batch_logged_twice(self):
        def twice(epoch, batch):
            epoch.log({"x": batch})
            epoch.log({"x": batch})

        with pytest.raises(RuntimeError, match="Batch 0 of epoch 0 was already logged"):
            self.body(twice)

    def test_a_batch_not_logged(self):
        with pytest.raises(RuntimeError, match=r"Batch 0 of epoch 0 .* not logged"):
            self.body(lambda epoch, batch: None)

    def test_the_last_batch_not_logged(self):
        def all_but_last(epoch, batch):
            if batch < 3:
                epoch.log({"x": batch})

        with pytest.raises(RuntimeError, match=r"Batch 2 of epoch 0 .* not logged"):
            self.body(all_but_last)

    def test_break_before_log(self):
        loop = Loop(line(), epochs=1, verbose=0)

        def body():
            for epoch in loop:
                for _ in epoch.batches(range(3)):
                    break

        with pytest.raises(RuntimeError, match=r"`break` after `epoch\.log`"):
            body()

    def test_log_without_a_batch(self):
        loop = Loop(line(), epochs=1, verbose=0)
        with pytest.raises(RuntimeError, match="No batch was taken yet"):
            next(iter(loop)).log({"x": 1})

    def test_overlapping_iterations(self):
        loop = Loop(line(), epochs=1, verbose=0)
        epochs = iter(loop)
        epoch = next(epochs)
        first = epoch.batches(range(3))
        next(first)
        with pytest.raises(RuntimeError, match="zip"):
            next(epoch.batches(range(3)))

    def test_logs_that_are_no_dict(self):
        with pytest.raises(TypeError, match=r"must be a dict .* of type float"):
            self.body(lambda epoch, batch: epoch.log(batch))

    def test_a_value_that_is_no_scalar(self):
        with pytest.raises(ValueError, match=r"'x' must be a single .* shape \(2,\)"):
            self.body(lambda epoch, batch: epoch.log({"x": tf.zeros(2)}))

    def test_a_value_that_is_no_number(self):
        for value in (object(), "abc"):
            with pytest.raises(ValueError, match="'x' must be a number or a"):
                self.body(lambda epoch, batch, v=value: epoch.log({"x": v}))

    @pytest.mark.parametrize(
        "second",
        [
            (X[:4],),
            (X[:4], LABELS[:4], LABELS[:4]),
            (X[:4].astype("float64"), LABELS[:4]),
            (X[:4, 0], LABELS[:4]),
            {"x": X[:4]},
        ],
    )
    def test_batches_whose_structure_changes(self, second):
        with pytest.raises(ValueError, match="same structure, ranks and dtypes"):
            self.body(lambda epoch, batch: epoch.log({}), [(X[:4], LABELS[:4]), second])

    def test_a_generator_that_ended_in_an_earlier_epoch(self):
        generator = (value for value in [1.0, 2.0])
        loop = Loop(line(), epochs=2, verbose=0)

        def body():
            for epoch in loop:
                for value in epoch.batches(generator):
                    epoch.log({"x": value})

        with pytest.raises(ValueError, match="yielded no batch in epoch 1"):
            body()

    def test_evaluate_without_compile(self):
        loop = Loop(line(), epochs=1, verbose=0)
        with pytest.raises(RuntimeError, match="needs a compiled model"):
            next(iter(loop)).evaluate((X, TARGETS))

    def test_an_epoch_that_is_over(self):
        loop = Loop(line(), epochs=2, verbose=0)
        epochs = iter(loop)
        first = next(epochs)
        for _ in first.batches([1.0]):
            first.log({})
        next(epochs)
        for use in (
            lambda: next(first.batches([1.0])),
            lambda: first.log_validation({}),
            lambda: first.evaluate((X, TARGETS)),
        ):
            with pytest.raises(RuntimeError, match="Epoch 0 is over"):
                use()

    def test_numbers_in_a_tuple(self):
        loop = Loop(line(), epochs=1, verbose=0)
        with pytest.raises(
            TypeError, match=r"Convert Python numbers with `np\.asarray"
        ):
            next(next(iter(loop)).batches((X, [1, 2, 3])))

    def test_a_second_iteration(self):
        loop = Loop(line(), epochs=0, verbose=0)
        list(loop)
        with pytest.raises(RuntimeError, match="Create a new Loop"):
            list(loop)

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"model": 3}, TypeError, "must be a keras.Model or a keras_ext.Trainer"),
            ({"epochs": -1}, ValueError, "`epochs` must be a non-negative integer"),
            ({"optimizer": "adam"}, TypeError, "`optimizer` must be the keras"),
            (
                {"callbacks": ["csv"]},
                TypeError,
                "item that is not a callback: 'csv'. Pass",
            ),
            (
                {"callbacks": keras.callbacks.TerminateOnNaN},
                TypeError,
                r"Create an instance of it: `TerminateOnNaN\(...\)`",
            ),
            (
                {"callbacks": [keras_ext.schedules.OneCycle(0.1, 10)]},
                TypeError,
                "Apply it with `keras_ext.callbacks.LearningRateScheduler",
            ),
            ({"initial_epoch": 0.5}, ValueError, "`initial_epoch` must be"),
            ({"steps": 0}, ValueError, "`steps` must be a positive integer"),
            ({"verbose": "loud"}, ValueError, "`verbose` must be one of"),
            ({"seed": -3}, ValueError, "`seed` must be a non-negative integer"),
        ],
    )
    def test_arguments(self, arguments, error, message):
        with pytest.raises(error, match=message):
            Loop(**{"model": line(), **arguments})


class TestProgress:
    def output(self, monkeypatch, terminal, data=X, size=10, **kwargs):
        stream = io.StringIO()
        stream.isatty = lambda: terminal
        monkeypatch.setattr(sys, "stdout", stream)
        loop = Loop(line(), epochs=2, **kwargs)
        for epoch in loop:
            for x in epoch.batches(data, size):
                epoch.log({"loss": tf.reduce_mean(x)})
            epoch.log_validation({"loss": 0.25})
        return stream.getvalue()

    def test_one_line_per_epoch_in_a_file(self, monkeypatch):
        text = self.output(monkeypatch, terminal=False)
        assert "\b" not in text
        assert "\x1b" not in text
        lines = [line for line in text.splitlines() if line]
        assert [line for line in lines if "Epoch" in line] == ["Epoch 1/2", "Epoch 2/2"]
        assert sum("7/7" in line and "val_loss: 0.2500" in line for line in lines) == 2
        assert len(lines) == 4

    @pytest.mark.parametrize("data", ["arrays", "dataset", "PyDataset", "list"])
    def test_a_bar_in_a_terminal(self, data, monkeypatch):
        class Batches(keras.utils.PyDataset):
            def __len__(self):
                return 7

            def __getitem__(self, number):
                return X[10 * number :][:10]

        batches = {
            "arrays": lambda: X,
            "dataset": lambda: tf.data.Dataset.from_tensor_slices(X).batch(10),
            "PyDataset": Batches,
            "list": lambda: [X] * 7,
        }[data]()
        steps = []
        look = keras.callbacks.LambdaCallback(
            on_train_batch_begin=lambda batch, logs: steps.append(look.params["steps"])
        )
        text = self.output(
            monkeypatch,
            terminal=True,
            data=batches,
            size=10 if data == "arrays" else None,
            callbacks=[look],
        )
        assert steps == [7] * 14
        # The steps, the time that is left, and that of a step, from the first on.
        first, *_, last = re.sub(r"\x1b\[\d+m|\x08", "", text).split("\r")[1:]
        assert re.match(r"1/7 \S+ [\d:]+s? \d+[mu]?s/step - loss: ", first)
        assert re.match(r"7/7 \S+ \d+s \d+[mu]?s/step - loss: ", last)

    @pytest.mark.parametrize("terminal", [False, True])
    def test_many_steps_per_call(self, terminal, monkeypatch):
        stream = io.StringIO()
        stream.isatty = lambda: terminal
        monkeypatch.setattr(sys, "stdout", stream)
        trainer = Trainer(line())
        trainer.compile("sgd", loss="mse")
        trainer.fit(X, TARGETS, 10, epochs=2)
        text = re.sub(r"\x1b\[\d+m|\x08", "", stream.getvalue())
        assert len([line for line in text.split("\n") if line]) == 4
        assert len(re.findall(r"7/7 .*\d+[mu]?s/step - loss: .*\n", text)) == 2
        assert bool(re.search(r"\r1/7 \S+ [\d:]+s? \d+[mu]?s/step", text)) == terminal

    def test_silence(self, monkeypatch):
        assert self.output(monkeypatch, terminal=True, verbose=0) == ""

    def test_evaluate_and_predict_in_a_file(self, monkeypatch):
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stdout", stream)
        trainer = Trainer(line())
        trainer.compile("sgd", loss="mse")
        trainer.evaluate(X, TARGETS)
        trainer.predict(X)
        assert "\b" not in stream.getvalue()
        assert [text[:3] for text in stream.getvalue().splitlines()] == ["3/3", "3/3"]

    def test_same_lines_as_stock_with_verbose_2(self, monkeypatch):
        def run(fit):
            stream = io.StringIO()
            monkeypatch.setattr(sys, "stdout", stream)
            fit(X, TARGETS, epochs=2, shuffle=False, verbose=2)
            lines = stream.getvalue().splitlines()
            return [line.split(" - ")[3:] or line for line in lines if line]

        def compiled(wrap):
            model = Trainer(line()) if wrap else line()
            model.compile(keras.optimizers.SGD(0.1), loss="mse")
            return model

        assert run(compiled(True).fit) == run(compiled(False).fit)
