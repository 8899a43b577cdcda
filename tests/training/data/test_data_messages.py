"""What is said about data that does not fit, wherever it is used."""

import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ext import Loop, Trainer
from keras_ext.training.data.make import make_source

pytestmark = pytest.mark.once

X, Y = np.ones((8, 2), "float32"), np.zeros((8, 1), "float32")
NAMES = np.array(["a", "b"] * 4)
SAMPLES = tf.data.Dataset.from_tensor_slices((X, Y))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.top = keras.layers.Dense(1)

    def call(self, inputs):
        return self.top(inputs)


def functional():
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])


def compiled(model=functional, **options):
    trainer = Trainer(model())
    trainer.compile("sgd", "mse", **options)
    return trainer


def lists():
    return iter([(X.tolist(), Y.tolist()), (X[:3].tolist(), Y[:3].tolist())])


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("model", [functional, Subclassed])
class TestBatches:
    def test_a_loss_without_targets(self, model, eager):
        trainer = compiled(model, run_eagerly=eager)
        data = tf.data.Dataset.from_tensors(X)
        calls = [
            lambda: trainer.fit(X, verbose=0),
            lambda: trainer.fit(data, verbose=0),
            lambda: trainer.evaluate(X, verbose=0),
            lambda: trainer.step(X),
            lambda: trainer.fit(X, Y, validation_data=X, verbose=0),
        ]
        for call in calls:
            with pytest.raises(
                ValueError, match=r"loss needs targets.*`y`.*loss='mse'"
            ):
                call()

    def test_targets_that_are_strings(self, model, eager):
        trainer = compiled(model, run_eagerly=eager)
        for y in (NAMES, NAMES.astype(object)):
            for call in (trainer.fit, trainer.evaluate):
                with pytest.raises(TypeError, match="`y` must hold numbers"):
                    call(X, y, verbose=0)
        # And then with the right ones.
        assert trainer.fit(X, Y, verbose=0).history["loss"]

    def test_lists_of_python_numbers(self, model, eager):
        trainer = compiled(model, run_eagerly=eager)
        calls = [
            lambda: trainer.fit(lists(), verbose=0),
            lambda: trainer.evaluate(lists(), verbose=0),
            lambda: trainer.predict(lists(), verbose=0),
            lambda: trainer.step(next(lists())),
            lambda: trainer.step(({"a": [1.0, 2.0]}, Y)),
        ]
        for call in calls:
            with pytest.raises(TypeError, match=r"`x` of a batch must.*list|dict") as e:
                call()
            assert "np.asarray" in str(e.value)
            assert len(str(e.value)) < 400

    def test_targets_with_a_none(self, model, eager):
        trainer = compiled(model, run_eagerly=eager)
        for call in (trainer.fit, trainer.evaluate):
            with pytest.raises(
                ValueError,
                match=r"`y` must hold an array for each.*of shape \(.*, 1\), None",
            ):
                call(X, [Y, None], verbose=0)

    def test_inputs_that_are_strings(self, model, eager):
        trainer = compiled(model, run_eagerly=eager)
        calls = [
            lambda x: trainer.fit(x, Y, batch_size=3, verbose=0),
            lambda x: trainer.evaluate(x, Y, verbose=0),
            lambda x: trainer.predict(x, verbose=0),
            lambda x: trainer.step((x, Y)),
        ]
        for x in (NAMES, np.stack([NAMES, NAMES], axis=1)):
            for call in calls:
                with pytest.raises(TypeError, match=r"`x` holds strings.*StringLookup"):
                    call(x)

    def test_weights_for_more_than_the_loss_has(self, model, eager):
        weights = np.ones((8, 5))
        trainer = compiled(model, run_eagerly=eager)
        calls = [
            lambda: trainer.fit(X, Y, sample_weight=weights, batch_size=3, verbose=0),
            lambda: trainer.evaluate(X, Y, sample_weight=weights, verbose=0),
            lambda: trainer.step((X, Y, weights)),
            # The loss would broadcast these.
            lambda: trainer.step((X, Y, np.ones((8, 8)))),
        ]
        for call in calls:
            with pytest.raises(
                ValueError,
                match=r"`sample_weight` must.*per sample.*\((\d|None), [58]\)",
            ):
                call()
        # A column is no more than one weight per sample.
        assert trainer.step((X, Y, np.ones((8, 1))))

    def test_single_samples(self, model, eager):
        trainer = compiled(model, run_eagerly=eager)
        scalars = tf.data.Dataset.from_tensor_slices((X, Y[:, 0]))
        calls = [
            lambda: trainer.fit(SAMPLES, verbose=0),
            lambda: trainer.evaluate(SAMPLES, verbose=0),
            lambda: trainer.predict(SAMPLES, verbose=0),
            lambda: trainer.fit(scalars, verbose=0),
            lambda: trainer.fit(iter(zip(X, Y, strict=True)), verbose=0),
            lambda: trainer.step((X[0], Y[0])),
        ]
        for call in calls:
            with pytest.raises(ValueError, match=r"`x` of shape \(2,\).*\.batch\(32\)"):
                call()

    def test_single_samples_that_pass_for_batches(self, model, eager):
        # A sample of four steps, taken for four samples.
        data = tf.data.Dataset.from_tensor_slices((X.reshape(2, 4, 2), Y[:2, 0]))
        with pytest.raises(
            ValueError, match=r"`y` .*Received: a scalar.*\.batch\(32\)"
        ):
            compiled(model, run_eagerly=eager).fit(data, verbose=0)

    def test_arrays_without_an_axis_of_samples(self, model, eager):
        trainer = compiled(model, run_eagerly=eager)
        match = r"`x` of shape \((2|None),\).*`x\[None\]`"
        with pytest.raises(ValueError, match=match):
            trainer.predict(X[0], verbose=0)

    def test_other_errors_are_left_alone(self, model, eager):
        class Failing(Trainer):
            def forward(self, x, training):
                raise ValueError("^of my own$")

        trainer = Failing(model())
        trainer.compile("sgd", "mse", run_eagerly=eager)
        # A step of one's own may take batches of any kind.
        for batch in ((X, Y), (X, Y[:3]), (X, 2.0)):
            with pytest.raises(ValueError, match=re.escape("^of my own$")) as error:
                trainer.step(batch)
            assert ".batch" not in str(error.value)


