"""Gradients of embeddings, in which a row may occur more than once, and of scales."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext import optimizers
from tests.markers import needs_tensorflow, rows_of
from tests.optimizers.paths import START, path
from tests.optimizers.rows import OPTIMIZERS


@needs_tensorflow
@pytest.mark.parametrize("jit_compile", [None, False, True])
@pytest.mark.parametrize("kind", ["AdaBelief", "NovoGrad", "RectifiedAdam", "Yogi"])
def test_a_row_that_was_looked_up_twice_has_the_sum(kind, jit_compile):
    import tensorflow as tf

    rng = np.random.default_rng(2)
    values = rng.normal(size=(8, 3, 3))
    dense = np.zeros((8, *START.shape))
    dense[:, 1] = values[:, 1]
    dense[:, 5] = values[:, 0] + values[:, 2]
    optimizer = getattr(optimizers, kind)(0.1)
    variable = keras.Variable(START, dtype="float64")
    optimizer.build([variable])

    @tf.autograph.experimental.do_not_convert
    def step(values):
        optimizer.apply([tf.IndexedSlices(values, tf.constant([5, 1, 5]))], [variable])

    if jit_compile is not None:
        step = tf.function(step, jit_compile=jit_compile)
    for one in values:
        step(tf.constant(one))
    expected = path(getattr(optimizers, kind)(0.1), dense)[-1]
    np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("row", rows_of(OPTIMIZERS))
def test_a_variable_that_its_gradient_overwrites_needs_no_moments(row):
    """As the scales of float8 training are."""
    plain, scale = keras.Variable([1.0, 2.0]), keras.Variable(np.ones(3))
    scale.overwrite_with_gradient = True
    optimizer = row.make()
    for step in range(4):
        gradients = [ops.ones(2), ops.full((3,), 5.0 + step)]
        optimizer.apply(gradients, [plain, scale])
    np.testing.assert_array_equal(ops.convert_to_numpy(scale), np.full(3, 8.0))
    assert np.all(ops.convert_to_numpy(plain) < [1, 2])
    own = [one for one in optimizer.variables if "accumulator" not in one.path]
    assert not any(tuple(one.shape) == (3,) for one in own)
