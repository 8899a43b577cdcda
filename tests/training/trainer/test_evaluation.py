"""`evaluate` and `predict`: what `keras.Model` returns, and how they get there."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ext import Trainer
from keras_ext.training.loop.chunk_sizer import ChunkSizer
from tests.training.problems import (
    CLASSIFY,
    LABELS,
    TARGETS,
    Numbers,
    X,
    classifier,
    dataset,
    endless,
    list_inputs,
    subclassed,
    two_outputs,
    unbuilt,
    with_extra_loss,
)

WEIGHTS = np.linspace(0.0, 2.0, 70).astype("float32")
HALVES = {"first": X[:, :3], "second": X[:, 3:]}
TWO = {
    "loss": {"label": "sparse_categorical_crossentropy", "value": "mse"},
    "metrics": {"label": ["accuracy"], "value": ["mae"]},
}


def small():
    keras.utils.set_random_seed(5)
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, "softmax")])


def pair(make=classifier, kind=Trainer, **options):
    """Return a model and a Trainer of the same weights, compiled alike."""
    arguments = {**CLASSIFY, **options}
    stock, trainer = make(), kind(make())
    for model in (stock, trainer):
        model.compile("sgd", **arguments)
    return stock, trainer


def assert_same(actual, expected):
    """Check structures of numbers, NumPy arrays and ragged tensors."""
    keras.tree.assert_same_structure(actual, expected)
    for one, other in zip(
        keras.tree.flatten(actual), keras.tree.flatten(expected), strict=True
    ):
        if isinstance(other, tf.RaggedTensor):
            assert one.to_list() == other.to_list()
        elif np.asarray(other).dtype.kind == "O":
            np.testing.assert_array_equal(one, other)
        else:
            assert not tf.is_tensor(one)
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


class Sized(keras.utils.PyDataset):
    """Batches of several sizes."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        rows = slice(10 * index, 10 * index + (10, 10, 3, 10)[index])
        return X[rows], LABELS[rows]


DATA = {
    "arrays with a rest": lambda: {"x": X, "y": LABELS},
    "arrays without a rest": lambda: {"x": X, "y": LABELS, "batch_size": 14},
    "less than a batch": lambda: {"x": X[:5], "y": LABELS[:5]},
    "one sample": lambda: {"x": X[:1], "y": LABELS[:1]},
    "steps of arrays": lambda: {"x": X, "y": LABELS, "batch_size": 10, "steps": 3},
    "float64": lambda: {"x": X.astype("float64"), "y": LABELS},
    "sample weights": lambda: {"x": X, "y": LABELS, "sample_weight": WEIGHTS},
    "dataset": lambda: {"x": dataset()},
    "steps of a dataset": lambda: {"x": dataset(repeat=True), "steps": 7},
    "weights in a dataset": lambda: {
        "x": tf.data.Dataset.from_tensor_slices((X, LABELS, WEIGHTS)).batch(16)
    },
    "PyDataset": lambda: {"x": Numbers()},
    "batches of several sizes": lambda: {"x": Sized()},
    "generator": lambda: {"x": endless(), "steps": 6},
}
MODELS = {
    "add_loss": with_extra_loss,
    "own metric": subclassed,
    "not built": unbuilt,
}
OUTPUTS = {
    "dict": lambda a, b: {"b": a, "a": b},
    "list": lambda a, b: [a, b],
    "tuple": lambda a, b: (a, b),
    "nested": lambda a, b: {"list": [a, b], "dict": {"x": a}},
}


def with_outputs(structure):
    def make():
        keras.utils.set_random_seed(5)
        inputs = keras.Input((6,))
        dense, wide = keras.layers.Dense(2)(inputs), keras.layers.Dense(5)(inputs)
        return keras.Model(inputs, OUTPUTS[structure](dense, wide))

    return make


@pytest.fixture(scope="module")
def models():
    """A pair for tests that leave it as it is."""
    return pair(weighted_metrics=["accuracy"])


