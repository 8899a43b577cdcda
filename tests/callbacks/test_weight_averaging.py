"""Averages of recorded weights, and who sees which weights when."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

import keras_ext
from keras_ext.callbacks import WeightAveraging
from tests.forgetful import Forgetful
from tests.markers import needs_tensorflow

_rng = np.random.default_rng(3)
X = _rng.normal(size=(22, 3)).astype("float32")
Y = (X @ _rng.normal(size=(3, 1))).astype("float32")
BATCH_SIZE = 4  # 6 steps an epoch, the last one smaller
JAX = keras.backend.backend() == "jax"


def network(batch_norm=False, built=True):
    keras.utils.set_random_seed(5)
    return keras.Sequential(
        [
            *([keras.Input((3,))] if built else []),
            keras.layers.Dense(4, "tanh"),
            *([keras.layers.BatchNormalization()] if batch_norm else []),
            keras.layers.Dense(1),
        ]
    )


def compiled(model=None, **options):
    model = model or network()
    model.compile(keras.optimizers.SGD(0.1, momentum=0.5), loss="mse", **options)
    return model


def stock_fit(callbacks, *, model=None, epochs=3, **options):
    model = compiled(model)
    return fit(model, callbacks, epochs, **options)


def trainer_fit(callbacks, *, model=None, epochs=3, jit_compile="auto", **options):
    trainer = keras_ext.Trainer(model or network())
    compiled(trainer, jit_compile=jit_compile)
    return fit(trainer, callbacks, epochs, **options)


def fit(model, callbacks, epochs, **options):
    options = {"shuffle": False, "verbose": 0, "batch_size": BATCH_SIZE, **options}
    model.fit(X, Y, epochs=epochs, callbacks=list(callbacks), **options)
    return model


def loop_fit(callbacks, *, model=None, epochs=3, validation_data=None, chunks=True):
    trainer = keras_ext.Trainer(model or network())
    compiled(trainer)
    loop = keras_ext.Loop(trainer, epochs=epochs, callbacks=callbacks, verbose=0)
    for epoch in loop:
        options = {"batch_size": BATCH_SIZE, "shuffle": False}
        if chunks:
            for chunk in epoch.chunks((X, Y), **options):
                epoch.log(trainer.steps(chunk))
        else:
            for batch in epoch.batches((X, Y), **options):
                epoch.log(trainer.step(batch))
        if validation_data is not None:
            epoch.evaluate(validation_data)
    return trainer


def bare_fit(callbacks, *, model=None, epochs=3):
    """Train with a step of one's own, which many batches are handed to at a time."""
    from tests.training.problems import make_step

    model, optimizer = model or network(), keras.optimizers.SGD(0.1, momentum=0.5)
    step = make_step(model, optimizer)
    loop = keras_ext.Loop(model, epochs=epochs, callbacks=callbacks, verbose=0)
    for epoch in loop:
        for chunk in epoch.chunks((X, Y), batch_size=BATCH_SIZE, shuffle=False):
            for x, y in chunk:
                logs = step(x, y)
            epoch.log(logs)
    return model


FITS = [
    pytest.param(
        fit, id=fit.__name__, marks=[] if fit is stock_fit else needs_tensorflow
    )
    for fit in (stock_fit, trainer_fit, loop_fit, bare_fit)
]


