"""`SparseImageWarp` against SciPy's splines and sampling."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import ndimage
from scipy.interpolate import RBFInterpolator

from keras_ext.layers import SparseImageWarp
from tests.backends import compiled
from tests.layers.weights import assert_close, images
from tests.slopes import assert_gradient_is_the_slope, needs_double_precision

KERNELS = {1: "linear", 2: "thin_plate_spline", 3: "cubic"}


def points(batch=2, count=4, height=8, width=9):
    """Return where control points are, and where they go.

    They are numbers of float32, in double precision.
    """
    rng = np.random.default_rng(6)
    cells = np.array([(0, 0), (1, 1), (1, 0), (0, 1)])[:count]
    shares = (cells + rng.uniform(0.3, 0.7, (batch, count, 2))) / 2
    source = (shares * (height - 1, width - 1)).astype("float32")
    moves = rng.uniform(-1, 1, source.shape).astype("float32")
    return source.astype("float64"), (source + moves).astype("float64")


def border(count, height, width):
    """Return the corners, and `count - 1` points on each edge."""
    ys, xs = np.linspace(0, height - 1, count + 1), np.linspace(0, width - 1, count + 1)
    grid = [(y, x) for y in ys for x in xs]
    return [p for p in grid if p[0] in (0, height - 1) or p[1] in (0, width - 1)]


def reference(x, source, destination, order=2, weight=0.0, boundary=0):
    """Warp each channel of each image with SciPy, in double precision."""
    batch, height, width, channels = x.shape
    grid = np.stack(np.meshgrid(range(height), range(width), indexing="ij"), -1)
    fixed = np.reshape(border(boundary, height, width) if boundary else [], (-1, 2))
    outputs, flows = np.zeros(x.shape), np.zeros((batch, height, width, 2))
    for n in range(batch):
        at = np.concatenate([destination[n], fixed])
        moves = np.concatenate([destination[n] - source[n], np.zeros_like(fixed)])
        spline = RBFInterpolator(
            at, moves, smoothing=weight, kernel=KERNELS[order], degree=1
        )
        flows[n] = spline(grid.reshape(-1, 2)).reshape(height, width, 2)
        for c in range(channels):
            outputs[n, ..., c] = ndimage.map_coordinates(
                x[n, ..., c].astype("float64"),
                np.moveaxis(grid - flows[n], -1, 0),
                order=1,
                mode="nearest",
            )
    return outputs, flows


def single(arrays):
    return [array.astype("float32") for array in arrays]


@pytest.mark.parametrize("boundary", [0, 3])
@pytest.mark.parametrize("weight", [0.0, 0.3])
@pytest.mark.parametrize("order", KERNELS)
def test_equals_the_reference(order, weight, boundary):
    x, arrays = images(2, 8, 9, 3), points()
    layer = SparseImageWarp(
        interpolation_order=order,
        regularization_weight=weight,
        num_boundary_points=boundary,
        return_flow=True,
    )
    outputs, flow = layer([x, *single(arrays)])
    expected, flows = reference(x, *arrays, order, weight, boundary)
    # Sums of cubes are large, and cancel: it is exact below, in double precision.
    tolerance = 5e-5 if order == 3 else 1e-5
    assert_close(flow, flows, tolerance)
    assert_close(outputs, expected, 3 * tolerance)


@needs_double_precision
@pytest.mark.parametrize("order", KERNELS)
def test_equals_the_reference_in_double_precision(order):
    x, arrays = images(2, 8, 9, 3).astype("float64"), points()
    layer = SparseImageWarp(
        interpolation_order=order,
        regularization_weight=0.3,
        num_boundary_points=3,
        dtype="float64",
    )
    expected, _ = reference(x, *arrays, order, 0.3, 3)
    assert_close(layer([x, *arrays]), expected, 1e-10)


def test_equals_the_reference_with_the_channels_first():
    x, arrays = images(2, 8, 9, 3), points()
    layer = SparseImageWarp(return_flow=True, data_format="channels_first")
    inputs = [np.moveaxis(x, -1, 1), *single(arrays)]
    outputs = layer(inputs)
    shapes = layer.compute_output_shape([one.shape for one in inputs])
    for output, shape, expected in zip(
        outputs, shapes, reference(x, *arrays), strict=True
    ):
        assert tuple(output.shape) == shape
        assert_close(ops.moveaxis(output, 1, -1), expected, 5e-5)


def test_a_point_on_a_pixel_moves_to_its_place():
    x = images(1, 8, 9, 3)
    source = np.array([[[2, 3], [5, 1], [6, 7]]], "float32")
    destination = np.array([[[3, 5], [4, 2], [6, 6]]], "float32")
    outputs = SparseImageWarp(num_boundary_points=2)([x, source, destination])
    for (y, x0), (v, u) in zip(
        source[0].astype(int), destination[0].astype(int), strict=True
    ):
        assert_close(outputs[0, v, u], x[0, y, x0], 1e-4)
    for v, u in ((0, 0), (0, 4), (7, 8)):  # the border
        assert_close(outputs[0, v, u], x[0, v, u], 1e-4)


@pytest.mark.parametrize("boundary", [0, 2])
@pytest.mark.parametrize("count", [0, 3])
def test_without_moves_no_bit_changes(count, boundary):
    x = images(2, 8, 9, 3)
    (source, _) = single(points(count=count))
    layer = SparseImageWarp(num_boundary_points=boundary)
    np.testing.assert_array_equal(layer([x, source, source]), x)


def test_one_point_moves_the_whole_image():
    x = images(1, 8, 9, 2)
    source = np.array([[[2, 3]]], "float32")
    moved = np.array([1, -2], "float32")
    outputs = SparseImageWarp()([x, source, source + moved])
    assert_close(outputs[:, 1:, :-2], x[:, :-1, 2:])


def test_points_that_coincide_are_one():
    x, arrays = images(2, 8, 9, 3), points()
    twice = [np.concatenate([one, one[:, :1]], axis=1) for one in single(arrays)]
    assert_close(SparseImageWarp()([x, *twice]), reference(x, *arrays)[0], 5e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (7, 1)])
def test_images_of_one_row_or_pixel(size):
    x = images(2, *size, 2)
    source, destination = single(points(2, 2, *size))
    outputs = SparseImageWarp(num_boundary_points=2)([x, source, destination])
    assert np.isfinite(ops.convert_to_numpy(outputs)).all()
    still = SparseImageWarp(num_boundary_points=2)([x, source, source])
    np.testing.assert_array_equal(still, x)


def test_integers_become_the_dtype_of_the_layer():
    x = np.random.default_rng(3).integers(0, 255, (2, 8, 9, 1)).astype("uint8")
    outputs = SparseImageWarp()([x, *single(points())])
    assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
    np.testing.assert_allclose(outputs, reference(x, *points())[0], atol=5e-3)


def test_points_are_not_rounded_to_half_precision():
    # In float16, the source would be where the destination is.
    x = np.arange(2002, dtype="float32").reshape(1, 1001, 2, 1) % 2
    x = np.cumsum(x, axis=1) * 0 + np.arange(1001.0).reshape(1, 1001, 1, 1) / 1000
    source = np.array([[[900.2, 0.0]]], "float32")
    destination = np.array([[[900.4, 0.0]]], "float32")
    layer = SparseImageWarp(return_flow=True, dtype="float16")
    outputs, flow = layer([x.astype("float32"), source, destination])
    for output in (outputs, flow):
        assert keras.backend.standardize_dtype(output.dtype) == "float16"
    np.testing.assert_allclose(ops.convert_to_numpy(flow)[..., 0], 0.2, atol=1e-3)


@needs_double_precision
@pytest.mark.parametrize("which", range(3))
def test_gradients_are_finite_differences(which):
    arrays = [images(2, 6, 5, 2).astype("float64"), *points(2, 3, 6, 5)]
    layer = SparseImageWarp(num_boundary_points=1, dtype="float64")

    def function(x):
        return layer([x if i == which else one for i, one in enumerate(arrays)])

    assert_gradient_is_the_slope(function, arrays[which])


def test_sizes_that_are_known_only_at_run_time():
    inputs = [
        keras.Input((None, None, None)),
        keras.Input((None, 2)),
        keras.Input((None, 2)),
    ]
    layer = SparseImageWarp(num_boundary_points=2, return_flow=True)
    model = keras.Model(inputs, layer(inputs))
    assert [one.shape for one in model.outputs] == [
        (None, None, None, None),
        (None, None, None, 2),
    ]
    run = compiled(lambda *arrays: model(arrays), jit_compile=False)
    for batch, count, *size in ((2, 4, 8, 9), (1, 2, 5, 7)):
        x, arrays = images(batch, *size, 2), points(batch, count, *size)
        outputs, flow = run(*map(ops.convert_to_tensor, (x, *single(arrays))))
        expected, flows = reference(x, *arrays, boundary=2)
        assert_close(flow, flows, 2e-5)
        assert_close(outputs, expected, 5e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"interpolation_order": 0}, "`interpolation_order` must be one of 1, 2, 3"),
        ({"regularization_weight": -0.1}, "`regularization_weight` must be a finite"),
        ({"num_boundary_points": -1}, "`num_boundary_points` must be a non-negative"),
        ({"return_flow": "yes"}, "`return_flow` must be one of True, False"),
        ({"data_format": "NHWC"}, "`data_format` must be one of .*'NHWC'"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        SparseImageWarp(**options)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ((2, 5, 5, 3), "expects a list of three tensors: images, and where"),
        ([(2, 5, 5, 3), (2, 4, 2)], "expects a list of three tensors: images, and"),
        ([(2, 5, 5), (2, 4, 2), (2, 4, 2)], r"input of rank 4, shaped \(batch, height"),
        ([(2, 5, 5, 3), (2, 4, 2), (2, 3, 2)], "as many in the source as in the dest"),
        ([(2, 5, 5, 3), (3, 4, 2), (3, 4, 2)], r"images of shape \(2, 5, 5, 3\)"),
        ([(2, 5, 5, 3), (2, 4, 3), (2, 4, 3)], r"of shape \(batch, points, 2\)"),
    ],
)
def test_bad_shapes(shapes, message):
    with pytest.raises(ValueError, match=message):
        SparseImageWarp().build(shapes)