class TestSeveralOutputs:
    def model(self):
        x = keras.Input((2,))
        return keras.Model(x, [keras.layers.Dense(1, name=name)(x) for name in "ab"])

    def trainer(self, loss):
        trainer = Trainer(self.model())
        trainer.compile("sgd", loss)
        return trainer

    @pytest.mark.parametrize("loss", ["mse", ["mse", "mse"], {"a": "mse", "b": "mse"}])
    def test_targets_with_a_none(self, loss):
        y = {"a": Y, "b": None} if isinstance(loss, dict) else [Y, None]
        with pytest.raises(ValueError, match="`y` must hold an array for each"):
            self.trainer(loss).fit(X, y, verbose=0)

    def test_weights(self):
        with pytest.raises(ValueError, match="one weight per sample"):
            self.trainer(["mse", "mse"]).fit(
                X, [Y, Y], sample_weight=[np.ones(8), np.ones((8, 5))], verbose=0
            )

    def test_an_output_without_a_loss(self):
        trainer = self.trainer(["mse", None])
        with pytest.warns(UserWarning, match="Gradients do not exist"):
            history = trainer.fit(X, [Y, None], verbose=0).history
        assert history["loss"]


def test_weights_of_steps_and_of_a_loss_of_ones_own():
    x, y = np.ones((4, 3, 2), "float32"), np.zeros((4, 3, 1), "float32")
    model = keras.Sequential([keras.Input((3, 2)), keras.layers.Dense(1)])
    trainer = Trainer(model)
    trainer.compile("sgd", "mse")
    assert trainer.evaluate(x, y, sample_weight=np.ones((4, 3)), verbose=0) >= 0
    trainer.compile("sgd", lambda y, y_pred: (y - y_pred) ** 2)
    assert trainer.evaluate(x, y, sample_weight=np.ones((4, 3, 1)), verbose=0) >= 0


