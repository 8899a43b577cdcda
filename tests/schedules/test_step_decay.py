"""Decays fall on their steps, and on no other."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.schedules import StepDecay
from tests.markers import needs_tensorflow
from tests.reference import more_schedules as reference

BACKEND = keras.backend.backend()


def values(schedule, steps):
    return ops.convert_to_numpy(schedule(np.asarray(steps)))


@pytest.mark.parametrize("step_size", [1, 3, 50, [1], [2, 3, 40], []])
@pytest.mark.parametrize("gamma", [0.1, 0.5, 0.999, 1.0])
def test_equals_the_reference_at_every_step(step_size, gamma):
    schedule = StepDecay(0.3, step_size, gamma)
    steps = range(120)
    expected = [reference.step_decay(step, 0.3, step_size, gamma) for step in steps]
    # Most decays of all, 119 of a factor 0.1, leave what float32 holds as 0.
    np.testing.assert_allclose(values(schedule, steps), expected, rtol=1e-5, atol=1e-37)


def test_a_gamma_just_below_1_keeps_its_digits():
    schedule = StepDecay(1.0, 1, gamma=0.99999)
    expected = reference.step_decay(10**6, 1.0, 1, 0.99999)
    assert float(schedule(10**6)) == pytest.approx(expected, rel=1e-5)


def test_a_number_and_the_list_of_its_multiples_are_the_same():
    every, listed = StepDecay(0.1, 10, 0.3), StepDecay(0.1, [10, 20, 30, 40], 0.3)
    np.testing.assert_array_equal(values(every, range(50)), values(listed, range(50)))


@needs_tensorflow
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("step_size", [300, [300, 600]])
def test_compiled_it_decays_at_the_same_steps(jit_compile, step_size):
    import tensorflow as tf

    schedule = StepDecay(0.1, step_size)
    at = tf.function(schedule.__call__, jit_compile=jit_compile, autograph=False)
    corners = {0: 0.1, 299: 0.1, 300: 0.01, 599: 0.01, 600: 0.001}
    for step, expected in corners.items():
        assert float(schedule(step)) == pytest.approx(expected, rel=1e-6)
        assert float(at(tf.constant(step, "int64"))) == pytest.approx(
            expected, rel=1e-6
        )
    assert float(at(tf.constant(0, "int64"))) == np.float32(0.1)


@pytest.mark.parametrize("listed", [False, True])
def test_large_steps_are_told_apart(listed):
    size = 20_000_001
    ours = StepDecay(1.0, [size] if listed else size, 0.5)
    assert values(ours, [size - 1, size, size + 1]).tolist() == [1, 0.5, 0.5]
    theirs = keras.optimizers.schedules.ExponentialDecay(1.0, size, 0.5, staircase=True)
    assert float(theirs(size - 1)) == 0.5  # as the docstring says: too early


@needs_tensorflow
def test_steps_beyond_32_bits():
    assert values(StepDecay(1.0, 2**40, 0.5), [2**40 - 1, 2**40]).tolist() == [1, 0.5]
    assert values(StepDecay(1.0, [2**40], 0.5), [2**40 - 1, 2**40]).tolist() == [1, 0.5]


def test_equals_keras_while_float32_can_count():
    ours = StepDecay(0.1, 7, 0.5)
    theirs = keras.optimizers.schedules.ExponentialDecay(0.1, 7, 0.5, staircase=True)
    np.testing.assert_allclose(
        values(ours, range(100)), values(theirs, range(100)), rtol=1e-5
    )
    ours = StepDecay(0.1, [5, 9])
    theirs = keras.optimizers.schedules.PiecewiseConstantDecay(
        [4, 8],
        [0.1, 0.01, 0.001],  # there, a boundary is the last step of its rate
    )
    np.testing.assert_allclose(
        values(ours, range(20)), [float(theirs(step)) for step in range(20)], rtol=1e-5
    )


def test_rate_is_float32_whatever_floatx_is():
    keras.config.set_floatx("float16")
    try:
        rates = [StepDecay(0.5, step_size, 0.5)(4) for step_size in (4, [3])]
    finally:
        keras.config.set_floatx("float32")
    for rate in rates:
        assert keras.backend.standardize_dtype(rate.dtype) == "float32"
        assert float(rate) == 0.25


@pytest.mark.parametrize(("step", "expected"), [(9.5, 1), (10.0, 0.5), (19.9, 0.5)])
def test_float_steps(step, expected):
    assert float(StepDecay(1.0, 10, 0.5)(step)) == expected
    assert float(StepDecay(1.0, [10], 0.5)(step)) == expected


def test_steps_must_be_numbers():
    with pytest.raises(ValueError, match="StepDecay expects `step` to be a number"):
        StepDecay(0.1, 10)(np.array([True]))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"initial_learning_rate": 0}, r"`initial_learning_rate` .* \(0, inf\). .*=0"),
        ({"initial_learning_rate": float("inf")}, "initial_learning_rate=inf"),
        ({"step_size": 0}, "`step_size` must be a positive integer. .*=0"),
        ({"step_size": 2.5}, "integer, or a list of strictly .*step_size=2.5"),
        ({"step_size": np.ones((1, 1))}, r"or a list .*step_size=array\(\[\[1.\]\]\)"),
        ({"step_size": np.array([5.0, 9])}, r"`step_size\[0\]` must be a positive int"),
        ({"step_size": [0, 5]}, r"`step_size\[0\]` must be a positive integer. .*=0"),
        ({"step_size": [5, 5]}, r"strictly increasing .*step_size=\[5, 5\]"),
        ({"step_size": [9, 5]}, r"strictly increasing .*step_size=\[9, 5\]"),
        ({"gamma": 0}, r"`gamma` must be a finite number in \(0, 1\]. .*gamma=0"),
        ({"gamma": 1.5}, "gamma=1.5"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        StepDecay(**{"initial_learning_rate": 0.1, "step_size": 10, **arguments})


@pytest.mark.parametrize("steps", [(3, 6, 9), range(3, 10, 3), np.array([3, 6, 9])])
def test_steps_may_be_a_range_or_an_array(steps):
    assert StepDecay(0.1, steps).step_size == [3, 6, 9]


def test_config_keeps_every_argument():
    assert StepDecay(1, (10, 20), 0.5).get_config() == {
        "initial_learning_rate": 1.0,
        "step_size": [10, 20],
        "gamma": 0.5,
        "name": "StepDecay",
    }