class TestEvaluate:
    @pytest.mark.parametrize("name", DATA)
    def test_it_returns_what_keras_returns(self, name, models):
        results = [
            model.evaluate(**DATA[name](), verbose=0, return_dict=True)
            for model in models
        ]
        assert_same(results[1], results[0])

    @pytest.mark.parametrize("name", MODELS)
    def test_of_other_models(self, name):
        stock, trainer = pair(MODELS[name])
        expected = stock.evaluate(X, LABELS, verbose=0)
        assert_same(trainer.evaluate(X, LABELS, verbose=0), expected)

    def test_of_two_outputs(self):
        stock, trainer = pair(two_outputs, **TWO)
        y = {"label": LABELS, "value": TARGETS}
        for as_dict in (True, False):
            options = {"batch_size": 16, "verbose": 0, "return_dict": as_dict}
            expected = stock.evaluate(HALVES, y, **options)
            assert len(expected) == 5
            assert_same(trainer.evaluate(HALVES, y, **options), expected)

    def test_of_list_inputs(self):
        stock, trainer = pair(list_inputs)
        x = [X[:, :3], X[:, 3:]]
        expected = stock.evaluate(x, LABELS, verbose=0)
        assert_same(trainer.evaluate(x, LABELS, verbose=0), expected)

    def test_eagerly(self):
        stock, trainer = pair(small, run_eagerly=True)
        expected = stock.evaluate(X, LABELS, verbose=0)
        assert_same(trainer.evaluate(X, LABELS, verbose=0), expected)

    def test_a_single_result_is_no_list(self):
        stock, trainer = pair(small, metrics=None)
        result = trainer.evaluate(X, LABELS, verbose=0)
        assert_same(result, stock.evaluate(X, LABELS, verbose=0))
        assert isinstance(result, float)

    def test_a_test_step_of_its_own(self):
        class Own(Trainer):
            def test_step(self, data):
                return {"z": tf.reduce_sum(data[1]), "a": tf.reduce_max(data[1])}

        trainer = Own(small())
        trainer.compile()
        expected = [float(LABELS[64:].max()), float(LABELS[64:].sum())]
        assert trainer.evaluate(X, LABELS, verbose=0) == expected

    def test_nothing_is_trained(self, models):
        _, trainer = models
        before = [variable.numpy() for variable in trainer.model.variables]
        trainer.evaluate(X, LABELS, verbose=0)
        for variable, value in zip(trainer.model.variables, before, strict=True):
            np.testing.assert_array_equal(variable.numpy(), value)

    def test_metrics_begin_anew_every_time(self, models):
        _, trainer = models
        first = trainer.evaluate(X, LABELS, verbose=0)
        trainer.evaluate(X[:20], LABELS[:20], verbose=0)
        assert trainer.evaluate(X, LABELS, verbose=0) == first


