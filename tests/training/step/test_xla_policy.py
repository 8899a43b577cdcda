"""Which steps XLA compiles, and what becomes of those that it can't."""

import types
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ext import Loop, Trainer
from keras_ext.training.step import xla_policy
from keras_ext.training.step.tracing import operations
from keras_ext.training.step.xla_policy import suits_xla
from tests.training.problems import CLASSIFY, LABELS, X, classifier

layers = keras.layers
ONE_REPLICA = types.SimpleNamespace(num_replicas_in_sync=1)
TWO_REPLICAS = types.SimpleNamespace(num_replicas_in_sync=2)


class Nested(layers.Layer):
    """Convolution in a function that the step calls."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(2, 2, 1, 1))

    @tf.function(autograph=False)
    def convolve(self, x):
        return tf.nn.conv2d(x, self.kernel, 1, "SAME")

    def call(self, x):
        return self.convolve(x)


SUITABLE = {
    "Dense": ((6,), lambda: layers.Dense(2)),
    "BatchNormalization": ((6,), layers.BatchNormalization),
    "LSTM": ((5, 2), lambda: layers.LSTM(2)),
    "GRU": ((5, 2), lambda: layers.GRU(2)),
    "attention": ((5, 2), lambda: SelfAttention()),
    "Embedding": ((5,), lambda: layers.Embedding(7, 2)),
    "GlobalMaxPooling2D": ((6, 6, 1), layers.GlobalMaxPooling2D),
}
UNSUITABLE = {
    "Conv1D": ((6, 1), lambda: layers.Conv1D(2, 3)),
    "Conv2D": ((6, 6, 1), lambda: layers.Conv2D(2, 3)),
    "Conv3D": ((6, 6, 6, 1), lambda: layers.Conv3D(2, 3)),
    "DepthwiseConv2D": ((6, 6, 1), lambda: layers.DepthwiseConv2D(3)),
    "SeparableConv2D": ((6, 6, 1), lambda: layers.SeparableConv2D(2, 3)),
    "MaxPooling1D": ((6, 1), layers.MaxPooling1D),
    "MaxPooling2D": ((6, 6, 1), layers.MaxPooling2D),
    "AveragePooling3D": ((6, 6, 6, 1), lambda: layers.AveragePooling3D(2)),
    "nested function": ((6, 6, 1), Nested),
}


class SelfAttention(layers.Layer):
    def __init__(self):
        super().__init__()
        self.attention = layers.MultiHeadAttention(1, 2)

    def call(self, x):
        return self.attention(x, x)


def of_step(shape, layer, training):
    """Return the types of the operations in a step of a model of one layer."""
    model = keras.Sequential([keras.Input(shape), layer()])

    def predict(x):
        return model(x)

    def train(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(x, training=True))
        return tape.gradient(loss, model.trainable_variables)

    function = tf.function(train if training else predict, autograph=False)
    return operations(function.get_concrete_function(tf.ones((3, *shape))).graph)


class TestRule:
    @pytest.fixture(autouse=True)
    def _on_cpu(self, monkeypatch):
        monkeypatch.setattr(xla_policy, "on_cpu", lambda: True)

    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("name", SUITABLE)
    def test_suitable(self, name, training):
        assert suits_xla(of_step(*SUITABLE[name], training), ONE_REPLICA)

    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("name", UNSUITABLE)
    def test_convolution_and_pooling_are_not(self, name, training):
        assert not suits_xla(of_step(*UNSUITABLE[name], training), ONE_REPLICA)

    def test_everything_is_where_there_is_more_than_a_cpu(self, monkeypatch):
        monkeypatch.setattr(xla_policy, "on_cpu", lambda: False)
        assert suits_xla(frozenset({"Conv2D"}), ONE_REPLICA)

    def test_nothing_is_under_several_replicas(self, monkeypatch):
        assert not suits_xla(frozenset({"MatMul"}), TWO_REPLICAS)
        monkeypatch.setattr(xla_policy, "on_cpu", lambda: False)
        assert not suits_xla(frozenset({"MatMul"}), TWO_REPLICAS)


def small():
    keras.utils.set_random_seed(5)
    return keras.Sequential([keras.Input((6,)), layers.Dense(3, "softmax")])


def compiled(model=None, kind=Trainer, **options):
    trainer = kind(model or small(), seed=0)
    trainer.compile(keras.optimizers.SGD(0.05), **CLASSIFY, **options)
    return trainer


def with_xla(trainer, step="train"):
    """Return for what was compiled of a step whether XLA did it."""
    return {key[-1] for key in getattr(trainer._programs, step)._functions._functions}


def seven_at_a_time(trainer, epochs=1):
    """Make ten steps an epoch."""
    trainer.fit(X, LABELS, batch_size=7, epochs=epochs, verbose=0)


class TestChoice:
    @pytest.mark.parametrize(("epochs", "xla"), [(99, False), (100, True)])
    def test_from_a_thousand_steps_on_it_is_worth_it(self, epochs, xla):
        assert xla_policy.WORTH_STEPS == 1000
        trainer = compiled()
        loop = Loop(trainer, epochs=epochs, verbose=0)
        for epoch in loop:
            for chunk in epoch.chunks((X, LABELS), batch_size=7):
                epoch.log(trainer.steps(chunk))
            break  # what is planned counts, not what is made
        assert with_xla(trainer) == {xla}

    def test_steps_of_earlier_trainings_count(self, monkeypatch):
        monkeypatch.setattr(xla_policy, "WORTH_STEPS", 20)
        trainer = compiled()
        seven_at_a_time(trainer)
        assert with_xla(trainer) == {False}
        seven_at_a_time(trainer)
        assert with_xla(trainer) == {False, True}

    def test_where_the_length_is_unknown_steps_made_count(self, monkeypatch):
        monkeypatch.setattr(xla_policy, "WORTH_STEPS", 20)
        trainer = compiled()
        data = tf.data.Dataset.from_tensor_slices((X, LABELS)).batch(7)
        unknown = data.take_while(lambda x, y: tf.shape(x)[0] > 0)
        trainer.fit(unknown, epochs=3, verbose=0)
        assert with_xla(trainer) == {False, True}

    def test_single_steps_are_counted_too(self, monkeypatch):
        monkeypatch.setattr(xla_policy, "WORTH_STEPS", 3)
        trainer = compiled()
        for _ in range(3):
            trainer.step((X, LABELS))
            assert True not in with_xla(trainer)
        trainer.step((X, LABELS))
        assert True in with_xla(trainer)

    def test_evaluation_and_prediction_follow_the_rule(self, monkeypatch):
        trainer = compiled()
        for worth, xla in ((11, False), (10, True)):
            monkeypatch.setattr(xla_policy, "WORTH_STEPS", worth)
            trainer.compile(loss="sparse_categorical_crossentropy")
            trainer.evaluate(X, LABELS, 7, verbose=0)
            trainer.predict(X, 7, verbose=0)
            assert with_xla(trainer, "test") == {xla}
            assert with_xla(trainer, "predict") == {xla}

    @pytest.mark.parametrize(("choice", "worth"), [(True, 1000), (False, 0)])
    def test_jit_compile_decides(self, choice, worth, monkeypatch):
        monkeypatch.setattr(xla_policy, "WORTH_STEPS", worth)
        trainer = compiled(jit_compile=choice)
        seven_at_a_time(trainer)
        trainer.step((X, LABELS))
        assert with_xla(trainer) == {choice}

    def test_jit_compile_true_overrules_the_kind_of_layer(self):
        model = keras.Sequential(
            [
                keras.Input((6,)),
                layers.Reshape((6, 1)),
                layers.MaxPooling1D(),
                layers.Flatten(),
                layers.Dense(3, activation="softmax"),
            ]
        )
        trainer = compiled(model, jit_compile=True)
        seven_at_a_time(trainer)
        assert with_xla(trainer) == {True}

    def test_an_odd_batch_is_not_worth_compiling_for(self, monkeypatch):
        monkeypatch.setattr(xla_policy, "WORTH_STEPS", 0)
        trainer = compiled()
        trainer.fit(X[:65], LABELS[:65], batch_size=32, verbose=0)
        keys = trainer._programs.train._functions._functions
        assert len(keys) == 1

    def test_the_weights_are_those_of_the_graph(self, monkeypatch):
        monkeypatch.setattr(xla_policy, "WORTH_STEPS", 0)
        weights = []
        for choice in ("auto", False):
            trainer = compiled(classifier(), jit_compile=choice)
            seven_at_a_time(trainer, epochs=2)
            weights.append(trainer.get_weights())
        for one, other in zip(*weights, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


class WithStrings(Trainer):
    """Draws a number out of a text."""

    def forward(self, x, training):
        lengths = tf.strings.length(tf.strings.as_string(x[:, :1]))
        return super().forward(x * tf.cast(lengths, x.dtype) / 8.0, training)


class WithPython(Trainer):
    """Leaves the graph."""

    def forward(self, x, training):
        half = tf.py_function(lambda x: x / 2, [x], x.dtype)
        return super().forward(tf.ensure_shape(half, x.shape), training)


def rotating():
    keras.utils.set_random_seed(5)
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Reshape((2, 3, 1)),
            layers.RandomRotation(0.2, seed=1),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )


UNCOMPILABLE = {
    "strings": {"kind": WithStrings},
    "Python": {"kind": WithPython},
    "RandomRotation": {"model": rotating},
}


@pytest.fixture(params=UNCOMPILABLE)
def uncompilable(request, monkeypatch):
    """A function that makes a Trainer with a step that XLA can't compile."""
    monkeypatch.setattr(xla_policy, "WORTH_STEPS", 0)
    arguments = dict(UNCOMPILABLE[request.param])
    make = arguments.pop("model", small)
    return lambda **options: compiled(make(), **arguments, **options)


