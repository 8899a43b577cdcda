"""Lifted structured loss against sums over all negatives of all pairs.

What it shares with the other losses over pairs is in `test_batchwise.py`.
"""

import numpy as np
import pytest
from keras import ops

from keras_ext.losses import LiftedStruct, lifted_struct
from tests.losses.batches import DISTANCES, EMBEDDINGS, GRID, GRID_LABELS, LABELS
from tests.reference import metric_learning as reference
from tests.slopes import assert_gradient_is_the_slope, needs_double_precision


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("margin", [0, 0.2, 1.0])
@pytest.mark.parametrize("grid", [False, True])
def test_equals_the_formula(distance, margin, grid):
    batch = (GRID_LABELS, GRID) if grid else (LABELS, EMBEDDINGS)
    expected, _ = reference.lifted_struct(*batch, margin=margin, distance=distance)
    np.testing.assert_allclose(
        lifted_struct(*batch, margin, distance), expected, rtol=1e-5, atol=1e-5
    )


@needs_double_precision
@pytest.mark.parametrize("distance", DISTANCES)
def test_the_gradient_is_the_slope(distance):
    assert_gradient_is_the_slope(
        lambda x: lifted_struct(LABELS, x, 1.0, distance), EMBEDDINGS
    )


@needs_double_precision
def test_the_gradient_is_the_slope_where_both_sides_push_alike():
    x = np.array([[-1.0, 0.1], [1.0, 0.1], [0.0, 2.0]])

    def of_the_first(x):
        return lifted_struct(np.array([0, 0, 1]), x)[:1]

    assert_gradient_is_the_slope(of_the_first, x)


def test_classes_far_from_each_other_keep_their_digits():
    far = EMBEDDINGS.copy()
    far[:, 0] += 1e4 * LABELS
    expected, _ = reference.lifted_struct(LABELS, far, margin=1e4)
    # Those between the classes are exact to 1e-3.
    np.testing.assert_allclose(
        lifted_struct(LABELS, far, 1e4), expected, rtol=5e-3, atol=5e-3
    )


def test_a_large_margin_does_not_overflow():
    values = ops.convert_to_numpy(lifted_struct(LABELS, EMBEDDINGS, 1e4))
    expected, _ = reference.lifted_struct(LABELS, EMBEDDINGS, margin=1e4)
    np.testing.assert_allclose(values, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"margin": -0.1}, r"`margin` must be a finite number in \[0, inf\)"),
        ({"margin": None}, "margin=None"),
        ({"distance": "l2"}, r"`distance` must be one of 'euclidean', 'squared"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        LiftedStruct(**arguments)
    with pytest.raises(ValueError, match=match):
        lifted_struct(LABELS, EMBEDDINGS, **arguments)


def test_config_keeps_every_argument():
    loss = LiftedStruct(2, "squared_euclidean", 255, "sum", "lifted", "float64")
    assert loss.get_config() == {
        "name": "lifted",
        "reduction": "sum",
        "margin": 2.0,
        "distance": "squared_euclidean",
        "ignore_class": 255,
        "dtype": "float64",
    }
