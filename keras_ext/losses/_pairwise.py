"""Matrices with an entry for each pair of a batch: distances, and sums over rows."""

from typing import Any, Literal, TypeAlias

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._numerics import highest, scale, unit
from keras_ext._types import Tensor

Distance: TypeAlias = Literal["euclidean", "squared_euclidean", "cosine"]
_DISTANCES = ("euclidean", "squared_euclidean", "cosine")
_EPSILON = {"float32": 2.0**-23, "float64": 2.0**-52}


def check_distance(name: str, value: Any) -> Distance:
    """Return `value` if it is the name of a distance, else raise `ValueError`."""
    checked: Distance = _checks.one_of(name, value, _DISTANCES)
    return checked


def distances(x: Tensor, distance: Distance, origin: Tensor | None = None) -> Tensor:
    """Return the distance of each row of `x`, `(batch, dim)`, from each other row.

    Its gradient is finite where a distance is 0. The squares come from a matrix
    product, `|a - b|^2 = a.a - 2 a.b + b.b`: no tensor of shape `(batch, batch, dim)`
    is needed. Results within rounding error count as 0. Squared distances may be
    infinite.

    Args:
        x: Embeddings.
        distance: Name of the distance.
        origin: Point subtracted from each row, since rows close to it keep their
            precision. Distances are between rows with the same origin. Default: the
            first row.
    """
    if distance == "cosine":
        x = unit(x, -1)
        return 1.0 - ops.matmul(x, ops.transpose(x))
    x -= ops.stop_gradient(x[:1, ...] if origin is None else origin)
    size = scale(x, (0, 1)) if distance == "euclidean" else 1.0
    x = x / size
    products = ops.matmul(x, ops.transpose(x))
    # From the same product, so that equal rows have a distance of exactly 0.
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
    """Return values greater than `x` by no more than rounding errors."""
    return x + 2.0 * _epsilon(x) * ops.abs(x) + 1e-37


def row_mean(values: Tensor, allowed: Tensor) -> Tensor:
    """Return the mean of each row's allowed values, or 0 if there are none."""
    number = ops.sum(ops.cast(allowed, values.dtype), axis=1)
    return ops.sum(ops.where(allowed, values, 0.0), axis=1) / ops.maximum(number, 1.0)


def row_log_sum_exp(values: Tensor, allowed: Tensor) -> Tensor:
    """Return `log(sum(exp(values)))` of each row's allowed values, or 0 for none."""
    some = ops.any(allowed, axis=1)
    largest = highest(ops.where(allowed, values, -float("inf")), axis=1)
    largest = ops.stop_gradient(ops.where(some, largest, 0.0))
    shifted = ops.where(allowed, values - largest[:, None], 0.0)
    total = ops.sum(ops.where(allowed, ops.exp(shifted), 0.0), axis=1)
    return largest + ops.log(ops.where(some, total, 1.0))


def row_crossentropy(logits: Tensor, allowed: Tensor, shares: Tensor) -> Tensor:
    """Return each row's crossentropy of a softmax over its allowed logits.

    Args:
        logits: One row per sample.
        allowed: Which entries the softmax is over.
        shares: Targets, 0 where not allowed, which are divided by their sum. A row
            without targets has value 0.
    """
    surprise = row_log_sum_exp(logits, allowed)[:, None] - logits
    shares = ops.cast(shares, logits.dtype)
    total = ops.sum(shares, axis=1)
    # Where a share is 0, the logit does not matter, even if it is infinite.
    weighted = ops.where(shares > 0, surprise, 0.0) * shares
    return ops.sum(weighted, axis=1) / ops.where(total > 0, total, 1.0)


def _epsilon(x: Tensor) -> float:
    """Return the distance from 1 to the next larger number."""
    return _EPSILON[keras.backend.standardize_dtype(x.dtype)]


def _root(square: Tensor) -> Tensor:
    some = ops.not_equal(square, 0.0)
    return ops.where(some, ops.sqrt(ops.where(some, square, 1.0)), 0.0)
