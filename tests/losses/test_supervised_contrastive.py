"""Supervised contrastive loss against sums over all pairs of views.

What it shares with the other losses over pairs is in `test_batchwise.py`.
"""

import numpy as np
import pytest

from keras_ext.losses import (
    SupervisedContrastive,
    nt_xent,
    supervised_contrastive,
)
from tests.losses.batches import EMBEDDINGS, LABELS
from tests.reference import metric_learning as reference
from tests.slopes import assert_gradient_is_the_slope, needs_double_precision


@pytest.mark.parametrize("temperature", [0.05, 0.1, 1, 10.0])
@pytest.mark.parametrize("shape", [(24, 5), (24, 1, 5), (12, 2, 5), (8, 3, 5)])
def test_equals_the_formula(temperature, shape):
    views, labels = EMBEDDINGS.reshape(shape), LABELS[: shape[0]]
    expected, _ = reference.supervised_contrastive(
        labels, views, temperature=temperature
    )
    values = supervised_contrastive(labels, views, temperature)
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)


def test_of_two_views_of_samples_that_are_alone_it_is_nt_xent():
    views = EMBEDDINGS.reshape(12, 2, 5)
    np.testing.assert_allclose(
        supervised_contrastive(np.arange(12), views, 0.3),
        nt_xent(None, views, 0.3),
        rtol=1e-6,
    )


def test_the_length_of_an_embedding_does_not_matter():
    scales = np.logspace(-6, 6, 24, dtype="float32")[:, None]
    np.testing.assert_allclose(
        supervised_contrastive(LABELS, scales * EMBEDDINGS),
        supervised_contrastive(LABELS, EMBEDDINGS),
        rtol=1e-4,
        atol=1e-5,
    )


@needs_double_precision
@pytest.mark.parametrize("shape", [(24, 5), (12, 2, 5)])
def test_the_gradient_is_the_slope(shape):
    labels = LABELS[: shape[0]]
    assert_gradient_is_the_slope(
        lambda x: supervised_contrastive(labels, x, 0.5), EMBEDDINGS.reshape(shape)
    )


@pytest.mark.parametrize("temperature", [0, -1, float("nan"), "0.1"])
def test_bad_temperature(temperature):
    match = r"`temperature` must be a finite number in \(0, inf\). Received: temp"
    with pytest.raises(ValueError, match=match):
        SupervisedContrastive(temperature)
    with pytest.raises(ValueError, match=match):
        supervised_contrastive(LABELS, EMBEDDINGS, temperature)


def test_config_keeps_every_argument():
    loss = SupervisedContrastive(1, 0, "sum", "supervised", "float64")
    assert loss.get_config() == {
        "name": "supervised",
        "reduction": "sum",
        "temperature": 1.0,
        "ignore_class": 0,
        "dtype": "float64",
    }
