"""Distances between embeddings, with gradients that are finite at 0."""

from typing import Literal, TypeAlias

import keras
from keras import ops

from keras_ext._norms import scale, unit
from keras_ext._types import Tensor

Distance: TypeAlias = Literal["euclidean", "squared_euclidean", "cosine"]
DISTANCES = ("euclidean", "squared_euclidean", "cosine")
_EPSILON = {"float32": 2.0**-23, "float64": 2.0**-52}


def pairwise(x: Tensor, distance: Distance, origin: Tensor | None = None) -> Tensor:
    """Return the distance of each row of `x`, `(batch, dim)`, from each other row.

    The squares come from a matrix product, `|a - b|^2 = a.a - 2 a.b + b.b`: nothing is
    as large as `(batch, batch, dim)`. What that leaves of rounding counts as 0. Squares
    may be infinite where they are what is asked for.

    Args:
        x: Embeddings.
        distance: One of `DISTANCES`.
        origin: What each row is taken relative to, since rows close to it keep their
            digits. Distances are those of rows with the same origin. Default: the
            first row.
    """
    if distance == "cosine":
        x = unit(x, -1)
        return 1.0 - ops.matmul(x, ops.transpose(x))
    x -= ops.stop_gradient(x[:1, ...] if origin is None else origin)
    size = scale(x, (0, 1)) if distance == "euclidean" else 1.0
    x = x / size
    products = ops.matmul(x, ops.transpose(x))
    # From the same product: equal rows then have a distance of exactly 0.
    own = ops.diagonal(products)
    total = own[:, None] + own[None, :]
    square = total - 2.0 * products
    square = ops.where(square <= 4.0 * _epsilon(x) * total, 0.0, square)
    return size * _root(square) if distance == "euclidean" else square


def paired(x: Tensor, y: Tensor, distance: Distance) -> Tensor:
    """Return the distance of each row of `x` from the same row of `y`."""
    if distance == "cosine":
        return 1.0 - ops.sum(unit(x, -1) * unit(y, -1), axis=-1)
    x = x - y
    if distance == "squared_euclidean":
        return ops.sum(ops.square(x), axis=-1)
    size = scale(x, -1)
    return size[:, 0] * _root(ops.sum(ops.square(x / size), axis=-1))


def just_above(x: Tensor) -> Tensor:
    """Return what is greater than `x` by no more than rounding errors."""
    return x + 2.0 * _epsilon(x) * ops.abs(x) + 1e-37


def _epsilon(x: Tensor) -> float:
    """Return how far the next number is from 1."""
    return _EPSILON[keras.backend.standardize_dtype(x.dtype)]


def _root(square: Tensor) -> Tensor:
    some = ops.not_equal(square, 0.0)
    return ops.where(some, ops.sqrt(ops.where(some, square, 1.0)), 0.0)