class Record(Forgetful):
    """Keeps the weights after every step."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def on_train_batch_end(self, batch, logs=None):
        if JAX:
            self.model.jax_state_sync()
        self.steps.append(trained_weights(self.model))


class Note(keras.callbacks.Callback):
    """Keeps the weights that it sees at some moments."""

    def __init__(self):
        super().__init__()
        self.seen = {}

    def _note(self, moment):
        self.seen.setdefault(moment, []).append(trained_weights(self.model))

    def on_epoch_begin(self, epoch, logs=None):
        self._note("epoch begin")

    def on_test_begin(self, logs=None):
        self._note("test begin")

    def on_test_end(self, logs=None):
        self._note("test end")

    def on_epoch_end(self, epoch, logs=None):
        self._note("epoch end")


def trained_weights(model):
    return [np.array(ops.convert_to_numpy(one)) for one in model.trainable_variables]


@functools.cache
def recorded(epochs=3):
    """Return the weights after every step, without anybody who averages."""
    record = Record()
    stock_fit([record], epochs=epochs)
    return record.steps


def ema(steps, decay):
    """Return the average with weights proportional to powers of `decay`."""
    shares = decay ** np.arange(len(steps))[::-1]
    shares = shares / shares.sum()
    return [
        sum(s * w for s, w in zip(shares, v, strict=True))
        for v in zip(*steps, strict=True)
    ]


def mean(steps):
    return [np.mean(v, axis=0) for v in zip(*steps, strict=True)]


def assert_same(got, expected, exactly=False):
    for one, other in zip(got, expected, strict=True):
        if exactly:
            np.testing.assert_array_equal(one, other)
        else:
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


CASES = {
    "all steps": (lambda: WeightAveraging(decay=0.9), lambda w: ema(w, 0.9)),
    "every so many steps, from an epoch on": (
        lambda: WeightAveraging(decay=0.8, start_epoch=1, update_freq=5),
        lambda w: ema(w[10::5], 0.8),
    ),
    "mean of epochs, from one on": (
        lambda: WeightAveraging("swa", start_epoch=1),
        lambda w: mean(w[11::6]),
    ),
    "mean of steps": (
        lambda: WeightAveraging("swa", update_freq="batch", start_epoch=2),
        lambda w: mean(w[12:]),
    ),
    "exponential of epochs": (
        lambda: WeightAveraging(decay=0.5, update_freq="epoch"),
        lambda w: ema(w[5::6], 0.5),
    ),
}


@pytest.mark.parametrize(
    ("train", "case"),
    [
        pytest.param(*train.values, case, id=f"{train.id}, {case}", marks=train.marks)
        for train in FITS
        for case in (CASES if train in FITS[:2] else ["all steps", "mean of steps"])
    ],
)
def test_is_the_average_of_the_recorded_weights(train, case):
    make, expected = CASES[case]
    assert_same(trained_weights(train([make()])), expected(recorded()))


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9999999])
def test_no_decay_gives_the_first_weights_more_than_their_share(decay):
    model = stock_fit([WeightAveraging(decay=decay)])
    assert_same(trained_weights(model), ema(recorded(), decay))


def test_a_start_that_is_never_reached_leaves_the_weights():
    with pytest.warns(UserWarning, match="taken no weights.*start_epoch=3.*Begin ear"):
        model = stock_fit([WeightAveraging("swa", start_epoch=3)])
    assert_same(trained_weights(model), recorded()[-1])


@pytest.mark.parametrize("train", FITS[:2])
def test_a_model_that_is_not_built_yet(train):
    model = train([WeightAveraging(decay=0.9)], model=network(built=False))
    assert_same(trained_weights(model), ema(recorded(), 0.9))


@needs_tensorflow
class TestInCompiledCalls:
    @pytest.mark.parametrize("jit_compile", [True, False])
    def test_steps_are_not_made_one_by_one_and_none_is_missed(self, jit_compile):
        calls = []

        class Calls(Forgetful):
            batch_hook_freq = "epoch"

            def on_train_batch_end(self, batch, logs=None):
                calls.append(batch)

        model = trainer_fit(
            [WeightAveraging(decay=0.9), Calls()], epochs=6, jit_compile=jit_compile
        )
        assert len(calls) < 6 * 6
        assert_same(trained_weights(model), ema(recorded(6), 0.9))

    def test_however_they_are_cut_the_average_is_the_same_to_the_bit(self):
        class Often(Forgetful):
            batch_hook_freq = 2

            def on_train_batch_end(self, batch, logs=None):
                pass

        options = {"jit_compile": True, "epochs": 5}
        whole = trainer_fit([WeightAveraging(decay=0.9)], **options)
        parts = trainer_fit([WeightAveraging(decay=0.9), Often()], **options)
        assert_same(trained_weights(parts), trained_weights(whole), exactly=True)

    def test_one_callback_may_serve_several_models_and_trainings(self):
        average = WeightAveraging(decay=0.9)
        first = trainer_fit([average])
        second = trainer_fit([average])
        assert_same(trained_weights(second), trained_weights(first), exactly=True)
        start = trained_weights(first)
        fit(first, [average], 2)
        # The same again, with a callback that has done nothing before.
        second.set_weights([np.array(one) for one in start])
        for one, other in zip(
            second.optimizer.variables, trainer_fit([]).optimizer.variables, strict=True
        ):
            one.assign(other)
        fit(second, [WeightAveraging(decay=0.9)], 2)
        assert_same(trained_weights(first), trained_weights(second), exactly=True)

    def test_a_dataset(self):
        import tensorflow as tf

        trainer = compiled(keras_ext.Trainer(network()))
        data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(BATCH_SIZE)
        average = WeightAveraging(decay=0.9)
        trainer.fit(data, epochs=3, verbose=0, callbacks=[average])
        assert_same(trained_weights(trainer), ema(recorded(), 0.9))

    def test_eagerly(self):
        model = trainer_fit([WeightAveraging(decay=0.9)])
        trainer = keras_ext.Trainer(network())
        compiled(trainer, run_eagerly=True)
        fit(trainer, [WeightAveraging(decay=0.9)], 3)
        assert_same(trained_weights(trainer), trained_weights(model))

    def test_batches_one_at_a_time(self):
        model = loop_fit([WeightAveraging(decay=0.9)], chunks=False)
        assert_same(trained_weights(model), ema(recorded(), 0.9))


@pytest.mark.parametrize("train", FITS[:2])
class TestWhoSeesIt:
    @pytest.mark.parametrize("kind", ["ema", "swa"])
    @pytest.mark.parametrize("first", [True, False])
    def test_validation_and_what_acts_at_the_end_of_an_epoch(self, train, kind, first):
        average = WeightAveraging(kind, start_epoch=1)
        note, record = Note(), Record()
        callbacks = [average, note] if first else [note, average]
        model = train([record, *callbacks], validation_data=(X, Y), epochs=4)
        own = recorded(4)
        # The training is that without an average.
        assert_same(record.steps[-1], own[-1])
        of_epochs = [own[5]] + [
            ema(own[6:n], 0.999) if kind == "ema" else mean(own[11:n:6])
            for n in (12, 18, 24)
        ]
        for index, expected in enumerate(of_epochs):
            assert_same(note.seen["test end"][index], expected)
            assert_same(note.seen["epoch end"][index], expected)
        if first:
            assert_same(note.seen["epoch begin"][2], own[11])
        assert_same(trained_weights(model), of_epochs[-1])

    @pytest.mark.parametrize("first", [True, False])
    def test_model_checkpoint_saves_it(self, train, first, tmp_path):
        average = WeightAveraging(decay=0.9)
        save = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
        callbacks = [average, save] if first else [save, average]
        train(callbacks, validation_data=(X, Y))
        loaded = keras.models.load_model(tmp_path / "2.keras")
        assert_same(trained_weights(loaded), ema(recorded()[:12], 0.9))

    @pytest.mark.parametrize("first", [True, False])
    def test_early_stopping_restores_the_best_one(self, train, first):
        average = WeightAveraging(decay=0.9)
        stop = keras.callbacks.EarlyStopping(
            "val_loss", mode="max", patience=1, restore_best_weights=True
        )
        callbacks = [average, stop] if first else [stop, average]
        model = train(callbacks, validation_data=(X, Y), epochs=9)
        # The loss falls, so the first is the best of those that rise.
        assert_same(trained_weights(model), ema(recorded()[:6], 0.9))


def test_without_validation_those_behind_it_see_it():
    before, behind = Note(), Note()
    stock_fit([before, WeightAveraging(decay=0.9), behind])
    steps = recorded()
    assert_same(before.seen["epoch end"][1], steps[11])
    assert_same(behind.seen["epoch end"][1], ema(steps[:12], 0.9))


@needs_tensorflow
@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_a_validation_within_an_epoch_shows_it_and_training_goes_on(kind):
    average, note = WeightAveraging(kind), Note()
    trainer = compiled(keras_ext.Trainer(network()))
    loop = keras_ext.Loop(trainer, epochs=2, callbacks=[average, note], verbose=0)
    options = {"batch_size": BATCH_SIZE, "shuffle": False}
    for epoch in loop:
        for batch in epoch.batches((X, Y), **options):
            epoch.log(trainer.step(batch))
            if epoch.step == 3:
                epoch.evaluate((X, Y))
    steps = recorded(2)
    shown = ema(steps[:9], 0.999) if kind == "ema" else mean([steps[5], steps[8]])
    assert_same(note.seen["test end"][1], shown)
    final = ema(steps, 0.999) if kind == "ema" else mean(steps[5::6])
    assert_same(trained_weights(trainer), final)


def test_an_evaluation_outside_of_a_training_is_left_alone():
    average = WeightAveraging(decay=0.5)
    model = stock_fit([average])
    model.set_weights([np.zeros_like(one) for one in model.get_weights()])
    model.evaluate(X, Y, verbose=0, callbacks=[average])
    assert_same(trained_weights(model), [np.zeros_like(w) for w in recorded(1)[0]])


class TestBatchNorm:
    def _expected(self, model, batches):
        """Return mean and variance of the normalization's inputs."""
        inputs = [model.layers[0](batch) for batch in batches]
        sizes = [len(batch) for batch in batches]
        both = [(np.mean(one, axis=0), np.var(one, axis=0)) for one in inputs]
        return [
            np.average(one, axis=0, weights=sizes) for one in zip(*both, strict=True)
        ]

    def _statistics(self, model):
        layer = model.layers[1]
        return [np.array(layer.moving_mean), np.array(layer.moving_variance)]

    @pytest.mark.parametrize("kind", ["list", "pairs", "PyDataset"])
    def test_statistics_are_means_over_the_batches(self, kind):
        class Batches(keras.utils.PyDataset):
            def __len__(self):
                return 3

            def __getitem__(self, index):
                return X[8 * index : 8 * index + 8], None

        batches = [X[:8], X[8:16], X[16:]]
        data = {
            "list": batches,
            "pairs": [(x, None) for x in batches],
            "PyDataset": Batches(),
        }[kind]
        average = WeightAveraging("swa", batch_norm_data=data)
        model = stock_fit([average], model=network(batch_norm=True))
        got, expected = self._statistics(model), self._expected(model, batches)
        assert_same(got, expected)
        assert model.layers[1].momentum == 0.99

    @pytest.mark.parametrize("train", FITS[:2])
    def test_of_every_epoch_and_the_training_keeps_its_own(self, train):
        note = Statistics()
        average = WeightAveraging(
            "swa", batch_norm_data=[X[:11], X[11:]], batch_norm_freq="epoch"
        )
        model = train(
            [average, note], model=network(batch_norm=True), validation_data=(X, Y)
        )
        plain = Statistics()
        train([plain], model=network(batch_norm=True), validation_data=(X, Y))
        assert_same(note.begin[2], plain.begin[2])
        # With it, validation gives what the model at the end gives.
        result = model.evaluate(X, Y, verbose=0)
        assert model.history.history["val_loss"][-1] == pytest.approx(result, rel=1e-5)

    def test_in_a_layer_in_a_layer_and_random_numbers_are_those_without(self):
        class Block(keras.layers.Layer):
            def __init__(self):
                super().__init__()
                self.inner = {"norm": [keras.layers.BatchNormalization()]}
                self.noise = keras.layers.GaussianNoise(0.1, seed=1)

            def call(self, x, training=None):
                normalized = self.inner["norm"][0](x, training=training)
                return self.noise(normalized, training=training)

        def model():
            keras.utils.set_random_seed(5)
            inner = keras.Sequential([keras.Input((3,)), Block()])
            inputs = keras.Input((3,))
            return keras.Model(inputs, keras.layers.Dense(1)(inner(inputs)))

        average = WeightAveraging(
            decay=0.9, batch_norm_data=[X], batch_norm_freq="epoch"
        )
        record, plain = Record(), Record()
        trained = stock_fit([record, average], model=model())
        stock_fit([plain], model=model())
        assert_same(record.steps[-1], plain.steps[-1])
        norm = trained.layers[1].layers[0].inner["norm"][0]
        np.testing.assert_allclose(norm.moving_mean, X.mean(0), atol=1e-6)
        np.testing.assert_allclose(norm.moving_variance, X.var(0), rtol=1e-5)

    def test_no_batches(self):
        average = WeightAveraging(batch_norm_data=[])
        with pytest.raises(ValueError, match="`batch_norm_data` yielded no batch"):
            stock_fit([average], model=network(batch_norm=True))

    def test_no_such_layer(self):
        average = WeightAveraging(batch_norm_data=[X])
        with pytest.raises(ValueError, match="has no trainable BatchNormalization"):
            stock_fit([average])


