"""`NovoGrad` against the paper's algorithm in NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.optimizers import NovoGrad
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
        {"learning_rate": 0.05, "beta_1": 0.95, "beta_2": 0.98, "epsilon": 1e-3},
        {"learning_rate": 0.05, "beta_2": 0.0},
        {"learning_rate": 0.05, "beta_2": 0.5, "amsgrad": True},
        {"learning_rate": 0.05, "grad_averaging": True},
        {"learning_rate": 0.05, "weight_decay": 0.1},
        {"learning_rate": 0.05, "weight_decay": 0.1, "grad_averaging": True},
    ],
    ids=str,
)
def test_is_the_algorithm_of_the_paper(options):
    assert_same(
        path(NovoGrad(**options)), reference.novograd(START, GRADIENTS, **options)
    )


def test_follows_a_schedule_as_the_reference():
    got = path(NovoGrad(SCHEDULE))
    assert_same(got, reference.novograd(START, GRADIENTS, learning_rate=scheduled))


def test_the_first_step_is_that_of_a_variable():
    """One that is used later, or whose gradient is 0 at first, starts no faster."""
    early, late, zero = (keras.Variable([0.0]) for _ in range(3))
    optimizer = NovoGrad(0.1)
    optimizer.build([early, late, zero])
    one = ops.ones(1)
    optimizer.apply([one, ops.zeros(1)], [early, zero])
    optimizer.apply([one, one, one], [early, late, zero])
    for variable in (late, zero):
        assert float(variable.value[0]) == pytest.approx(-0.1)


def test_weight_decay_can_leave_variables_out():
    kernel, bias, other = (
        keras.Variable([1.0], name=name) for name in ("kernel", "bias", "other")
    )
    optimizer = NovoGrad(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=[other], var_names=["bi.s"])
    optimizer.apply([ops.zeros(1)] * 3, [kernel, bias, other])
    assert float(kernel.value[0]) == pytest.approx(0.95)
    assert float(bias.value[0]) == float(other.value[0]) == 1
    with pytest.raises(ValueError, match="before the optimizer is built"):
        optimizer.exclude_from_weight_decay(var_names=["bias"])


def test_half_the_memory_of_adam():
    variable = keras.Variable(START)
    optimizer = NovoGrad(amsgrad=True)
    optimizer.build([variable])
    shapes = [tuple(one.shape) for one in optimizer.variables]
    assert sorted(shapes) == [(), (), (), (), START.shape]  # step, rate, v, its largest


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_variables(dtype):
    # Squares of 1000 are infinite in float16.
    got = path(NovoGrad(0.01), GRADIENTS * 100, dtype=dtype)
    expected = path(NovoGrad(0.01), GRADIENTS * 100, dtype="float32")
    np.testing.assert_allclose(got, expected, atol=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta_1": 1.0}, r"`beta_1` must be a finite number in \[0, 1\)"),
        ({"beta_2": 1.0}, r"`beta_2` must be a finite number in \[0, 1\)"),
        ({"epsilon": 0.0}, r"`epsilon` must be a finite number in \(0, inf\)"),
        ({"learning_rate": -0.1}, r"`learning_rate` must be a finite number in \[0, "),
        ({"weight_decay": -1.0}, r"`weight_decay` must be a finite number in \[0, inf"),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        NovoGrad(**options)
