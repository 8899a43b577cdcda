"""`interpolate_spline` against SciPy's `RBFInterpolator`."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy.interpolate import RBFInterpolator

from keras_ext.layers import interpolate_spline
from tests.backends import compiled, gradients
from tests.layers.weights import assert_close
from tests.slopes import assert_gradient_is_the_slope, needs_double_precision

KERNELS = {1: "linear", 2: "thin_plate_spline", 3: "cubic"}
needs_float64 = needs_double_precision


def data(batch=2, points=7, queries=30, dimensions=2, outputs=3, size=10.0):
    """Return scattered points in a box of this size, their values, and queries.

    They are numbers of float32, in double precision.
    """
    rng = np.random.default_rng(4)
    cells = np.stack(np.meshgrid(*[range(3)] * dimensions), -1).reshape(-1, dimensions)
    cells = np.stack([rng.permutation(cells)[:points] for _ in range(batch)])
    arrays = (
        size / 3 * (cells + rng.uniform(0.2, 0.8, cells.shape)),
        rng.normal(size=(*cells.shape[:2], outputs)),
        rng.uniform(0, size, (batch, queries, dimensions)),
    )
    return tuple(array.astype("float32").astype("float64") for array in arrays)


def reference(points, values, queries, order=2, weight=0.0):
    """Interpolate each sample with SciPy, in double precision."""
    return np.stack(
        [
            RBFInterpolator(c, f, smoothing=weight, kernel=KERNELS[order], degree=1)(x)
            for c, f, x in zip(points, values, queries, strict=True)
        ]
    )


def single(arrays):
    return [array.astype("float32") for array in arrays]


@pytest.mark.parametrize("weight", [0.0, 0.2])
@pytest.mark.parametrize("order", KERNELS)
def test_equals_the_reference(order, weight):
    arrays = data()
    outputs = interpolate_spline(*single(arrays), order, weight)
    # Sums of cubes are large, and cancel: it is exact below, in double precision.
    tolerance = 3e-5 if order == 3 else 1e-5
    assert_close(outputs, reference(*arrays, order, weight), tolerance)


@needs_float64
@pytest.mark.parametrize("weight", [0.0, 3.0])
@pytest.mark.parametrize("order", KERNELS)
@pytest.mark.parametrize("size", [1e-2, 1e4])
def test_equals_the_reference_in_any_unit(size, order, weight):
    arrays = data(size=size)
    outputs = interpolate_spline(*map(ops.convert_to_tensor, arrays), order, weight)
    assert keras.backend.standardize_dtype(outputs.dtype) == "float64"
    assert_close(outputs, reference(*arrays, order, weight), 1e-8)


@pytest.mark.parametrize("dimensions", [1, 3])
def test_equals_the_reference_in_other_dimensions(dimensions):
    arrays = data(dimensions=dimensions, points=9)
    assert_close(interpolate_spline(*single(arrays)), reference(*arrays), 1e-4)


@pytest.mark.parametrize("order", KERNELS)
def test_a_plane_is_met_everywhere(order):
    points, _, queries = single(data())
    outputs = interpolate_spline(points, 2 * points - 1, queries, order)
    assert_close(outputs, 2 * queries - 1)


def test_a_large_weight_gives_the_plane_of_least_squares():
    points, values, queries = data(batch=1)
    outputs = interpolate_spline(*single((points, values, queries)), 2, 1e6)
    ones = np.ones((7, 1))
    plane = np.linalg.lstsq(np.append(points[0], ones, 1), values[0], rcond=None)[0]
    assert_close(outputs[0], np.append(queries[0], np.ones((30, 1)), 1) @ plane, 1e-4)


@pytest.mark.parametrize("order", KERNELS)
def test_of_points_that_coincide_the_first_counts(order):
    points, values, queries = data()
    twice = np.concatenate([points, points[:, 3:4], points[:, 3:5]], axis=1)
    others = np.concatenate([values, values[:, :3] + 1], axis=1)
    outputs = interpolate_spline(*single((twice, others, queries)), order)
    assert_close(outputs, reference(points, values, queries, order), 2e-5)


def test_regularized_points_that_coincide_equal_the_reference():
    points, values, queries = data()
    points[:, 3] = points[:, 1]
    outputs = interpolate_spline(*single((points, values, queries)), 2, 0.5)
    assert_close(outputs, reference(points, values, queries, 2, 0.5))


def test_no_point_gives_zeros_and_one_a_constant():
    points, values, queries = single(data())
    nothing = interpolate_spline(points[:, :0], values[:, :0], queries)
    np.testing.assert_array_equal(nothing, np.zeros((2, 30, 3)))
    constant = interpolate_spline(points[:, :1], values[:, :1], queries)
    assert_close(constant, np.broadcast_to(values[:, :1], (2, 30, 3)))


@pytest.mark.parametrize("count", [2, 3, 6])
@pytest.mark.parametrize("order", KERNELS)
def test_points_on_one_line_give_the_spline_of_one_dimension_there(order, count):
    along, values, queries = data(points=3, dimensions=1)
    along = np.concatenate([along, along + 11], axis=1)[:, :count]
    values = np.concatenate([values, values], axis=1)[:, :count]
    expected = reference(along, values, queries, order)
    line, across = np.array([0.6, 0.8]), np.array([0.8, -0.6])
    points, queries = 5 + along * line, 5 + queries * line
    outputs = interpolate_spline(*single((points, values, queries)), order)
    assert_close(outputs, expected, 1e-4)
    sides = [  # no slope leads across it
        interpolate_spline(*single((points, values, queries + way * across)), order)
        for way in (2, -2)
    ]
    assert_close(sides[0], ops.convert_to_numpy(sides[1]), 1e-4)


@needs_float64
@pytest.mark.parametrize(("order", "weight"), [(1, 0.2), (2, 0.0), (2, 0.2), (3, 0.0)])
@pytest.mark.parametrize("which", range(3))
def test_gradients_are_finite_differences(which, order, weight):
    arrays = [*data(batch=2, points=5, queries=4)]

    def function(x):
        tensors = [ops.convert_to_tensor(array) for array in arrays]
        tensors[which] = x
        return interpolate_spline(*tensors, order, weight)

    assert_gradient_is_the_slope(function, arrays[which])


@pytest.mark.parametrize("order", KERNELS)
def test_gradients_are_finite_where_a_query_is_a_point(order):
    points, values, _ = single(data())
    points[:, 1] = points[:, 0]
    for slope in gradients(
        lambda c, f: interpolate_spline(c, f, c, order), points, values
    ):
        assert np.isfinite(slope).all()


def test_sizes_that_are_known_only_at_run_time():
    run = compiled(interpolate_spline, jit_compile=False)
    for options in ({}, {"points": 4, "queries": 5}):
        arrays = data(**options)
        assert_close(
            run(*map(ops.convert_to_tensor, single(arrays))), reference(*arrays)
        )


def test_half_precision_is_computed_in_float32():
    arrays = [np.float16(array) for array in data()]
    outputs = interpolate_spline(*map(ops.convert_to_tensor, arrays))
    assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
    assert_close(outputs, reference(*(array.astype("float64") for array in arrays)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": 4}, "`order` must be one of 1, 2, 3.*order=4"),
        (
            {"regularization_weight": -1},
            r"`regularization_weight` must be .*\[0, inf\)",
        ),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        interpolate_spline(*data(), **options)


@pytest.mark.parametrize(
    "change",
    [
        lambda c, f, x: (c[0], f, x),
        lambda c, f, x: (c, f[:, :3], x),
        lambda c, f, x: (c, f, x[..., :1]),
        lambda c, f, x: (c, f, x[:1]),
    ],
)
def test_shapes_that_do_not_fit(change):
    with pytest.raises(ValueError, match=r"values of shape \(batch, points, outputs\)"):
        interpolate_spline(*change(*data()))


def test_the_number_of_dimensions_must_be_known():
    symbols = [keras.KerasTensor((2, 7, None)) for _ in range(3)]
    with pytest.raises(ValueError, match="needs to know the number of dimensions"):
        interpolate_spline(*symbols)
