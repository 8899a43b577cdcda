"""Samples kept between resets: which are, and what becomes of too many."""

from functools import partial

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.metrics import _ranks
from keras_ext.metrics._sample_buffer import SampleBuffer
from tests.backends import compiled
from tests.markers import needs_tensorflow
from tests.metrics.modes import JIT, in_steps, result_in_steps


class Total(keras.metrics.Metric):
    """The sum of all samples, by way of a buffer."""

    def __init__(self, capacity, dtype=None):
        super().__init__(dtype=dtype)
        self.buffer = SampleBuffer(self, 2, capacity)

    def update_state(self, samples, weights):
        self.buffer.append(samples, weights)

    def result(self):
        samples, weights = self.buffer.read()
        return self.buffer.checked(ops.sum(weights * samples))

    def reset_state(self):
        self.buffer.warn_of_lost_samples()
        super().reset_state()


def batch(*weights):
    samples = np.stack([np.arange(len(weights)), np.ones(len(weights))], -1)
    return {"samples": samples.astype("float32"), "weights": np.float32(weights)}


def test_keeps_samples_of_a_weight_in_their_order():
    metric = Total(4)
    metric.update_state(**batch(0, 2, 0, 3))
    metric.update_state(**batch())
    metric.update_state(**batch(5, 0))
    samples, weights = metric.buffer.read()
    np.testing.assert_array_equal(samples, [[0, 1, 3, 0], [0, 1, 1, 1]])
    np.testing.assert_array_equal(weights, [0, 2, 3, 5])


@pytest.mark.parametrize("jit_compile", JIT)
@pytest.mark.parametrize("weights", [[1, 2, 3], [2], []])
def test_without_a_look_for_zeros_keeps_the_same(jit_compile, weights):
    ours, theirs = Total(4), Total(4)
    steps = [batch(7), batch(*weights)]
    ours.buffer.append = partial(ours.buffer.append, has_zeros=False)
    result = result_in_steps(ours, steps, jit_compile)
    np.testing.assert_array_equal(result, result_in_steps(theirs, steps, jit_compile))
    for found, expected in zip(ours.buffer.read(), theirs.buffer.read(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_nan_of_weight_0_is_absent_and_any_other_stays():
    metric = Total(2)
    wrong = {"samples": np.full((3, 2), np.nan), "weights": np.zeros(3)}
    metric.update_state(**wrong)
    assert float(metric.result()) == 0
    metric.update_state(np.full((1, 2), np.nan), np.ones(1))
    assert np.isnan(metric.result())
    metric.reset_state()
    assert float(metric.result()) == 0


def test_a_full_buffer_is_enough_and_one_more_is_an_error():
    metric = Total(3)
    metric.update_state(**batch(1, 0, 1, 0, 1))
    match = "Total expects at most `capacity=3` samples .*Received: 5 samples. .*=5`"
    with pytest.raises(ValueError, match=match):
        metric.update_state(**batch(1, 1))
    assert float(metric.result()) == 0 + 2 + 4 + 3  # as before the error
    metric.update_state(**batch(0, 0))


@pytest.mark.parametrize("jit_compile", JIT)
def test_compiled_too_many_are_nan_and_a_warning_at_the_reset(jit_compile):
    metric = Total(3)
    run = in_steps(metric, jit_compile)
    assert run([batch(1, 1, 1)]) == 6
    assert np.isnan(run([batch(1, 0, 0)]))
    assert np.isnan(run([batch(1, 0, 1)]))
    match = "Total has seen 6 samples since its last reset, but keeps 3.*`capacity=6`"
    with pytest.warns(UserWarning, match=match):
        metric.reset_state()
    assert run([batch(1, 1, 0)]) == 3
    metric.reset_state()


@pytest.mark.parametrize("jit_compile", JIT)
def test_a_batch_larger_than_the_buffer(jit_compile):
    metric = Total(2)
    run = in_steps(metric, jit_compile)
    assert run([batch(0, 1, 0, 0, 1)]) == 7
    assert np.isnan(run([batch(1, 1, 1, 1, 0)]))
    with pytest.warns(UserWarning, match="6 samples"):
        metric.reset_state()


def test_counting_ends_before_an_int32_does():
    metric = Total(2)
    metric.buffer._count.assign(2**30)
    assert np.isnan(result_in_steps(metric, [batch(1, 1, 1)] * 3, JIT[-1]))
    with pytest.warns(UserWarning, match=str(2**30)):
        metric.reset_state()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_keeps_float32_at_least(dtype):
    metric = Total(1, dtype=dtype)
    metric.update_state(np.array([[1 / 3, 2049]]), np.ones(1))
    samples, _ = metric.buffer.read()
    np.testing.assert_array_equal(samples[:, 0], np.float32([1 / 3, 2049]))


@needs_tensorflow
def test_added_up_over_replicas_is_nan():
    # As a variable that is summed on reading reads: row by row.
    replicas = [Total(4), Total(4)]
    for metric in replicas:
        metric.update_state(**batch(1, 1))
    for variable, other in zip(*(metric.variables for metric in replicas), strict=True):
        variable.assign(variable + other)
    assert np.isnan(replicas[0].result())


@pytest.mark.parametrize("jit_compile", JIT)
@pytest.mark.parametrize("size", [1, 7, 3000])
def test_argsort_is_stable(jit_compile, size):
    rng = np.random.default_rng(5)
    values = np.round(rng.normal(size=size) * 3).astype("float32")
    values[rng.uniform(size=size) < 0.1] = -0.0
    values[rng.uniform(size=size) < 0.1] = np.inf
    values[rng.uniform(size=size) < 0.1] = -np.inf
    sort = compiled(_ranks.stable_argsort, jit_compile)
    order = sort(ops.convert_to_tensor(values))
    np.testing.assert_array_equal(order, np.argsort(values, kind="stable"))