class TestUncompilable:
    def test_it_is_said_once_and_trained_as_a_graph(self, uncompilable):
        trainer, graph = uncompilable(), uncompilable(jit_compile=False)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(2):
                seven_at_a_time(trainer)
                trainer.step((X, LABELS))
        said = [str(w.message) for w in caught if "XLA" in str(w.message)]
        assert len(said) == 1
        assert "now runs as a graph" in said[0]
        assert "jit_compile=False" in said[0]

        for _ in range(2):
            seven_at_a_time(graph)
            graph.step((X, LABELS))
        pairs = zip(trainer.variables, graph.variables, strict=True)
        for variable, expected in pairs:
            np.testing.assert_array_equal(variable.numpy(), expected.numpy())
        assert int(trainer.optimizer.iterations) == 22

    def test_one_step_at_a_time(self, monkeypatch):
        monkeypatch.setattr(xla_policy, "WORTH_STEPS", 0)
        trainer = compiled(kind=WithStrings)
        with pytest.warns(UserWarning, match="now runs as a graph") as caught:
            trainer.step((X, LABELS))
        assert len(caught) == 1
        trainer.step((X, LABELS))
        assert int(trainer.optimizer.iterations) == 2

    @pytest.mark.parametrize("kind", [WithStrings, WithPython])
    def test_asked_for_it_is_an_error(self, kind):
        trainer = compiled(kind=kind, jit_compile=True)
        with pytest.raises(xla_policy.UNCOMPILABLE):
            seven_at_a_time(trainer)

    def test_where_keras_itself_declines_it_is_a_graph(self):
        """The layer says of itself that it can't be compiled, and Keras warns."""
        with pytest.warns(UserWarning, match="Proceeding with `jit_compile=False`"):
            trainer = compiled(rotating(), jit_compile=True)
        seven_at_a_time(trainer)
        assert with_xla(trainer) == {False}


def test_strings_in_the_data(monkeypatch):
    monkeypatch.setattr(xla_policy, "WORTH_STEPS", 0)
    lookup = layers.StringLookup(vocabulary=["0", "1", "2"], output_mode="one_hot")
    model = keras.Sequential(
        [keras.Input((), dtype="string"), lookup, layers.Dense(3, "softmax")]
    )
    trainer = compiled(model)
    with pytest.warns(UserWarning, match="now runs as a graph") as caught:
        trainer.fit(LABELS.astype(str), LABELS, epochs=2, verbose=0)
    assert len(caught) == 1


def test_an_error_of_the_step_itself_is_not_taken_for_xlas(monkeypatch):
    class Checking(Trainer):
        def train_step(self, data):
            raise tf.errors.InvalidArgumentError(None, None, "the step's own")

    monkeypatch.setattr(xla_policy, "WORTH_STEPS", 0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="the step's own"):
        seven_at_a_time(compiled(kind=Checking))