def test_models_that_read_strings():
    lookup = keras.layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")
    for first in ([keras.Input((1,), dtype="string")], []):
        model = keras.Sequential([*first, lookup, keras.layers.Dense(1)])
        trainer = Trainer(model)
        for size in (8, 6):  # Both when the model is built, and later.
            x = NAMES[:size, None]
            assert trainer.predict(x, verbose=0).shape == (size, 1)


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                {"y": "text"},
                "`y` must be an array.*like `x`. Received: 'text' of type",
            ),
            ({"y": 5}, "`y` must be an array.*Received: 5 of type int"),
            ({"y": SAMPLES}, "`y` must be an array.*of type _TensorSlice"),
            ({"y": lists()}, "`y` must be an array.*of type list_iterator"),
            ({"y": Y, "sample_weight": 2.0}, "`sample_weight` must be an array"),
            ({"y": [0] * 99}, r"`y` is a list.*0, 0.*\.\.\.\. Convert Python numbers"),
            (
                {"y": Y, "validation_data": (X, "text")},
                "`y` in `validation_data` must be an array",
            ),
        ],
    )
    def test_beside_arrays(self, arguments, message):
        with pytest.raises(TypeError, match=message):
            compiled().fit(X, **arguments, verbose=0)

    def test_beside_other_data(self):
        with pytest.raises(
            ValueError, match=r"a list_iterator yields it.*Leave `y` out"
        ):
            compiled().fit(lists(), Y, verbose=0)

    @pytest.mark.parametrize("data", ["text", 5, pathlib.Path("data.csv")])
    def test_something_else(self, data):
        trainer = compiled()
        shown = re.escape(repr(data))
        for call in (
            lambda: trainer.fit(data, verbose=0),
            lambda: trainer.fit(data, Y, verbose=0),
            lambda: trainer.predict(data, verbose=0),
        ):
            with pytest.raises(TypeError, match=f"data must be.*Received: {shown} of"):
                call()
        with pytest.raises(TypeError, match=f"data in `validation_data`.*: {shown} of"):
            trainer.fit(X, Y, validation_data=data, verbose=0)

    def test_validation_data_of_too_many_parts(self):
        with pytest.raises(ValueError, match=r"\(x, y\).*a tuple of 4") as error:
            compiled().fit(X, Y, validation_data=(X, Y, Y, Y), verbose=0)
        assert len(str(error.value)) < 200

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            ((X, Y[:7]), "`x` has 8, `y` has 7$"),
            ((X, Y, Y[:6]), "`x` has 8, `y` has 8, `sample_weight` has 6$"),
            (({"a": X, "b": X[:5]}, [Y, Y]), r"`x\['a'\]` has 8, `x\['b'\]` has 5"),
        ],
    )
    def test_arrays_that_differ_in_length(self, data, message):
        message = f"same number of samples.*Received: {message}"
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        trainer = compiled()
        with pytest.raises(ValueError, match=message):
            trainer.fit(x, y, sample_weight=sample_weight, verbose=0)
        with pytest.raises(ValueError, match=r"in `validation_data` must.*has 8, `"):
            trainer.fit(X, Y, validation_data=data, verbose=0)

    def test_weights_that_are_strings(self):
        with pytest.raises(TypeError, match="`sample_weight` must hold numbers"):
            compiled().fit(X, Y, sample_weight=NAMES, verbose=0)

    @pytest.mark.parametrize("dtype", ["datetime64[D]", [("a", "f4")]])
    def test_arrays_that_are_no_tensors(self, dtype):
        x = np.zeros((8, 2), "int64").astype(dtype)
        with pytest.raises(ValueError, match=r"(datetime64|'a').*an array of numbers"):
            compiled().fit(x, Y, verbose=0)

    def test_parts_of_the_data_as_further_arguments(self):
        for epoch in Loop(compiled(), epochs=1, verbose=0):
            for method in (epoch.batches, epoch.chunks):
                with pytest.raises(
                    TypeError, match=r"array of shape \(8, 1\).*\(x, y\)"
                ):
                    next(iter(method(X, Y)))

    def test_rows_of_objects_that_differ_in_length(self):
        rows = np.array([[1.0, 2.0], [3.0]] * 4, dtype=object)
        with pytest.raises(ValueError, match=r"of Python objects.*same length"):
            compiled().fit(rows, Y, verbose=0)


def test_batches_that_differ_are_shown_in_short():
    source = make_source(lists())
    with pytest.raises(ValueError, match="Received: batch 1 is ") as error:
        list(source.epoch(0))
    assert len(str(error.value)) < 400


def test_a_loss_of_ones_own_needs_no_targets():
    class Small(Trainer):
        def compute_loss(self, x=None, y=None, y_pred=None, *args, **kwargs):
            return keras.ops.mean(y_pred**2)

    trainer = Small(functional())
    trainer.compile("sgd", "mse")
    assert trainer.fit(X, verbose=0).history["loss"]
