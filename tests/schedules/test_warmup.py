"""Warm-up of constants, of Keras's schedules and of ours."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.schedules import Cyclical, OneCycle, Warmup
from tests.reference import schedules as reference

BACKEND = keras.backend.backend()
DTYPES = ["float16", "bfloat16", "float32"]
if BACKEND != "jax":  # has float64 only where it is enabled
    DTYPES.append("float64")


def values(schedule, steps):
    return np.array([float(schedule(int(step))) for step in steps])


@pytest.mark.parametrize("initial", [0.0, 0.02, 0.3])
class TestEqualsTheFormula:
    def test_constant(self, initial):
        schedule = Warmup(0.1, 20, initial_learning_rate=initial)
        expected = [reference.warmup(step, 20, 0.1, initial) for step in range(40)]
        np.testing.assert_allclose(values(schedule, range(40)), expected, rtol=1e-6)

    def test_one_cycle(self, initial):
        schedule = Warmup(OneCycle(0.1, 60), 20, initial_learning_rate=initial)
        expected = [
            reference.warmup(
                step, 20, lambda after: reference.one_cycle(after, 0.1, 60), initial
            )
            for step in range(100)
        ]
        np.testing.assert_allclose(
            ops.convert_to_numpy(schedule(np.arange(100))), expected, rtol=1e-6
        )

    @pytest.mark.parametrize(
        "inner",
        [
            keras.optimizers.schedules.CosineDecay(0.1, 30),
            keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5, staircase=True),
            keras.optimizers.schedules.PiecewiseConstantDecay(
                [5, 9], [0.1, 0.05, 0.01]
            ),
            keras.optimizers.schedules.PolynomialDecay(0.1, 30, 0.01),
        ],
        ids=lambda inner: type(inner).__name__,
    )
    def test_schedules_of_keras(self, initial, inner):
        schedule = Warmup(inner, 10, initial_learning_rate=initial)
        expected = [
            reference.warmup(step, 10, lambda after: float(inner(after)), initial)
            for step in range(45)
        ]
        np.testing.assert_allclose(values(schedule, range(45)), expected, rtol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.skipif(BACKEND != "tensorflow", reason="the compiler of TensorFlow")
def test_corners_are_exact(jit_compile):
    import tensorflow as tf

    schedule = Warmup(OneCycle(0.1, 700), 300, initial_learning_rate=0.001)
    at = tf.function(schedule.__call__, jit_compile=jit_compile, autograph=False)
    corners = {0: 0.001, 300: 0.1 / 25, 510: 0.1, 1000: 0.1 / 25 / 1e4}
    for step, expected in corners.items():
        assert float(schedule(step)) == np.float32(expected)
        assert float(at(tf.constant(step, "int64"))) == np.float32(expected)


def test_large_steps_are_told_apart():
    schedule = Warmup(Cyclical(0.0, 1.0, 10), 2**24 + 1)
    start = 2**24 + 1
    assert values(schedule, start + np.array([0, 1, 10])) == pytest.approx([0, 0.1, 1])
    assert float(Warmup(1.0, start)(start - 1)) == pytest.approx(1 - 1 / start)


@pytest.mark.parametrize("dtype", DTYPES)
def test_drives_optimizers_of_every_dtype(dtype):
    optimizer = keras.optimizers.SGD(Warmup(0.5, 4))
    variable = keras.Variable(ops.zeros(1), dtype=dtype)
    for _ in range(6):
        optimizer.apply([ops.ones(1, dtype)], [variable])
    assert float(ops.cast(variable, "float32")[0]) == -(
        0.125 + 0.25 + 0.375 + 0.5 + 0.5
    )


def test_a_compiled_fit_follows_it():
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")]
    )
    model.compile(
        keras.optimizers.SGD(Warmup(OneCycle(0.1, 10), 4)),
        loss=lambda y, p: ops.mean(p, axis=-1),
    )
    model.fit(np.ones((6, 1)), np.ones((6, 1)), batch_size=1, verbose=0)
    expected = -values(Warmup(OneCycle(0.1, 10), 4), range(6)).sum()
    assert float(model.weights[0][0, 0]) == pytest.approx(expected, rel=1e-5)


class TestNesting:
    schedule = Warmup(
        Warmup(keras.optimizers.schedules.CosineDecay(0.1, 30), 5, name="inner"),
        10,
        initial_learning_rate=0.01,
    )

    def test_serialised_by_keras(self):
        stored = keras.saving.serialize_keras_object(self.schedule)
        again = keras.saving.deserialize_keras_object(stored)
        assert isinstance(
            again.schedule.schedule, type(self.schedule.schedule.schedule)
        )
        steps = range(50)
        np.testing.assert_array_equal(
            values(again, steps), values(self.schedule, steps)
        )

    def test_from_config_leaves_the_config_alone(self):
        config = self.schedule.get_config()
        Warmup.from_config(config)
        assert config == self.schedule.get_config()

    def test_keras_file(self, tmp_path):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(self.schedule), loss="mse")
        model.fit(np.ones((3, 1)), np.ones((3, 1)), batch_size=1, verbose=0)
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        assert float(loaded.optimizer.learning_rate) == float(self.schedule(3))


@pytest.mark.parametrize("step", [2.5, 10.0, 17.75])
def test_float_steps(step):
    decay = keras.optimizers.schedules.CosineDecay(0.1, 20)
    rate = float(Warmup(decay, 10)(step))
    assert rate == pytest.approx(
        reference.warmup(step, 10, lambda s: float(decay(s))), rel=1e-5
    )


def test_steps_must_be_numbers():
    with pytest.raises(ValueError, match="Warmup expects `step` to be a number"):
        Warmup(0.1, 10)(True)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"schedule": -0.1}, "LearningRateSchedule`, or a finite number .*=-0.1"),
        ({"schedule": float("nan")}, "schedule=nan"),
        ({"schedule": None}, "schedule=None"),
        ({"schedule": lambda step: 0.1}, "schedule=<function"),
        ({"warmup_steps": 0}, "`warmup_steps` must be a positive integer. .*=0"),
        ({"warmup_steps": 1.5}, "warmup_steps=1.5"),
        ({"initial_learning_rate": -1}, r"`initial_learning_rate` .* in \[0, inf\)"),
        ({"initial_learning_rate": float("inf")}, "initial_learning_rate=inf"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        Warmup(**{"schedule": 0.1, "warmup_steps": 10, **arguments})


def test_config_keeps_every_argument():
    assert Warmup(1, 10).get_config() == {
        "schedule": 1.0,
        "warmup_steps": 10,
        "initial_learning_rate": 0.0,
        "name": "Warmup",
    }
