"""Contrastive loss against the formula, and what it refuses."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.losses import Contrastive, contrastive
from tests.backends import compiled, gradients
from tests.reference import metric_learning as reference
from tests.slopes import assert_gradient_is_the_slope, needs_double_precision

rng = np.random.default_rng(4)
SIMILAR = rng.integers(0, 2, size=(24, 3)).astype("float32")
DISTANCES = rng.uniform(0, 2, size=(24, 3)).astype("float32")


@pytest.mark.parametrize("margin", [0, 0.5, 1.0, 3])
@pytest.mark.parametrize("shape", [(72,), (24, 3), (4, 6, 3)])
def test_equals_the_formula(margin, shape):
    y_true, y_pred = SIMILAR.reshape(shape), DISTANCES.reshape(shape)
    expected = reference.contrastive(y_true, y_pred, margin=margin)
    np.testing.assert_allclose(
        contrastive(y_true, y_pred, margin), expected, rtol=1e-5, atol=1e-5
    )
    loss = Contrastive(margin)
    assert float(loss(y_true, y_pred)) == pytest.approx(expected.mean(), rel=1e-5)


@pytest.mark.parametrize("predicted", [(24,), (24, 1)])
@pytest.mark.parametrize("true", [(24,), (24, 1)])
def test_an_axis_of_1_does_not_matter(true, predicted):
    expected = reference.contrastive(SIMILAR[:, 0], DISTANCES[:, 0])
    values = contrastive(
        SIMILAR[:, 0].reshape(true), DISTANCES[:, 0].reshape(predicted)
    )
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["bool", "int64", "uint8", "float16"])
def test_targets_of_any_dtype(dtype):
    np.testing.assert_array_equal(
        contrastive(SIMILAR.astype(dtype), DISTANCES), contrastive(SIMILAR, DISTANCES)
    )


def test_similarity_in_between():
    halves = np.full((24, 3), 0.5)
    both = [ops.convert_to_numpy(contrastive(halves * y, DISTANCES)) for y in (0, 2)]
    np.testing.assert_allclose(
        contrastive(halves, DISTANCES), np.mean(both, axis=0), rtol=1e-5
    )


@needs_double_precision
def test_the_gradient_is_the_slope():
    assert_gradient_is_the_slope(lambda x: contrastive(SIMILAR, x), DISTANCES)


def test_corners():
    corners = np.array([0.0, 1.0, 0.0, 1.0, 3e4], "float32")
    y_true = np.array([0, 0, 1, 1, 0])
    np.testing.assert_allclose(contrastive(y_true, corners), [1, 0, 0, 1, 0])
    (slope,) = gradients(lambda x: contrastive(y_true, x), corners)
    np.testing.assert_allclose(slope, [-2, 0, 0, 2, 0])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    half = 300 * ops.cast(DISTANCES, dtype)
    values = contrastive(SIMILAR, half, margin=500)
    assert keras.backend.standardize_dtype(values.dtype) == "float32"
    exact = ops.convert_to_numpy(ops.cast(half, "float32"))
    expected = reference.contrastive(SIMILAR, exact, margin=500)
    np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_a_weight_of_0_is_an_absent_pair():
    weights = np.array([0, 1, 2] * 8)
    loss = Contrastive(reduction="sum")
    kept = weights > 0
    got = loss(SIMILAR, DISTANCES, sample_weight=weights)
    expected = loss(SIMILAR[kept], DISTANCES[kept], sample_weight=weights[kept])
    assert float(got) == pytest.approx(float(expected), rel=1e-6)


def test_empty_batch():
    assert contrastive(SIMILAR[:0], DISTANCES[:0]).shape == (0,)


@pytest.mark.parametrize("wrong", [-1.0, 1.5, 2.0, np.nan])
def test_targets_that_are_none(wrong):
    y_true = SIMILAR.copy()
    y_true[3, 1] = wrong
    match = f"1 for similar pairs and 0 for dissimilar.*with a value {wrong:.10g}"
    with pytest.raises(ValueError, match=match):
        Contrastive()(y_true, DISTANCES)
    loss = compiled(Contrastive())
    assert np.isfinite(float(loss(SIMILAR, DISTANCES)))
    assert np.isnan(float(loss(y_true, DISTANCES)))


@pytest.mark.parametrize(
    ("true", "predicted"),
    [((24, 3), (24,)), ((24,), (24, 3)), ((24, 2), (24, 3)), ((5,), (6,)), ((), ())],
)
def test_bad_shapes(true, predicted):
    with pytest.raises(
        ValueError, match=r"one distance for each target.*y_true.shape="
    ):
        contrastive(np.zeros(true), np.zeros(predicted))


@pytest.mark.parametrize("margin", [-1, float("nan"), "1", None])
def test_bad_margin(margin):
    match = r"`margin` must be a finite number in \[0, inf\). Received: margin="
    for make in (Contrastive, lambda margin: contrastive(SIMILAR, DISTANCES, margin)):
        with pytest.raises(ValueError, match=match):
            make(margin)


def test_config_keeps_every_argument():
    loss = Contrastive(2, reduction="sum", name="pairs", dtype="float64")
    assert loss.get_config() == {
        "name": "pairs",
        "reduction": "sum",
        "margin": 2.0,
        "dtype": "float64",
    }
