"""Triplet loss of the hardest triplets against a search through all triplets.

What it shares with the other losses over pairs is in `test_batchwise.py`.
"""

import numpy as np
import pytest
from keras import ops

from keras_ext.losses import TripletHard, triplet_hard
from tests.backends import gradients
from tests.losses.batches import DISTANCES, EMBEDDINGS, GRID, GRID_LABELS, LABELS
from tests.reference import metric_learning as reference
from tests.slopes import assert_gradient_is_the_slope, needs_double_precision


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize(
    "options", [{}, {"margin": 0}, {"margin": 0.2}, {"soft_margin": True}]
)
@pytest.mark.parametrize("grid", [False, True])
def test_equals_the_formula(distance, options, grid):
    batch = (GRID_LABELS, GRID) if grid else (LABELS, EMBEDDINGS)
    expected, _ = reference.triplet_hard(*batch, distance=distance, **options)
    np.testing.assert_allclose(
        triplet_hard(*batch, distance=distance, **options),
        expected,
        rtol=1e-5,
        atol=1e-5,
    )


@needs_double_precision
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("soft_margin", [False, True])
def test_the_gradient_is_the_slope(distance, soft_margin):
    assert_gradient_is_the_slope(
        lambda x: triplet_hard(LABELS, x, 1.0, distance, soft_margin), EMBEDDINGS
    )


def test_embeddings_very_close_to_each_other_keep_their_digits():
    close = (100 + 1e-3 * EMBEDDINGS).astype("float32")
    expected, _ = reference.triplet_hard(LABELS, close, margin=0)
    assert expected.any()
    np.testing.assert_allclose(triplet_hard(LABELS, close, 0), expected, atol=1e-5)
    (slope,) = gradients(lambda x: triplet_hard(LABELS, x, 0.1), close)
    # The slope of a distance is 1, however small the distance.
    assert np.linalg.norm(slope, axis=1).max() > 1


def test_of_one_point_it_is_the_margin_without_a_slope():
    point = np.ones((24, 5), "float32")
    values = triplet_hard(LABELS, point, 0.3)
    alone = np.isin(LABELS, [7, 8])
    np.testing.assert_allclose(values, np.where(alone, 0, 0.3))
    (slope,) = gradients(lambda x: triplet_hard(LABELS, x), point)
    np.testing.assert_array_equal(slope, 0)


def test_the_soft_form_does_not_overflow():
    far = (1e4 * EMBEDDINGS).astype("float32")
    values = ops.convert_to_numpy(triplet_hard(LABELS, far, soft_margin=True))
    hard = ops.convert_to_numpy(triplet_hard(LABELS, far, margin=0))
    np.testing.assert_allclose(values, hard, rtol=1e-5, atol=1)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"margin": -0.1}, r"`margin` must be a finite number in \[0, inf\)"),
        ({"margin": float("inf")}, "margin=inf"),
        ({"distance": "manhattan"}, r"`distance` must be one of 'euclidean', 'squared"),
        (
            {"margin": 0.5, "soft_margin": True},
            r"`margin` must be left at its default .*no margin. Received: margin=0.5",
        ),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        TripletHard(**arguments)
    with pytest.raises(ValueError, match=match):
        triplet_hard(LABELS, EMBEDDINGS, **arguments)


def test_config_keeps_every_argument():
    loss = TripletHard(1, "cosine", True, -1, "sum", "hard", "float64")
    assert loss.get_config() == {
        "name": "hard",
        "reduction": "sum",
        "margin": 1.0,
        "distance": "cosine",
        "soft_margin": True,
        "ignore_class": -1,
        "dtype": "float64",
    }
