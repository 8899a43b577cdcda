"""The inverse square root against its formula, and against the paper's."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.schedules import InverseSquareRoot
from tests.markers import needs_tensorflow
from tests.reference import more_schedules as reference


def values(schedule, steps):
    return ops.convert_to_numpy(schedule(np.asarray(steps)))


@pytest.mark.parametrize("warmup_steps", [1, 7, 100])
@pytest.mark.parametrize("initial", [0.0, 0.02, 0.1])
def test_equals_the_reference_at_every_step(warmup_steps, initial):
    schedule = InverseSquareRoot(0.1, warmup_steps, initial_learning_rate=initial)
    steps = [*range(150), 10**4, 10**6, 2**31 - 1]
    expected = [
        reference.inverse_square_root(
            step, 0.1, warmup_steps, initial_learning_rate=initial
        )
        for step in steps
    ]
    np.testing.assert_allclose(values(schedule, steps), expected, rtol=1e-6)


def test_equals_the_formula_of_the_paper():
    width, warmup_steps = 512, 4000
    steps = np.arange(1, 20_000, 7)
    schedule = InverseSquareRoot((width * warmup_steps) ** -0.5, warmup_steps)
    expected = width**-0.5 * np.minimum(steps**-0.5, steps * warmup_steps**-1.5)
    np.testing.assert_allclose(values(schedule, steps), expected, rtol=1e-6)


@needs_tensorflow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_corners_are_exact(jit_compile):
    import tensorflow as tf

    schedule = InverseSquareRoot(0.1, 300, initial_learning_rate=0.001)
    at = tf.function(schedule.__call__, jit_compile=jit_compile, autograph=False)
    for step, expected in {0: 0.001, 300: 0.1, 1200: 0.05}.items():
        assert float(schedule(step)) == np.float32(expected)
        assert float(at(tf.constant(step, "int64"))) == np.float32(expected)


def test_rises_and_falls():
    rates = values(InverseSquareRoot(1.0, 50), range(500))
    assert (np.diff(rates[:51]) > 0).all()
    assert (np.diff(rates[50:]) < 0).all()


def test_large_steps_of_the_rise_are_told_apart():
    schedule = InverseSquareRoot(1.0, 2**31 - 1)
    expected = [2**30 / (2**31 - 1), 1.0]
    assert values(schedule, [2**30, 2**31 - 1]).tolist() == pytest.approx(expected)


def test_rate_is_float32_whatever_floatx_is():
    keras.config.set_floatx("float16")
    try:
        rate = InverseSquareRoot(0.1, 10)(1000)
    finally:
        keras.config.set_floatx("float32")
    assert keras.backend.standardize_dtype(rate.dtype) == "float32"
    assert float(rate) == pytest.approx(0.01, rel=1e-6)


@pytest.mark.parametrize("step", [2.5, np.float32(10), 17.75])
def test_float_steps(step):
    expected = reference.inverse_square_root(float(step), 0.1, 10)
    assert float(InverseSquareRoot(0.1, 10)(step)) == pytest.approx(expected, rel=1e-6)


def test_steps_must_be_numbers():
    with pytest.raises(
        ValueError, match="InverseSquareRoot expects `step` to be a num"
    ):
        InverseSquareRoot(0.1, 10)(True)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"max_learning_rate": 0}, r"`max_learning_rate` must be .* \(0, inf\). .*=0"),
        ({"max_learning_rate": float("nan")}, "max_learning_rate=nan"),
        ({"warmup_steps": 0}, "`warmup_steps` must be a positive integer. .*=0"),
        ({"warmup_steps": 10.0}, "warmup_steps=10.0"),
        ({"initial_learning_rate": 0.2}, r"`initial_learning_rate` .* in \[0, 0.1\]"),
        ({"initial_learning_rate": -1}, "initial_learning_rate=-1"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        InverseSquareRoot(**{"max_learning_rate": 0.1, "warmup_steps": 10, **arguments})


def test_config_keeps_every_argument():
    assert InverseSquareRoot(1, 10).get_config() == {
        "max_learning_rate": 1.0,
        "warmup_steps": 10,
        "initial_learning_rate": 0.0,
        "name": "InverseSquareRoot",
    }
