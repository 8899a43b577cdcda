"""Triplet loss of semi-hard triplets against a search through all triplets.

What it shares with the other losses over pairs is in `test_batchwise.py`.
"""

import numpy as np
import pytest

from keras_ext.losses import TripletSemiHard, triplet_semi_hard
from tests.backends import gradients
from tests.losses.batches import DISTANCES, EMBEDDINGS, GRID, GRID_LABELS, LABELS
from tests.reference import metric_learning as reference
from tests.slopes import assert_gradient_is_the_slope, needs_double_precision


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("margin", [0, 0.2, 1.0, 5.0])
def test_equals_the_formula(distance, margin):
    expected, _ = reference.triplet_semi_hard(
        LABELS, EMBEDDINGS, margin=margin, distance=distance
    )
    np.testing.assert_allclose(
        triplet_semi_hard(LABELS, EMBEDDINGS, margin, distance),
        expected,
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("distance", ["euclidean", "squared_euclidean"])
@pytest.mark.parametrize("margin", [0, 1.0, 5.0])
def test_a_negative_as_far_away_as_the_positive_is_not_semi_hard(distance, margin):
    expected, _ = reference.triplet_semi_hard(
        GRID_LABELS, GRID, margin=margin, distance=distance
    )
    np.testing.assert_allclose(
        triplet_semi_hard(GRID_LABELS, GRID, margin, distance),
        expected,
        rtol=1e-5,
        atol=1e-5,
    )


def test_without_a_negative_further_away_it_is_the_furthest():
    x = np.array([[0.0], [3.0], [1.0], [2.0]])
    values = triplet_semi_hard(np.array([0, 0, 1, 2]), x, 1.0, "euclidean")
    # 1 + 3 - 2 from either end
    np.testing.assert_allclose(values, [2, 2, 0, 0])


@needs_double_precision
@pytest.mark.parametrize("distance", DISTANCES)
def test_the_gradient_is_the_slope(distance):
    assert_gradient_is_the_slope(
        lambda x: triplet_semi_hard(LABELS, x, 1.0, distance), EMBEDDINGS
    )


@pytest.mark.parametrize("distance", DISTANCES)
def test_of_one_point_it_is_the_margin(distance):
    point = np.ones((24, 5), "float32")
    alone = np.isin(LABELS, [7, 8])
    values = triplet_semi_hard(LABELS, point, 0.3, distance)
    np.testing.assert_allclose(values, np.where(alone, 0, 0.3), atol=1e-6)
    (slope,) = gradients(lambda x: triplet_semi_hard(LABELS, x, 0.3, distance), point)
    np.testing.assert_allclose(slope, 0, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"margin": -0.1}, r"`margin` must be a finite number in \[0, inf\)"),
        ({"margin": "1"}, "margin='1'"),
        ({"distance": None}, r"`distance` must be one of 'euclidean', 'squared"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        TripletSemiHard(**arguments)
    with pytest.raises(ValueError, match=match):
        triplet_semi_hard(LABELS, EMBEDDINGS, **arguments)


def test_config_keeps_every_argument():
    loss = TripletSemiHard(2, "cosine", 0, None, "semi", "float64")
    assert loss.get_config() == {
        "name": "semi",
        "reduction": None,
        "margin": 2.0,
        "distance": "cosine",
        "ignore_class": 0,
        "dtype": "float64",
    }