class Statistics(keras.callbacks.Callback):
    """Keeps all variables that are not trained, at the beginning of epochs."""

    def __init__(self):
        super().__init__()
        self.begin = []

    def on_epoch_begin(self, epoch, logs=None):
        variables = self.model.non_trainable_variables
        self.begin.append([np.array(ops.convert_to_numpy(one)) for one in variables])


@needs_tensorflow
class TestContinued:
    def _run(self, folder, average, *, kill=None, every_step=True, **options):
        """Train as one process does that may be killed after some steps."""
        keras.utils.clear_session()

        class KilledError(Exception):
            pass

        class Kill(Forgetful):
            batch_hook_freq = 1 if every_step else "epoch"
            made = 0

            def on_train_batch_end(self, batch, logs=None):
                self.made += 1
                if self.made == kill:
                    raise KilledError

        trainer = keras_ext.Trainer(network(batch_norm=True))
        compiled(trainer, jit_compile=options.pop("jit_compile", "auto"))
        note = Note()
        note.get_state, note.set_state = dict, lambda state: None
        save_freq = options.pop("save_freq", 4)
        callbacks = [
            keras.callbacks.EarlyStopping(
                "val_loss", patience=2, restore_best_weights=True
            ),
            average(),
            keras_ext.callbacks.Checkpoint(folder, save_freq=save_freq),
            note,
            Kill(),
        ]
        try:
            history = trainer.fit(
                X,
                Y,
                batch_size=BATCH_SIZE,
                epochs=4,
                verbose=0,
                validation_data=(X, Y),
                callbacks=callbacks,
                resume=True,
                **options,
            ).history
        except KilledError:
            return None
        variables = [*trainer.variables, *trainer.optimizer.variables]
        return [np.array(one) for one in variables], history, note.seen

    @pytest.mark.parametrize(
        ("kind", "kill"),
        [
            ("ema", 5),
            pytest.param("ema", 12, marks=pytest.mark.long),
            pytest.param("ema every 4", 13, marks=pytest.mark.long),
            pytest.param("swa", 6, marks=pytest.mark.long),
            ("swa", 12),
            pytest.param("swa", 13, marks=pytest.mark.long),
            pytest.param("batch norm", 7, marks=pytest.mark.long),
            pytest.param("batch norm", 12, marks=pytest.mark.long),
        ],
    )
    def test_to_the_bit(self, kind, kill, tmp_path):
        make = {
            "ema": lambda: WeightAveraging(decay=0.9),
            "ema every 4": lambda: WeightAveraging(
                decay=0.9, update_freq=4, start_epoch=1
            ),
            "swa": lambda: WeightAveraging("swa", start_epoch=1),
            "batch norm": lambda: WeightAveraging(
                "swa", batch_norm_data=[X], batch_norm_freq="epoch"
            ),
        }[kind]
        options = {"save_freq": "epoch" if kill == 12 else kill % 4 + 2}
        whole = self._run(tmp_path / "whole", make, **options)
        assert self._run(tmp_path / "parts", make, kill=kill, **options) is None
        again = self._run(tmp_path / "parts", make, **options)
        assert_same(again[0], whole[0], exactly=True)
        assert again[1] == whole[1]

    @pytest.mark.long
    def test_to_the_bit_with_many_steps_per_call(self, tmp_path):
        def make():
            return WeightAveraging(decay=0.9)

        options = {"jit_compile": True, "every_step": False, "save_freq": "epoch"}
        whole = self._run(tmp_path / "whole", make, **options)
        self._run(tmp_path / "parts", make, kill=5, **options)
        again = self._run(tmp_path / "parts", make, **options)
        assert_same(again[0], whole[0], exactly=True)

    def test_a_run_that_has_ended_has_the_average_again(self, tmp_path):
        def make():
            return WeightAveraging("swa")

        whole = self._run(tmp_path, make)
        again = self._run(tmp_path, make)
        assert_same(again[0], whole[0], exactly=True)

    def test_a_signal_during_the_validation_saves_the_training_s_weights(
        self, tmp_path
    ):
        import os
        import signal

        class Terminate(Forgetful):
            def on_test_batch_begin(self, batch, logs=None):
                if not armed:
                    os.kill(os.getpid(), signal.SIGTERM)
                armed.append(1)

        def run(folder, *more):
            keras.utils.clear_session()
            trainer = compiled(keras_ext.Trainer(network()))
            checkpoint = keras_ext.callbacks.Checkpoint(folder)
            callbacks = [WeightAveraging("swa"), checkpoint, *more]
            trainer.seed = 1
            options = {"validation_data": (X, Y), "resume": True, "shuffle": True}
            return fit(trainer, callbacks, 3, **options)

        armed = [1]
        whole = run(tmp_path / "whole", Terminate())
        armed.clear()
        with pytest.raises(keras_ext.training.Preempted):
            run(tmp_path / "parts", Terminate())
        again = run(tmp_path / "parts", Terminate())
        assert_same(trained_weights(again), trained_weights(whole), exactly=True)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (("mean",), {}, ValueError, "`averaging` must be one of 'ema', 'swa'"),
        (("ema", 1.0), {}, ValueError, r"`decay` must be a finite number in \[0, 1\)"),
        (("swa", 0.9), {}, ValueError, "`decay` is used only by averaging='ema'"),
        ((), {"update_freq": 0}, ValueError, "`update_freq` must be 'batch', 'epoch'"),
        ((), {"update_freq": "step"}, ValueError, "`update_freq` must be 'batch'"),
        ((), {"start_epoch": -1}, ValueError, "`start_epoch` must be a non-negative"),
        ((), {"batch_norm_freq": "batch"}, ValueError, "`batch_norm_freq` must be one"),
        ((), {"batch_norm_data": X}, TypeError, "`batch_norm_data` must be batches"),
        ((), {"batch_norm_data": (X, Y)}, TypeError, "must be batches that can be"),
        ((), {"batch_norm_data": iter([X])}, TypeError, "iterated over repeatedly"),
        ((), {"batch_norm_data": 3}, TypeError, "Received: int"),
    ],
)
def test_arguments_that_do_not_fit(arguments, options, error, message):
    with pytest.raises(error, match=message):
        WeightAveraging(*arguments, **options)


