"""The triangle wave against its closed formula, at every step."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.schedules import Cyclical
from tests.reference import schedules as reference

BACKEND = keras.backend.backend()
DTYPES = ["float16", "bfloat16", "float32"]
if BACKEND != "jax":  # has float64 only where it is enabled
    DTYPES.append("float64")
MODES = [("triangular", 1.0), ("triangular2", 1.0), ("exp_range", 0.99)]


@pytest.mark.parametrize(("mode", "gamma"), MODES)
@pytest.mark.parametrize("initial", [0.0, 0.001])
@pytest.mark.parametrize("step_size", [1, 7, 20])
def test_equals_the_formula_at_every_step(mode, gamma, initial, step_size):
    schedule = Cyclical(initial, 0.006, step_size, mode=mode, gamma=gamma)
    steps = np.arange(200)
    expected = [
        reference.cyclical(int(step), initial, 0.006, step_size, mode, gamma)
        for step in steps
    ]
    np.testing.assert_allclose(
        ops.convert_to_numpy(schedule(steps)), expected, rtol=2e-6, atol=1e-12
    )


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.skipif(BACKEND != "tensorflow", reason="the compiler of TensorFlow")
def test_corners_are_exact(jit_compile):
    import tensorflow as tf

    schedule = Cyclical(0.001, 0.006, 2000)
    at = tf.function(schedule.__call__, jit_compile=jit_compile, autograph=False)
    for step in (0, 2000, 4000, 6000, 2**40 * 4000, 2**40 * 4000 + 2000):
        expected = np.float32(0.006 if step % 4000 else 0.001)
        assert float(schedule(step)) == expected
        assert float(at(tf.constant(step, "int64"))) == expected


def test_large_steps_are_told_apart():
    schedule = Cyclical(0.0, 1.0, 10)
    start = 20 * (10**9 // 20)
    assert [float(schedule(start + i)) for i in (0, 1, 10, 19)] == pytest.approx(
        [0.0, 0.1, 1.0, 0.1]
    )


def test_a_gamma_just_below_1_is_not_lost_to_float32():
    gamma = 1 - 1e-5
    schedule = Cyclical(0.0, 1.0, 1000, mode="exp_range", gamma=gamma)
    expected = reference.cyclical(501_000, 0.0, 1.0, 1000, "exp_range", gamma)
    assert float(schedule(501_000)) == pytest.approx(expected, rel=1e-5)
    assert np.float32(gamma) ** 501_000 != pytest.approx(gamma**501_000, rel=1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_drives_optimizers_of_every_dtype(dtype):
    optimizer = keras.optimizers.SGD(Cyclical(0.25, 0.5, 2))
    variable = keras.Variable(ops.zeros(1), dtype=dtype)
    for _ in range(4):
        optimizer.apply([ops.ones(1, dtype)], [variable])
    assert float(ops.cast(variable, "float32")[0]) == -(0.25 + 0.375 + 0.5 + 0.375)


@pytest.mark.parametrize("mode", ["triangular", "triangular2", "exp_range"])
@pytest.mark.parametrize("step", [2.5, 10.0, 27.25])
def test_float_steps(mode, step):
    gamma = 0.9 if mode == "exp_range" else 1.0
    rate = Cyclical(0.1, 0.2, 10, mode=mode, gamma=gamma)(step)
    expected = reference.cyclical(step, 0.1, 0.2, 10, mode=mode, gamma=gamma)
    assert float(rate) == pytest.approx(expected, rel=1e-5)


def test_steps_must_be_numbers():
    with pytest.raises(ValueError, match="Cyclical expects `step` to be a number"):
        Cyclical(0.1, 0.2, 10)(True)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"max_learning_rate": 0}, r"`max_learning_rate` must be .* \(0, inf\). .*=0"),
        ({"max_learning_rate": float("inf")}, "max_learning_rate=inf"),
        ({"initial_learning_rate": 0.3}, r"`initial_learning_rate` .* in \[0, 0.2\]"),
        ({"initial_learning_rate": -0.1}, "initial_learning_rate=-0.1"),
        ({"initial_learning_rate": float("nan")}, "initial_learning_rate=nan"),
        ({"step_size": 0}, "`step_size` must be a positive integer. .*step_size=0"),
        ({"step_size": 2.5}, "step_size=2.5"),
        ({"mode": "cosine"}, "'triangular', 'triangular2', 'exp_range'. .*'cosine'"),
        ({"gamma": 0.9}, "only by mode='exp_range'. .*mode='triangular', gamma=0.9"),
        ({"scale_fn": 0.5}, "must be a function, with mode='triangular'. .*=0.5"),
        ({"scale_fn": abs, "mode": "triangular2"}, "mode='triangular2'. Leave one"),
        ({"scale_mode": "epochs"}, "'cycle', 'iterations'. .*scale_mode='epochs'"),
        ({"mode": "exp_range", "gamma": 0}, r"`gamma` must be .* in \(0, 1\]"),
        ({"mode": "exp_range", "gamma": 1.1}, "gamma=1.1"),
        ({"mode": "exp_range", "gamma": float("nan")}, "gamma=nan"),
    ],
)
def test_bad_arguments(arguments, match):
    good = {"initial_learning_rate": 0.1, "max_learning_rate": 0.2, "step_size": 10}
    with pytest.raises(ValueError, match=match):
        Cyclical(**{**good, **arguments})


def test_config_keeps_every_argument():
    schedule = Cyclical(0, 1, 10, mode="exp_range", gamma=0.5, name="wave")
    assert schedule.get_config() == {
        "initial_learning_rate": 0.0,
        "max_learning_rate": 1.0,
        "step_size": 10,
        "mode": "exp_range",
        "gamma": 0.5,
        "scale_fn": None,
        "scale_mode": "cycle",
        "name": "wave",
    }


@keras.saving.register_keras_serializable(package="tests")
def halved(cycle):
    return ops.power(0.5, cycle - 1)


class TestAFunctionThatScales:
    @pytest.mark.parametrize("initial", [0.0, 0.001])
    def test_of_the_cycle_equals_the_formula(self, initial):
        steps = np.arange(100)
        schedule = Cyclical(initial, 0.006, 7, scale_fn=halved)
        expected = [
            reference.cyclical(int(step), initial, 0.006, 7, "triangular2")
            for step in steps
        ]
        got = ops.convert_to_numpy(schedule(steps))
        np.testing.assert_allclose(got, expected, rtol=2e-6, atol=1e-12)

    def test_of_the_step_equals_the_formula(self):
        steps = np.arange(100)
        schedule = Cyclical(
            0.0, 1.0, 7, scale_fn=lambda step: 0.99**step, scale_mode="iterations"
        )
        expected = [
            reference.cyclical(int(step), 0.0, 1.0, 7, "exp_range", 0.99)
            for step in steps
        ]
        got = ops.convert_to_numpy(schedule(steps))
        np.testing.assert_allclose(got, expected, rtol=1e-5)

    def test_is_saved_with_the_schedule(self):
        schedule = Cyclical(0.0, 1.0, 7, scale_fn=halved)
        config = keras.saving.serialize_keras_object(schedule)
        loaded = keras.saving.deserialize_keras_object(config)
        assert loaded.scale_fn is halved
        assert float(loaded(21)) == 0.5

    def test_a_schedule_saved_without_one_loads(self):
        config = Cyclical(0.0, 1.0, 7).get_config()
        del config["scale_fn"], config["scale_mode"]
        assert float(Cyclical.from_config(config)(7)) == 1.0
