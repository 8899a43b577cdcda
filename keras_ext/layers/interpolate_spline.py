"""Polyharmonic splines: smooth functions through scattered points."""

import keras
import numpy as np
from keras import ops

from keras_ext import _checks
from keras_ext._types import Shape, Tensor

# Points are on one line if they reach less far across it than this part of its length,
# squared: such a distance is mostly rounding, and a slope made of it as well.
_THIN = 1e-6


def interpolate_spline(
    train_points: Tensor,
    train_values: Tensor,
    query_points: Tensor,
    order: int = 2,
    regularization_weight: float = 0.0,
) -> Tensor:
    """Return the values of a smooth function that has given values at given points.

    For each sample, the function is the polyharmonic spline

    `f(x) = sum over i of w_i * phi(|x - c_i|) + v · x + b`

    with `f(c_i) = train_values[i]` at the points `c_i`, and `sum(w_i) = 0` and
    `sum(w_i * c_i) = 0`. With `order=1`, `phi(r) = -r`, and with 3, `phi(r) = r^3`.
    With 2, `phi(r) = r^2 * log(r)`: the thin-plate spline, which in the plane bends the
    least of all functions through the points.

    Reference: F. L. Bookstein, "Principal Warps: Thin-Plate Splines and the
    Decomposition of Deformations", 1989, https://doi.org/10.1109/34.24792; of
    `regularization_weight`, G. Wahba, "Spline Models for Observational Data", 1990,
    https://doi.org/10.1137/1.9781611970128.

    Args:
        train_points: Float tensor shaped `(batch, points, dimensions)`, where
            `dimensions` must be known.
        train_values: Float tensor shaped `(batch, points, outputs)`.
        query_points: Float tensor shaped `(batch, queries, dimensions)`.
        order: 1, 2 or 3. Default: 2.
        regularization_weight: Non-negative float: added to `phi(|c_i - c_i|) = 0`. The
            larger it is, the smoother is the function, and the farther from the values.
            Default: 0.

    Returns:
        Tensor shaped `(batch, queries, outputs)`, in the dtype of `query_points`, or
        float32 if that is less precise.

    Raises:
        ValueError: If `order` or `regularization_weight` is out of range, or shapes do
            not fit each other.

    Example:

    >>> import numpy as np
    >>> from keras_ext.layers import interpolate_spline
    >>> points = np.array([[[0.0, 0], [0, 2], [2, 0], [2, 2]]])
    >>> heights = np.array([[[0.0], [2], [2], [4]]])  # the sums of the coordinates
    >>> queries = np.array([[[1.0, 1.0], [0.5, 3.0]]])
    >>> np.array(interpolate_spline(points, heights, queries)).round(3).ravel().tolist()
    [2.0, 3.5]

    The equations always have a solution. Of points that coincide, the first counts,
    unless `regularization_weight` is set. A slope that the points do not determine is
    0, such as that across a line with all points on it; without any points, `f` is 0.
    There are gradients for all three tensors. With `order=3`, large numbers cancel:
    more than about four digits need float64.
    """
    _checks.one_of("order", order, (1, 2, 3))
    _checks.number("regularization_weight", regularization_weight, low=0)
    tensors = [
        ops.convert_to_tensor(one) for one in (train_points, train_values, query_points)
    ]
    _check_shapes([tuple(one.shape) for one in tensors])
    dtype = keras.backend.result_type(tensors[2].dtype, "float32")
    points, values, queries = (ops.cast(one, dtype) for one in tensors)
    # The function is the same in any unit. In float32 it is most accurate in this one,
    # where most distances are below 1.
    center, scale = _position(points)
    points, queries = (points - center) / scale, (queries - center) / scale
    weight = regularization_weight / scale**order
    if not regularization_weight:
        weight = None
    weights, slopes = _solve(points, values, order, weight)
    radial = ops.matmul(_phi(_squares(queries, points), order), weights)
    return radial + ops.matmul(_with_one(queries), slopes)


def _check_shapes(shapes: list[Shape]) -> None:
    """Raise unless points, values and queries fit each other."""
    points, values, queries = shapes
    if any(len(shape) != 3 for shape in shapes) or not (
        _checks.shapes_agree(values[:2], points[:2])
        and _checks.shapes_agree(queries[::2], points[::2])
    ):
        raise ValueError(
            "`interpolate_spline` expects points of shape (batch, points, dimensions), "
            "values of shape (batch, points, outputs) and queries of shape (batch, "
            f"queries, dimensions). Received: {', '.join(map(str, shapes))}"
        )
    if points[2] is None:
        raise ValueError(
            "`interpolate_spline` needs to know the number of dimensions. Received: "
            f"`train_points` of shape {points}. Give the last axis a known size."
        )