def test_two_averages_are_refused():
    model = network()
    model.compile(keras.optimizers.SGD(use_ema=True), "mse")
    with pytest.raises(ValueError, match="would each put an average"):
        fit(model, [WeightAveraging()], 1)


@pytest.mark.parametrize("train", FITS)
def test_two_callbacks_are_refused_and_one_after_the_other_is_not(train):
    model = network()
    with pytest.raises(ValueError, match=r"one WeightAveraging, .* Received: several"):
        train([WeightAveraging(), WeightAveraging("swa")], model=model)
    used = [WeightAveraging(), WeightAveraging("swa")]
    for callback in (*used, used[0]):
        train([callback], model=model)
    model.compile("sgd", "mse")
    model.evaluate(X, Y, verbose=0, callbacks=used)
    model.predict(X, verbose=0, callbacks=used)
    train([WeightAveraging()], model=model)


def test_a_training_that_did_not_begin_is_no_other_training():
    class Fails(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            raise KeyError("begin")

    model, first = compiled(), WeightAveraging()
    for callbacks in ([first, Fails()], [Fails(), first]):
        with pytest.raises(KeyError, match="begin"):
            fit(model, callbacks, 1)
        fit(model, [WeightAveraging()], 1)


def test_several_steps_per_execution_hide_batches_but_no_epochs():
    model = compiled(steps_per_execution=3)
    with pytest.raises(ValueError, match="compiled with steps_per_execution=3"):
        fit(model, [WeightAveraging()], 1)
    fit(model, [WeightAveraging("swa")], 2)


@pytest.mark.skipif(not JAX, reason="other backends call it from one thread")
def test_a_callback_without_a_list_is_called_from_other_threads():
    model = compiled()
    with pytest.raises(RuntimeError, match="Expected: a list"):
        model.fit(X, Y, verbose=0, callbacks=WeightAveraging())
