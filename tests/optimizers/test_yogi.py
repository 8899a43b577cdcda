"""`Yogi` against its algorithm in NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.optimizers import Yogi
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
        {"learning_rate": 0.05, "beta_1": 0.8, "beta_2": 0.5, "epsilon": 1e-8},
        {"learning_rate": 0.05, "initial_accumulator_value": 0.0},
        {"learning_rate": 0.05, "initial_accumulator_value": 1.0},
    ],
    ids=str,
)
def test_equals_the_reference(options):
    assert_same(path(Yogi(**options)), reference.yogi(START, GRADIENTS, **options))


def test_follows_a_schedule_as_the_reference():
    got = path(Yogi(SCHEDULE))
    assert_same(got, reference.yogi(START, GRADIENTS, learning_rate=scheduled))


def test_weight_decay_is_decoupled():
    variable = keras.Variable([2.0])
    Yogi(0.1, weight_decay=0.5).apply([ops.zeros(1)], [variable])
    assert float(variable.value[0]) == pytest.approx(1.9)


def test_forgets_a_large_gradient_slowly():
    """After one of 100, small gradients lower Adam's second moment, hardly Yogi's."""
    optimizer = Yogi(0.1, beta_2=0.9)
    variable = keras.Variable([0.0])
    for gradient in [100.0, *[0.1] * 50]:
        optimizer.apply([ops.convert_to_tensor([gradient])], [variable])
    (velocity,) = [one for one in optimizer.variables if "velocity" in one.path]
    assert ops.convert_to_numpy(velocity)[0] == pytest.approx(
        1000 - 50 * 1e-3, rel=1e-5
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_variables(dtype):
    got = path(Yogi(), dtype=dtype)
    np.testing.assert_allclose(got, path(Yogi(), dtype="float32"), atol=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta_1": 1.0}, r"`beta_1` must be a finite number in \[0, 1\)"),
        ({"beta_2": 1.0}, r"`beta_2` must be a finite number in \[0, 1\)"),
        ({"epsilon": 0.0}, r"`epsilon` must be a finite number in \(0, inf\)"),
        (
            {"initial_accumulator_value": -1.0},
            r"`initial_accumulator_value` must be a finite number in \[0, inf\)",
        ),
        ({"learning_rate": -0.1}, r"`learning_rate` must be a finite number in \[0, "),
        ({"beta1": 0.9}, "beta1"),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        Yogi(**options)
