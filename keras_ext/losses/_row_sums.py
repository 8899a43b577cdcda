"""Means and sums over the allowed entries of each row of a matrix."""

from keras import ops

from keras_ext._highest import highest
from keras_ext._types import Tensor


def mean(values: Tensor, allowed: Tensor) -> Tensor:
    """Return the mean of each row's allowed values; of none, 0."""
    number = ops.sum(ops.cast(allowed, values.dtype), axis=1)
    return ops.sum(ops.where(allowed, values, 0.0), axis=1) / ops.maximum(number, 1.0)


def log_sum_exp(values: Tensor, allowed: Tensor) -> Tensor:
    """Return `log(sum(exp(values)))` of each row's allowed values; of none, 0."""
    some = ops.any(allowed, axis=1)
    largest = highest(ops.where(allowed, values, -float("inf")), axis=1)
    largest = ops.stop_gradient(ops.where(some, largest, 0.0))
    shifted = ops.where(allowed, values - largest[:, None], 0.0)
    total = ops.sum(ops.where(allowed, ops.exp(shifted), 0.0), axis=1)
    return largest + ops.log(ops.where(some, total, 1.0))


def crossentropy(logits: Tensor, allowed: Tensor, shares: Tensor) -> Tensor:
    """Return each row's crossentropy of a softmax over its allowed logits.

    Args:
        logits: One row per sample.
        allowed: Which entries the softmax is over.
        shares: Targets, 0 where not allowed, which are divided by their sum. A row
            without any has the value 0.
    """
    surprise = log_sum_exp(logits, allowed)[:, None] - logits
    shares = ops.cast(shares, logits.dtype)
    total = ops.sum(shares, axis=1)
    # Where nothing is shared, logits are of no account, be they infinite.
    weighted = ops.where(shares > 0, surprise, 0.0) * shares
    return ops.sum(weighted, axis=1) / ops.where(total > 0, total, 1.0)
