"""N-pairs loss against the formula and Keras's crossentropy.

What it shares with the other losses over pairs is in `test_batchwise.py`.
"""

import keras
import numpy as np
import pytest

from keras_ext.losses import NPairs, n_pairs
from tests.backends import gradients
from tests.losses.batches import EMBEDDINGS, LABELS
from tests.reference import metric_learning as reference
from tests.slopes import assert_gradient_is_the_slope, needs_double_precision

PAIRS = np.stack([EMBEDDINGS, EMBEDDINGS[::-1] ** 2], axis=1)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_equals_the_formula(scale):
    pairs = (scale * PAIRS).astype("float32")
    expected, counted = reference.n_pairs(LABELS, pairs)
    assert counted.all()
    np.testing.assert_allclose(n_pairs(LABELS, pairs), expected, rtol=1e-5, atol=1e-5)


def test_of_classes_with_one_sample_it_is_keras_crossentropy():
    expected = keras.losses.sparse_categorical_crossentropy(
        np.arange(24), PAIRS[:, 0] @ PAIRS[:, 1].T, from_logits=True
    )
    np.testing.assert_allclose(
        n_pairs(np.arange(24), PAIRS), expected, rtol=1e-5, atol=1e-5
    )


@needs_double_precision
def test_the_gradient_is_the_slope():
    assert_gradient_is_the_slope(lambda x: n_pairs(LABELS, x), PAIRS)


def test_long_embeddings_do_not_overflow():
    (slope,) = gradients(lambda x: n_pairs(LABELS, x), 1e4 * PAIRS)
    assert np.isfinite(slope).all()
    assert np.isfinite(n_pairs(LABELS, 1e4 * PAIRS)).all()


def test_config_keeps_every_argument():
    loss = NPairs(-1, "sum", "pairs", "float64")
    assert loss.get_config() == {
        "name": "pairs",
        "reduction": "sum",
        "ignore_class": -1,
        "dtype": "float64",
    }