def _position(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return the center of the points of each sample, and twice how far they reach."""
    points = ops.stop_gradient(points)
    count = ops.maximum(ops.shape(points)[1], 1)
    center = ops.sum(points, axis=1, keepdims=True) / ops.cast(count, points.dtype)
    distances = ops.absolute(points - center)
    reach = ops.max(distances, axis=(1, 2), keepdims=True, initial=0.0)
    return center, ops.where(reach > 0, 2 * reach, 1.0)


def _solve(
    points: Tensor, values: Tensor, order: int, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the weights of the points, and the slopes with the constant last.

    Args:
        points: Tensor shaped `(batch, points, dimensions)`, centered.
        values: Tensor shaped `(batch, points, outputs)`.
        order: Order of the spline.
        weight: Tensor shaped `(batch, 1, 1)`, or `None` for no regularization.
    """
    count = ops.shape(points)[1]
    index = ops.arange(count, dtype="int32")
    diagonal = index[:, None] == index
    squares, absent = _squares(points, points), _undetermined(points)
    kernel = _phi(squares, order)
    linear = _with_one(points - ops.matmul(points, absent[:, :-1, :-1]))
    if weight is not None:
        kernel = kernel + ops.where(diagonal, weight, 0.0)
    else:
        # The equation of a point that is there already becomes `weight = 0`.
        again = ops.logical_and(squares == 0, index < index[:, None])
        again = ops.any(again, axis=-1, keepdims=True)
        either = ops.logical_or(again, ops.swapaxes(again, 1, 2))
        kernel = ops.where(either, ops.cast(diagonal, kernel.dtype), kernel)
        linear, values = (ops.where(again, 0.0, one) for one in (linear, values))
    matrix = ops.concatenate(
        [
            ops.concatenate([kernel, linear], axis=2),
            ops.concatenate([ops.swapaxes(linear, 1, 2), -absent], axis=2),
        ],
        axis=1,
    )
    batch, _, outputs = ops.shape(values)
    zeros = ops.zeros((batch, linear.shape[-1], outputs), values.dtype)
    solution = ops.solve(matrix, ops.concatenate([values, zeros], axis=1))
    return solution[:, :count], solution[:, count:]


def _undetermined(points: Tensor) -> Tensor:
    """Return the projection on those slopes that centered points do not determine.

    Shaped `(batch, dimensions + 1, dimensions + 1)`: the constant is the last.
    """
    points = ops.stop_gradient(points)
    spreads, axes = ops.eigh(ops.matmul(ops.swapaxes(points, 1, 2), points))
    thin = ops.cast(spreads <= _THIN * spreads[:, -1:], points.dtype)
    slopes = ops.matmul(axes * thin[:, None], ops.swapaxes(axes, 1, 2))
    constant = np.diag([0.0] * points.shape[-1] + [1.0])
    empty = ops.cast(ops.equal(ops.shape(points)[1], 0), points.dtype)
    widths = ((0, 0), (0, 1), (0, 1))
    return ops.pad(slopes, widths) + empty * ops.cast(constant, points.dtype)


def _with_one(points: Tensor) -> Tensor:
    """Return the points with 1 as one coordinate more, for the constant."""
    return ops.concatenate([points, ops.ones_like(points[..., :1])], axis=-1)


def _squares(points: Tensor, others: Tensor) -> Tensor:
    """Return the squared distances of all pairs.

    One coordinate after the other: as a product of matrices, the distances of near
    points would be differences of large numbers.
    """
    total = 0.0
    for axis in range(others.shape[-1]):
        total = total + ops.square(points[..., axis, None] - others[:, None, :, axis])
    return total


def _phi(squares: Tensor, order: int) -> Tensor:
    """Return the radial function of squared distances, with slope 0 at 0."""
    apart = squares > 0
    safe = ops.where(apart, squares, 1.0)
    if order == 2:
        return 0.5 * squares * ops.log(safe)
    distances = ops.where(apart, ops.sqrt(safe), 0.0)
    return -distances if order == 1 else squares * distances