class TestPredict:
    @pytest.mark.parametrize("name", DATA)
    def test_it_returns_what_keras_returns(self, name, models):
        results = []
        for model in models:
            data = DATA[name]()
            arguments = {key: data[key] for key in data.keys() - {"y", "sample_weight"}}
            results.append(model.predict(**arguments, verbose=0))
        assert_same(results[1], results[0])

    @pytest.mark.parametrize("structure", OUTPUTS)
    def test_structures_of_outputs(self, structure):
        make = with_outputs(structure)
        stock, trainer = make(), Trainer(make())
        for batch_size in (16, 70, 100):
            expected = stock.predict(X, batch_size, verbose=0)
            assert_same(trainer.predict(X, batch_size, verbose=0), expected)

    def test_dict_inputs(self):
        stock, trainer = pair(two_outputs, **TWO)
        expected = stock.predict(HALVES, verbose=0)
        assert_same(trainer.predict(HALVES, verbose=0), expected)

    def test_eagerly(self):
        stock, trainer = pair(small, run_eagerly=True)
        assert_same(trainer.predict(X, verbose=0), stock.predict(X, verbose=0))

    def test_without_compile(self):
        expected = classifier().predict(X, verbose=0)
        assert_same(Trainer(classifier()).predict(X, verbose=0), expected)

    @pytest.mark.parametrize("steps_at_once", [1, 2, 1000])
    def test_any_number_of_batches_at_a_time(self, steps_at_once, models, monkeypatch):
        monkeypatch.setattr(ChunkSizer, "steps", property(lambda self: steps_at_once))
        stock, trainer = models
        for samples in (70, 64, 3):
            expected = stock.predict(X[:samples], 4, verbose=0)
            assert_same(trainer.predict(X[:samples], 4, verbose=0), expected)

    def test_more_outputs_than_there_is_room_for_at_once(self, monkeypatch):
        monkeypatch.setattr(ChunkSizer, "steps", property(lambda self: 1000))
        monkeypatch.setattr("keras_ext.training.data.chunks._MOST_BATCHES", 3)
        stock, trainer = pair(small)
        assert_same(trainer.predict(X, 4, verbose=0), stock.predict(X, 4, verbose=0))

    def test_texts(self):
        def make():
            words = keras.Input((), dtype="string")
            lookup = keras.layers.StringLookup(vocabulary=["0", "2"])
            return keras.Model(words, lookup(words))

        stock, trainer = make(), Trainer(make())
        words = LABELS.astype(str)
        data = tf.data.Dataset.from_tensor_slices(words).batch(16)
        for x in (words.astype(object), tf.constant(words), data):
            expected = stock.predict(x, verbose=0)
            assert_same(trainer.predict(x, verbose=0), expected)


PREDICT_STEPS = {
    "scalars": lambda x: tf.reduce_sum(x),
    "texts": lambda x: tf.strings.as_string(x[:, :2]),
    "several of a kind": lambda x: {"sum": tf.reduce_sum(x), "rows": x},
    "other widths": lambda x: tf.zeros((tf.shape(x)[0], width(x))),
    "other widths in the middle": lambda x: tf.zeros((tf.shape(x)[0], width(x), 2)),
    "other widths at the end": lambda x: tf.zeros((tf.shape(x)[0], 2, width(x))),
    "other numbers of samples": lambda x: tf.boolean_mask(x, x[:, 0] > 0),
}


def width(x):
    """Return a number that is the same for some batches and another for others."""
    return 1 + tf.cast(tf.reduce_sum(x) > 0, tf.int32)


class TestPredictStep:
    @pytest.mark.parametrize("name", PREDICT_STEPS)
    def test_outputs_of_every_kind(self, name, monkeypatch):
        class Own(Trainer):
            def predict_step(self, data):
                x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
                return PREDICT_STEPS[name](x)

        trainer = Own(small())
        for size in (4, 70):
            expected = keras.Model.predict(trainer, X, size, verbose=0)
            assert_same(trainer.predict(X, size, verbose=0), expected)
            with monkeypatch.context() as patch:
                patch.setattr(ChunkSizer, "steps", property(lambda self: 3))
                assert_same(trainer.predict(X, size, verbose=0), expected)

    def test_ragged_outputs(self):
        class Own(Trainer):
            def predict_step(self, data):
                return tf.RaggedTensor.from_tensor(data, padding=0.0)

        trainer = Own(small())
        x = np.tril(np.ones((7, 7), "float32"))
        result = trainer.predict(x, 2, verbose=0)
        assert result.to_list() == [[1.0] * (row + 1) for row in range(7)]

    def test_sparse_outputs(self):
        class Own(Trainer):
            def predict_step(self, data):
                return tf.sparse.from_dense(data)

        trainer = Own(small())
        x = np.eye(7, dtype="float32")
        result = trainer.predict(x, 2, verbose=0)
        np.testing.assert_array_equal(tf.sparse.to_dense(result), x)


class Hooks(keras.callbacks.Callback):
    """Keeps the calls of all hooks, with their arguments."""

    def __init__(self):
        super().__init__()
        self.calls = []
        for mode in ("test", "predict"):
            for moment in ("begin", "end"):
                self._record(f"on_{mode}_{moment}")
                self._record(f"on_{mode}_batch_{moment}")

    def _record(self, name):
        def hook(*arguments, **keywords):
            copied = keras.tree.map_structure(np.array, [arguments, keywords])
            self.calls.append((name, *copied))

        setattr(self, name, hook)


