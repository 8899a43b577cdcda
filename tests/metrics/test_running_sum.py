"""Sums in pairs of float32, where a single float32 has long stopped counting."""

import numpy as np
import pytest
from keras import ops

from keras_ext.metrics import _running_sum
from tests.backends import compiled


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_counts_beyond_what_float32_can_count(mode):
    def add(total, rest, values):
        return _running_sum.add(total, rest, values)

    if mode != "eager":
        add = compiled(add, jit_compile=mode == "xla")
    start = np.array([2.0**24, 2.0**30, 2.0**40], "float32")
    total, rest = ops.convert_to_tensor(start), ops.zeros(3)
    added = np.array([1, 3, 5], "float32")
    for _ in range(50):
        total, rest = add(total, rest, ops.convert_to_tensor(added))
    counted = sum(
        ops.convert_to_numpy(part).astype("float64") for part in (total, rest)
    )
    np.testing.assert_array_equal(counted, start + 50.0 * added.astype("float64"))
    assert (start + added == start)[1:].all()


def test_fractions_are_summed_better_than_in_float32():
    values = np.random.default_rng(0).uniform(size=3000).astype("float32")
    total = rest = ops.zeros(())
    for value in values:
        total, rest = _running_sum.add(total, rest, ops.convert_to_tensor(value))
    exact = values.astype("float64").sum()
    assert float(total) + float(rest) == pytest.approx(exact, rel=1e-10)
    plain = np.add.accumulate(values)[-1]  # one after the other, in float32
    assert abs(plain - exact) > 1e-7 * exact


def test_what_is_cut_off_again_and_again_is_not_lost():
    third = ops.convert_to_tensor(np.float32(1 / 3))
    total, rest = ops.convert_to_tensor(np.float32(2**20)), ops.zeros(())
    for _ in range(1000):
        total, rest = _running_sum.add(total, rest, third)
    exact = 2**20 + 1000 * float(np.float32(1 / 3))
    assert float(total) + float(rest) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize(
    "numbers",
    [
        [3, 2**24],
        [2**24 - 1] * 3 + [1] * 5,
        [1e4, -1e4, 0.125] * 200,
    ],
)
def test_the_order_of_sizes_and_signs_does_not_matter(numbers):
    total = rest = ops.zeros(())
    for number in np.float32(numbers):
        total, rest = _running_sum.add(total, rest, ops.convert_to_tensor(number))
    assert float(total) + float(rest) == np.sum(numbers)


def test_nan_stays():
    total, rest = _running_sum.add(
        ops.zeros(()), ops.zeros(()), ops.cast(np.nan, "float32")
    )
    total, rest = _running_sum.add(total, rest, ops.ones(()))
    assert np.isnan(float(total) + float(rest))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_half_precision_is_summed_in_float32(dtype):
    assert _running_sum.sum_dtype(dtype) == "float32"
