"""Gradients of embeddings, in which a row may occur more than once."""

import numpy as np
import pytest

from keras_ext import optimizers
from tests.markers import needs_tensorflow
from tests.optimizers.paths import path, slices


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