class TestCallbacks:
    @pytest.mark.parametrize("method", ["evaluate", "predict"])
    def test_the_same_calls_as_under_keras(self, method, models):
        data = (X, LABELS) if method == "evaluate" else (X,)
        calls = []
        for model in models:
            hooks = Hooks()
            getattr(model, method)(*data, batch_size=16, callbacks=[hooks], verbose=0)
            calls.append(hooks.calls)
        stock, ours = calls
        assert [call[0] for call in ours] == [call[0] for call in stock]
        assert len(ours) == 2 + 2 * 5
        for one, other in zip(ours, stock, strict=True):
            keras.tree.map_structure(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
                one[1:],
                other[1:],
            )

    def test_those_that_need_no_batch_hear_of_the_last_at_least(
        self, models, monkeypatch
    ):
        monkeypatch.setattr(ChunkSizer, "steps", property(lambda self: 1000))
        hooks = Hooks()
        hooks.batch_hook_freq = "epoch"
        _, trainer = models
        trainer.evaluate(X, LABELS, batch_size=10, callbacks=[hooks], verbose=0)
        numbers = [int(a[0]) for name, a, _ in hooks.calls if "batch" in name]
        assert numbers == [0, 6]

    @pytest.mark.parametrize("method", ["evaluate", "predict"])
    def test_the_pass_can_be_stopped(self, method, models):
        class Stop(keras.callbacks.Callback):
            batches = 0

            def on_test_batch_end(self, batch, logs=None):
                self.batches += 1
                self.model.stop_evaluating = batch == 2

            def on_predict_batch_end(self, batch, logs=None):
                self.batches += 1
                self.model.stop_predicting = batch == 2

        data = (X, LABELS) if method == "evaluate" else (X,)
        stock, trainer = models
        results = []
        for model in (trainer, trainer, stock):  # it does not stay stopped
            stop = Stop()
            results.append(
                getattr(model, method)(
                    *data, batch_size=10, callbacks=[stop], verbose=0
                )
            )
            assert stop.batches == 3
        assert_same(results[0], results[2])
        assert_same(results[1], results[2])

    def test_a_progress_bar_for_those_who_want_it(self, models, capsys):
        _, trainer = models
        trainer.evaluate(X, LABELS, batch_size=10, verbose=1)
        shown = capsys.readouterr().out
        assert "7/7" in shown
        assert "accuracy" in shown
        trainer.predict(X, batch_size=10, verbose=1)
        assert "7/7" in capsys.readouterr().out
        trainer.predict(X, batch_size=10, verbose=0)
        assert capsys.readouterr().out == ""


class TestErrors:
    @pytest.mark.parametrize("method", ["evaluate", "predict"])
    @pytest.mark.parametrize("data", [dataset().take(0), iter(())], ids=["tf", "iter"])
    def test_no_batch(self, method, data, models):
        _, trainer = models
        with pytest.raises(ValueError, match=f"data for `{method}` yielded no batch"):
            getattr(trainer, method)(data, verbose=0)

    @pytest.mark.parametrize("method", ["evaluate", "predict"])
    def test_empty_arrays(self, method, models):
        _, trainer = models
        with pytest.raises(ValueError, match="The data is empty"):
            getattr(trainer, method)(X[:0], verbose=0)

    def test_unknown_arguments(self, models):
        _, trainer = models
        with pytest.raises(TypeError, match="unknown arguments: batchsize, foo"):
            trainer.evaluate(X, LABELS, foo=1, batchsize=2, verbose=0)

    def test_evaluate_before_compile(self):
        with pytest.raises(RuntimeError, match=r"Trainer.evaluate` needs a compiled"):
            Trainer(classifier()).evaluate(X, LABELS, verbose=0)

    def test_endless_data(self, models):
        _, trainer = models
        with pytest.raises(ValueError, match="The dataset has no end"):
            trainer.evaluate(dataset(repeat=True), verbose=0)


