"""Gradients of embeddings, in which a row may occur more than once, and of scales."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext import optimizers
from tests.markers import needs_tensorflow, rows_of
from tests.optimizers.paths import path, slices
from tests.optimizers.rows import OPTIMIZERS


@needs_tensorflow
@pytest.mark.parametrize("kind", ["AdaBelief", "NovoGrad", "RectifiedAdam", "Yogi"])
def test_a_row_that_was_looked_up_twice_has_the_sum(kind):
    import tensorflow as tf

    rng = np.random.default_rng(2)
    rows = [slices([5, 1, 5], rng.normal(size=(3, 3))) for _ in range(8)]
    dense = [tf.convert_to_tensor(one).numpy() for one in rows]
    optimizer = getattr(optimizers, kind)
    got = path(optimizer(0.1), rows)
    np.testing.assert_allclose(got, path(optimizer(0.1), dense), rtol=1e-12)


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
