"""Which algorithm draws the random numbers of a traced step."""

import concurrent.futures
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ext import Trainer
from keras_ext.training.step.rng_algorithm import drawing_with
from tests.training.problems import CLASSIFY, LABELS, X, with_dropout

NUMBERS = {"philox": 1, "threefry": 2}
FUNCTIONS = [
    (tf.random, "stateless_uniform"),
    (tf.random, "stateless_normal"),
    (tf.random, "stateless_truncated_normal"),
    (tf.random.experimental, "stateless_shuffle"),
    (tf.nn.experimental, "stateless_dropout"),
]
SAMPLERS = {
    "normal": lambda: keras.random.normal((4,), seed=3),
    "uniform": lambda: keras.random.uniform((4,), seed=3),
    "truncated normal": lambda: keras.random.truncated_normal((4,), seed=3),
    "integers": lambda: keras.random.randint((4,), 0, 1000, seed=3),
    "shuffle": lambda: keras.random.shuffle(tf.range(20), seed=3),
    "dropout": lambda: keras.random.dropout(tf.ones(20), 0.5, seed=3),
}
LAYERS = {
    "Dropout": lambda: keras.layers.Dropout(0.5, seed=1),
    "GaussianNoise": lambda: keras.layers.GaussianNoise(0.5, seed=1),
    "SpatialDropout1D": lambda: keras.layers.SpatialDropout1D(0.5, seed=1),
}


def traced(function, **options):
    return tf.function(function, autograph=False, **options).get_concrete_function()


def algorithms(graph):
    """Return the numbers of the algorithms that random operations are told to use."""
    return {
        int(tf.get_static_value(operation.inputs[3]))
        for operation in graph.get_operations()
        if operation.type.startswith("Stateless")
        # This one makes a seed for Philox out of the caller's.
        and operation.type != "StatelessRandomUniformFullIntV2"
        and len(operation.inputs) > 3
    }


def now():
    return [getattr(module, name) for module, name in FUNCTIONS]


class TestAlgorithm:
    @pytest.mark.parametrize("algorithm", NUMBERS)
    @pytest.mark.parametrize("name", SAMPLERS)
    def test_functions_of_keras_draw_with_it(self, name, algorithm):
        with drawing_with(algorithm):
            graph = traced(SAMPLERS[name]).graph
        assert algorithms(graph) == {NUMBERS[algorithm]}

    @pytest.mark.parametrize("algorithm", NUMBERS)
    @pytest.mark.parametrize("name", LAYERS)
    def test_layers_draw_with_it(self, name, algorithm):
        layer = LAYERS[name]()
        with drawing_with(algorithm):
            graph = traced(lambda: layer(tf.ones((2, 3, 4)), training=True)).graph
        assert algorithms(graph) == {NUMBERS[algorithm]}

    @pytest.mark.parametrize("name", SAMPLERS)
    def test_philox_draws_what_tensorflow_draws_unasked(self, name):
        expected = SAMPLERS[name]()
        with drawing_with("philox"):
            np.testing.assert_array_equal(SAMPLERS[name](), expected)
            np.testing.assert_array_equal(traced(SAMPLERS[name])(), expected)

    @pytest.mark.parametrize("name", SAMPLERS)
    def test_threefry_draws_other_numbers(self, name):
        unasked = SAMPLERS[name]()
        with drawing_with("threefry"):
            function = traced(SAMPLERS[name], jit_compile=True)
        # What was traced inside keeps it.
        numbers = function()
        assert not np.array_equal(numbers, unasked)
        np.testing.assert_array_equal(function(), numbers)


class TestCaller:
    @pytest.mark.parametrize("said", ["philox", tf.random.Algorithm.PHILOX])
    def test_the_callers_choice_is_respected(self, said):
        with drawing_with("threefry"):
            graph = traced(
                lambda: tf.random.stateless_normal((4,), (1, 2), alg=said)
            ).graph
        assert algorithms(graph) == {NUMBERS["philox"]}

    def test_also_by_position(self):
        def draw():
            positional = (4,), (1, 2), 0, 1, tf.float32, None, "philox"
            return tf.random.stateless_uniform(*positional)

        with drawing_with("threefry"):
            assert algorithms(traced(draw).graph) == {NUMBERS["philox"]}

    @pytest.mark.parametrize("said", ["auto_select", None])
    def test_no_choice_is_none(self, said):
        def draw():
            options = {} if said is None else {"alg": said}
            return tf.random.stateless_normal((4,), (1, 2), **options)

        with drawing_with("threefry"):
            assert algorithms(traced(draw).graph) == {NUMBERS["threefry"]}


class TestRestoring:
    def test_functions_are_replaced_inside_only(self):
        before = now()
        with drawing_with("threefry"):
            assert all(a is not b for a, b in zip(now(), before, strict=True))
        assert now() == before

    def test_after_an_exception(self):
        before = now()
        with pytest.raises(LookupError), drawing_with("threefry"):
            raise LookupError
        assert now() == before

    def test_inside_another(self):
        before = now()
        with drawing_with("threefry"):
            with drawing_with("philox"):
                inner = traced(SAMPLERS["normal"]).graph
            outer = traced(SAMPLERS["normal"]).graph
        assert algorithms(inner) == {NUMBERS["philox"]}
        assert algorithms(outer) == {NUMBERS["threefry"]}
        assert now() == before

    def test_other_threads_draw_as_they_did(self):
        with (
            drawing_with("threefry"),
            concurrent.futures.ThreadPoolExecutor(1) as thread,
        ):
            numbers = thread.submit(SAMPLERS["normal"]).result()
        np.testing.assert_array_equal(numbers, SAMPLERS["normal"]())

    def test_while_another_thread_draws_with_another(self):
        before = now()
        entered, go_on = threading.Event(), threading.Event()

        def other():
            with drawing_with("philox"):
                entered.set()
                go_on.wait(60)
                return traced(SAMPLERS["normal"]).graph

        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            with drawing_with("threefry"):
                there = thread.submit(other)
                assert entered.wait(60)
                here = traced(SAMPLERS["normal"]).graph
            go_on.set()
            assert algorithms(there.result()) == {NUMBERS["philox"]}
        assert algorithms(here) == {NUMBERS["threefry"]}
        assert now() == before

    @pytest.mark.parametrize(("module", "name"), FUNCTIONS)
    def test_a_function_that_tensorflow_has_not(self, module, name, monkeypatch):
        monkeypatch.delattr(module, name)
        with drawing_with("threefry"):
            assert not hasattr(module, name)
            others = [one for one in FUNCTIONS if one != (module, name)]
            assert all(hasattr(*one) for one in others)
        assert not hasattr(module, name)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_step_that_raises_while_it_is_traced_restores_them(jit_compile):
    class Failing(Trainer):
        def train_step(self, data):
            raise LookupError

    before = now()
    trainer = Failing(with_dropout())
    trainer.compile("sgd", **CLASSIFY, jit_compile=jit_compile)
    with pytest.raises(LookupError):
        trainer.fit(X, LABELS, verbose=0)
    assert now() == before