class LastBatch(Trainer):
    """Reports the mean of the last batch."""

    def test_step(self, data):
        return {"last": tf.reduce_mean(data[0])}


def numbered(number):
    """Return a batch whose mean is its number."""
    return np.full((4, 6), number, "float32"), np.zeros(4, int)


class Endless(keras.utils.PyDataset):
    num_batches = None

    def __getitem__(self, index):
        return numbered(index)


def numbered_dataset():
    numbers = np.repeat(np.arange(20.0), 4)[:, None] * np.ones(6)
    return tf.data.Dataset.from_tensor_slices((numbers, np.zeros(80, int))).batch(4)


class TestValidation:
    @pytest.mark.parametrize(
        "validation",
        [
            lambda: {"validation_data": (X[:33], LABELS[:33], WEIGHTS[:33])},
            lambda: {"validation_data": dataset(), "validation_steps": 2},
            lambda: {"validation_split": 0.2, "validation_batch_size": 5},
        ],
        ids=["weights", "steps", "split"],
    )
    def test_stock_fit_of_a_trainer_validates_as_that_of_its_model(self, validation):
        histories = []
        for model in pair(small):
            history = keras.Model.fit(
                model, X, LABELS, epochs=2, shuffle=False, verbose=0, **validation()
            )
            histories.append(history.history)
        stock, ours = histories
        assert ours.keys() == stock.keys()
        for name in stock:
            np.testing.assert_allclose(ours[name], stock[name], rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize(
        ("data", "last"),
        [
            (lambda: map(numbered, itertools.count()), [1.0, 3.0, 5.0]),
            (lambda: numbered_dataset(), [1.0, 1.0, 1.0]),
            (lambda: numbered_dataset().repeat(), [1.0, 1.0, 1.0]),
            (Endless, [1.0, 1.0, 1.0]),
        ],
        ids=["generator", "dataset", "endless dataset", "PyDataset"],
    )
    def test_a_generator_goes_on_and_a_dataset_begins_anew(self, data, last):
        trainer = LastBatch(small())
        trainer.compile("sgd", **CLASSIFY)
        history = trainer.fit(
            X, LABELS, epochs=3, verbose=0, validation_data=data(), validation_steps=2
        )
        assert history.history["val_last"] == last

    def test_no_more_is_drawn_from_a_generator_than_is_used(self):
        drawn = []

        def batches():
            for number in itertools.count():
                drawn.append(number)
                yield numbered(number)

        _, trainer = pair(small)
        trainer.fit(
            X,
            LABELS,
            epochs=3,
            verbose=0,
            validation_data=batches(),
            validation_steps=2,
        )
        assert drawn == [0, 1, 2, 3, 4, 5]


class TestTraces:
    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_one_for_data_of_any_length(self, jit_compile):
        traces = []

        class Counting(Trainer):
            def forward(self, x, training):
                if not training:
                    traces.append(1)
                return super().forward(x, training)

        _, trainer = pair(small, Counting, metrics=None, jit_compile=jit_compile)
        for samples, size in [(70, 32), (64, 32), (5, 32), (70, 7)]:
            x, y = X[:samples], LABELS[:samples]
            trainer.evaluate(x, y, size, verbose=0)
            trainer.predict(x, size, verbose=0)
        trainer.evaluate(dataset(), verbose=0)
        # One for evaluation and one for prediction, and the same again for XLA.
        assert len(traces) <= 2 * (1 + jit_compile)

    def test_evaluation_is_compiled_once_for_all_epochs(self):
        traces = []

        class Counting(Trainer):
            def compute_loss(self, *arguments, training=True, **options):
                if not training:
                    traces.append(1)
                return super().compute_loss(*arguments, training=training, **options)

        _, trainer = pair(small, Counting)
        for _ in range(2):
            trainer.fit(X, LABELS, epochs=3, verbose=0, validation_data=dataset())
        assert len(traces) == 1
