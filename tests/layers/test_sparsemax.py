"""Sparsemax against a search through all supports, and against what a projection is."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_ext.layers import Sparsemax, sparsemax
from tests.backends import compiled, gradients
from tests.reference import classification_losses as reference
from tests.slopes import (
    assert_gradient_is_the_slope,
    needs_double_precision,
    needs_unknown_sizes,
)

rng = np.random.default_rng(5)
scores = (2 * rng.normal(size=(20, 6))).astype("float32")
few = settings(max_examples=50)
# Eighths, so that equal entries and entries on the edge of the support come up.
rows = st.lists(st.integers(-24, 24), min_size=1, max_size=7).map(
    lambda eighths: np.array(eighths, "float32") / 8
)


def values(x, **options):
    return ops.convert_to_numpy(sparsemax(x, **options))


@pytest.mark.parametrize("scale", [1e-3, 0.1, 1, 10])
def test_equals_the_reference(scale):
    expected = reference.sparsemax(scale * scores)
    np.testing.assert_allclose(values(scale * scores), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -2])
def test_along_any_axis(axis):
    x = 2 * rng.normal(size=(4, 3, 2, 5)).astype("float32")
    expected = reference.sparsemax(x, axis)
    np.testing.assert_allclose(values(x, axis=axis), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(Sparsemax(axis)(x), values(x, axis=axis))


@few
@given(rows)
def test_equals_the_reference_with_equal_entries_too(row):
    np.testing.assert_allclose(
        values(row), reference.sparsemax(row), rtol=1e-5, atol=1e-6
    )


@few
@given(rows, st.integers(-1000, 1000))
def test_a_constant_added_changes_nothing(row, constant):
    np.testing.assert_array_equal(values(row + np.float32(constant)), values(row))


@few
@given(rows, st.randoms(use_true_random=False))
def test_a_permutation_permutes_the_result(row, random):
    order = list(range(len(row)))
    random.shuffle(order)
    np.testing.assert_allclose(values(row[order]), values(row)[order], atol=1e-7)


@pytest.mark.parametrize("size", [100, 30_000])
@pytest.mark.parametrize("scale", [1e-6, 1, 1e3])
def test_is_the_nearest_point_of_the_simplex(size, scale):
    x = (scale * rng.normal(size=(3, size))).astype("float32")
    p = values(x).astype("float64")
    assert p.min() >= 0
    np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=1e-5)
    # The condition for it: what is left, x - p, is the same wherever p > 0, and
    # nowhere larger.
    for left, support in zip(x - p, p > 0, strict=True):
        tau = left[support].mean()
        np.testing.assert_allclose(left[support], tau, atol=1e-6 * max(1, scale))
        assert (left[~support] <= tau + 1e-6 * max(1, scale)).all()


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([5], [1]),
        ([2, 2, 2, 2], [0.25] * 4),
        ([0, -1], [1, 0]),
        ([1, 0.5, -0.25], [0.75, 0.25, 0]),
        ([3e38, -3e38, 3e38], [0.5, 0, 0.5]),
        ([1e6, 1e6 + 0.5, 0], [0.25, 0.75, 0]),
    ],
)
def test_by_hand(row, expected):
    np.testing.assert_array_equal(values(np.array(row, "float32")), expected)


@pytest.mark.parametrize("how", [lambda f: f, compiled], ids=["eager", "compiled"])
def test_minus_infinity_leaves_an_entry_out(how):
    masked = scores.copy()
    masked[:, [1, 4]] = -np.inf
    p = np.asarray(how(sparsemax)(masked))
    np.testing.assert_array_equal(p[:, [1, 4]], 0)
    np.testing.assert_array_equal(
        np.delete(p, [1, 4], axis=-1), values(np.delete(scores, [1, 4], axis=-1))
    )
    (gradient,) = gradients(lambda x: scores * sparsemax(x), masked)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[:, [1, 4]], 0)


@pytest.mark.parametrize("how", [lambda f: f, compiled], ids=["eager", "compiled"])
@pytest.mark.parametrize(
    "row",
    [
        [-np.inf, -np.inf, -np.inf],
        [np.nan, 1.0, 0.0],
        [1.0, np.nan, np.nan],
        [np.inf, 0.0, 0.0],
        [0.0, np.inf, -np.inf],
    ],
    ids=str,
)
def test_what_has_no_nearest_point_is_nan(row, how):
    x = np.array([row, [1.0, 0.5, -1.0]], "float32")
    p = np.asarray(how(sparsemax)(x))
    np.testing.assert_array_equal(p[0], np.nan)
    np.testing.assert_array_equal(p[1], [0.75, 0.25, 0.0])


@needs_double_precision
@pytest.mark.parametrize("scale", [0.1, 1, 3])
@pytest.mark.parametrize("axis", [1, 2])
def test_gradient_is_the_slope(scale, axis):
    x = scale * rng.normal(size=(4, 5, 3))
    assert_gradient_is_the_slope(lambda x: sparsemax(x, axis), x)


@pytest.mark.parametrize("how", [lambda f: f, compiled], ids=["eager", "compiled"])
def test_gradient_is_that_of_the_paper(how):
    support = values(scores) > 0
    slope = rng.normal(size=scores.shape).astype("float32")
    mean = (slope * support).sum(-1, keepdims=True) / support.sum(-1, keepdims=True)
    (gradient,) = gradients(how(lambda x: slope * sparsemax(x)), scores)
    np.testing.assert_allclose(gradient, support * (slope - mean), rtol=1e-5, atol=1e-6)


def test_an_entry_on_the_edge_of_the_support_has_no_gradient():
    slope = np.array([1.0, 2.0, 4.0], "float32")
    (gradient,) = gradients(
        lambda x: slope * sparsemax(x), np.array([1.0, 1.0, 0.5], "float32")
    )
    np.testing.assert_allclose(gradient, [-0.5, 0.5, 0])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    x = ops.cast(np.linspace(0, 1e-2, 500), dtype)
    p = sparsemax(x)
    assert keras.backend.standardize_dtype(p.dtype) == dtype
    expected = ops.cast(sparsemax(ops.cast(x, "float32")), dtype)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(ops.cast(p, "float32")),
        ops.convert_to_numpy(ops.cast(expected, "float32")),
    )


@needs_double_precision
def test_float64_keeps_its_digits():
    p = sparsemax(scores.astype("float64"))
    assert p.dtype == "float64"
    np.testing.assert_allclose(p, reference.sparsemax(scores), rtol=1e-14, atol=1e-15)


def test_integers_give_float32():
    p = sparsemax(np.array([1, 1, 0]))
    assert keras.backend.standardize_dtype(p.dtype) == "float32"
    np.testing.assert_array_equal(p, [0.5, 0.5, 0])


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 0, 3)])
def test_of_nothing_it_is_nothing(shape):
    assert values(np.zeros(shape, "float32")).shape == shape


@needs_unknown_sizes
@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_size_along_the_axis_may_be_unknown(jit_compile):
    import tensorflow as tf

    function = tf.function(
        sparsemax, [tf.TensorSpec([None, None])], jit_compile=jit_compile
    )
    for size in (2, 6):
        np.testing.assert_allclose(
            function(scores[:, :size]), values(scores[:, :size]), atol=1e-7
        )


def test_masks_pass_through():
    inputs = np.array([[[1.0, 2.0], [-1.0, -1.0]]])
    masked = keras.layers.Masking(-1.0)(inputs)
    outputs = Sparsemax()(masked)
    values = ops.convert_to_numpy(keras.layers.GlobalAveragePooling1D()(outputs))
    np.testing.assert_allclose(values, [[0, 1]])


def test_is_an_activation():
    layer = keras.layers.Dense(4, activation=sparsemax)
    outputs = ops.convert_to_numpy(layer(scores))
    np.testing.assert_allclose(outputs.sum(axis=-1), 1, rtol=1e-6)


@pytest.mark.parametrize("axis", [1.5, None, (0, 1)])
def test_bad_axis(axis):
    with pytest.raises(
        ValueError, match=r"`axis` must be an integer\. Received: axis="
    ):
        Sparsemax(axis)


@pytest.mark.parametrize(("axis", "shape"), [(2, (3, 4)), (-3, (3, 4)), (0, ())])
def test_an_axis_that_the_input_lacks(axis, shape):
    match = rf"sums to 1 along axis {axis}. Received: an input of shape .*no such axis"
    with pytest.raises(ValueError, match=match):
        sparsemax(np.zeros(shape), axis)
    with pytest.raises(ValueError, match=match):
        Sparsemax(axis).build(shape)
