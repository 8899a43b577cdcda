"""Metrics as they run in training: update and result in one compiled function."""

import keras
from keras import ops

from tests.backends import compiled

JIT = [True] if keras.backend.backend() == "jax" else [False, True]


def in_steps(metric, jit_compile):
    """Return a function that makes a compiled step for each of some batches.

    A batch is a dict of the arguments of `update_state`; the function returns the
    result after the last one.
    """
    if keras.backend.backend() == "jax":
        return _in_stateless_steps(metric)

    def step(batch):
        metric.update_state(**batch)
        return metric.result()

    step = compiled(step, jit_compile)

    def run(batches):
        for batch in batches:
            result = step({k: ops.convert_to_tensor(v) for k, v in batch.items()})
        return ops.convert_to_numpy(result)

    return run


def result_in_steps(metric, batches, jit_compile):
    """Return the result after a compiled step for each batch."""
    return in_steps(metric, jit_compile)(batches)


def _in_stateless_steps(metric):
    def step(state, batch):
        state = metric.stateless_update_state(state, **batch)
        return state, metric.stateless_result(state)

    step = compiled(step, True)

    def run(batches):
        state = [variable.value for variable in metric.variables]
        for batch in batches:
            state, result = step(state, batch)
        for variable, value in zip(metric.variables, state, strict=True):
            variable.assign(value)
        return ops.convert_to_numpy(result)

    return run
