"""`AdaBelief` against the paper's algorithm in NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.optimizers import AdaBelief
from tests.optimizers.paths import (
    GRADIENTS,
    SCHEDULE,
    START,
    assert_same,
    path,
    scheduled,
)
from tests.reference import optimizers as reference


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"learning_rate": 0.05, "beta_1": 0.0},
        {"learning_rate": 0.05, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3},
        {"learning_rate": 0.05, "beta_2": 0.8, "amsgrad": True},
        {"learning_rate": 0.05, "weight_decay": 0.1},
    ],
    ids=str,
)
@pytest.mark.parametrize("rectify", [False, True])
def test_is_the_algorithm_of_the_paper(options, rectify):
    got = path(AdaBelief(**options, rectify=rectify))
    expected = reference.adabelief(
        START, GRADIENTS, **options, rectify=rectify, sma_threshold=4.0
    )
    assert_same(got, expected)


def test_follows_a_schedule_as_the_reference():
    got = path(AdaBelief(SCHEDULE, rectify=False))
    assert_same(got, reference.adabelief(START, GRADIENTS, learning_rate=scheduled))


def test_rectifies_by_default():
    np.testing.assert_array_equal(path(AdaBelief()), path(AdaBelief(rectify=True)))
    assert np.any(path(AdaBelief()) != path(AdaBelief(rectify=False)))


@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_variables(dtype, rectify):
    # Where the default epsilon is 0: gradients that are 0 must move nothing.
    variable = keras.Variable(np.ones(3), dtype=dtype)
    optimizer = AdaBelief(0.1, rectify=rectify)
    for _ in range(8):
        optimizer.apply([ops.zeros(3, dtype)], [variable])
    np.testing.assert_array_equal(ops.convert_to_numpy(variable == 1), [True] * 3)
    got = path(AdaBelief(0.01, rectify=rectify, epsilon=1e-3), dtype=dtype)
    expected = path(AdaBelief(0.01, rectify=rectify, epsilon=1e-3), dtype="float32")
    np.testing.assert_allclose(got, expected, atol=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta_1": 1.0}, r"`beta_1` must be a finite number in \[0, 1\)"),
        ({"beta_2": 0.0}, r"`beta_2` must be a finite number in \(0, 1\)"),
        ({"epsilon": 0.0}, r"`epsilon` must be a finite number in \(0, inf\)"),
        ({"learning_rate": -0.1}, r"`learning_rate` must be a finite number in \[0, "),
        ({"weight_decay": -1.0}, r"`weight_decay` must be a finite number in \[0, inf"),
        ({"sma_threshold": 5.0}, "sma_threshold"),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        AdaBelief(**options)
