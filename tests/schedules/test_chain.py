"""Chains of constants, of Keras's schedules and of ours."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.schedules import Chain, OneCycle, StepDecay, Warmup
from tests.markers import needs_tensorflow
from tests.reference import more_schedules as reference
from tests.reference import schedules as other_references

CosineDecay = keras.optimizers.schedules.CosineDecay


def values(schedule, steps):
    return ops.convert_to_numpy(schedule(np.asarray(steps)))


def one_cycle(step):
    return other_references.one_cycle(step, 0.5, 30)


@pytest.mark.parametrize(
    ("schedules", "functions", "boundaries"),
    [
        ([0.1], [0.1], []),
        ([0.1, 0.0], [0.1, 0.0], [7]),
        ([0.3, OneCycle(0.5, 30), 0.01], [0.3, one_cycle, 0.01], [10, 40]),
        ([OneCycle(0.5, 30)] * 3, [one_cycle] * 3, [1, 20]),
        (
            [Chain([0.1, 0.2], [5]), Warmup(OneCycle(0.5, 30), 10)],
            [
                lambda step: reference.chain(step, [0.1, 0.2], [5]),
                lambda step: other_references.warmup(step, 10, one_cycle),
            ],
            [20],
        ),
    ],
    ids=["one", "constants", "mixed", "repeated", "nested"],
)
def test_equals_the_reference_at_every_step(schedules, functions, boundaries):
    steps = range(80)
    expected = [reference.chain(step, functions, boundaries) for step in steps]
    rates = values(Chain(schedules, boundaries), steps)
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
    assert rates.dtype == "float32"


@pytest.mark.parametrize(
    "inner",
    [
        CosineDecay(0.1, 30),
        keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5, staircase=True),
        keras.optimizers.schedules.PiecewiseConstantDecay([5, 9], [0.1, 0.05, 0.01]),
        keras.optimizers.schedules.PolynomialDecay(0.1, 30, 0.01, cycle=True),
    ],
    ids=lambda inner: type(inner).__name__,
)
def test_schedules_of_keras_start_at_their_step_0(inner):
    schedule = Chain([0.5, inner, 0.25], [10, 25])
    for step in range(30):
        expected = reference.chain(
            step, [0.5, lambda s: float(inner(s)), 0.25], [10, 25]
        )
        assert float(schedule(step)) == pytest.approx(expected, rel=1e-6)


def test_a_schedule_is_asked_about_its_own_steps_only():
    class Table(keras.optimizers.schedules.LearningRateSchedule):
        """Fails, as a look-up in a table does, outside of its steps."""

        def __init__(self, length):
            self.length = length
            self.asked = []

        def __call__(self, step):
            self.asked.append(int(step))
            return ops.take(ops.arange(self.length, dtype="float32"), step)

    tables = [Table(5), Table(3), Table(4)]
    schedule = Chain(tables, [5, 8])
    assert [float(schedule(step)) for step in range(12)] == [
        *range(5),
        *range(3),
        *range(4),
    ]
    for table in tables:
        assert set(table.asked) == set(range(table.length))


@needs_tensorflow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_it_changes_at_the_same_steps(jit_compile):
    import tensorflow as tf

    schedule = Chain([0.5, CosineDecay(1.0, 10), StepDecay(0.1, 2)], [3, 13])
    at = tf.function(schedule.__call__, jit_compile=jit_compile, autograph=False)
    for step in range(20):
        assert float(at(tf.constant(step, "int64"))) == pytest.approx(
            float(schedule(step)), rel=1e-5, abs=1e-7
        )


def test_large_steps_are_told_apart():
    start = 2**24 + 1
    schedule = Chain([1.0, StepDecay(0.5, 1, 0.5)], [start])
    assert values(schedule, start + np.array([-1, 0, 1])).tolist() == [1, 0.5, 0.25]


def test_steps_of_any_shape():
    schedule = Chain([0.5, OneCycle(1.0, 10)], [3])
    steps = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(
        values(schedule, steps), values(schedule, np.arange(12)).reshape(3, 4)
    )


@pytest.mark.parametrize(("step", "expected"), [(2.5, 1.0), (3.0, 0.5), (3.5, 0.625)])
def test_float_steps(step, expected):
    schedule = Chain([1.0, Warmup(1.0, 2, initial_learning_rate=0.5)], [3])
    assert float(schedule(step)) == expected


def test_rate_is_float32_whatever_floatx_is():
    keras.config.set_floatx("float16")
    try:
        rate = Chain([0.5, 0.25], [3])(4)
    finally:
        keras.config.set_floatx("float32")
    assert keras.backend.standardize_dtype(rate.dtype) == "float32"
    assert float(rate) == 0.25


def test_a_compiled_fit_follows_it():
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")]
    )
    schedule = Chain([0.5, OneCycle(0.1, 10)], [2])
    model.compile(
        keras.optimizers.SGD(schedule), loss=lambda y, p: ops.mean(p, axis=-1)
    )
    model.fit(np.ones((6, 1)), np.ones((6, 1)), batch_size=1, verbose=0)
    expected = -values(schedule, range(6)).sum()
    assert float(model.weights[0][0, 0]) == pytest.approx(expected, rel=1e-5)


def test_from_config_leaves_the_config_alone():
    schedule = Chain([CosineDecay(0.1, 30), 0.5, Chain([0.1, 0.2], [3])], [10, 20])
    config = schedule.get_config()
    again = Chain.from_config(config)
    assert config == schedule.get_config() == again.get_config()
    np.testing.assert_array_equal(values(again, range(30)), values(schedule, range(30)))


def test_steps_must_be_numbers():
    with pytest.raises(ValueError, match="Chain expects `step` to be a number"):
        Chain([0.1], [])(True)


@pytest.mark.parametrize(
    ("schedules", "boundaries", "match"),
    [
        ([], [], r"`schedules` must be a list of schedules and .*schedules=\[\]"),
        (0.1, [], "`schedules` must be a list .*schedules=0.1"),
        (
            [0.1, -1],
            [5],
            r"`schedules\[1\]` must be a .*LearningRateSchedule`, or .*-1",
        ),
        ([0.1, None], [5], r"schedules\[1\]=None"),
        ([0.1, 0.2], [5, 6], r"one step for each .* boundaries=\[5, 6\] and 2 sched"),
        ([0.1, 0.2], [], r"one step for each .* boundaries=\[\] and 2 schedules"),
        ([0.1, 0.2], 5, "`boundaries` must be a list of strictly .*boundaries=5"),
        ([0.1, 0.2], [0], r"`boundaries\[0\]` must be a positive integer. .*=0"),
        ([0.1, 0.2], [2.5], r"boundaries\[0\]=2.5"),
        ([0.1] * 3, [5, 5], r"strictly increasing positive integers. .*\[5, 5\]"),
        ([0.1] * 3, [6, 5], r"boundaries=\[6, 5\]"),
    ],
)
def test_bad_arguments(schedules, boundaries, match):
    with pytest.raises(ValueError, match=match):
        Chain(schedules, boundaries)


def test_boundaries_may_be_a_range_or_an_array():
    for boundaries in (range(5, 15, 5), np.array([5, 10])):
        assert Chain([0.1] * 3, boundaries).boundaries == [5, 10]


def test_config_keeps_every_argument():
    assert Chain((1, 0.5), (10,), name="phases").get_config() == {
        "schedules": [1.0, 0.5],
        "boundaries": [10],
        "name": "phases",
    }
