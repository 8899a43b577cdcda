"""Viterbi's algorithm: the best sequence of tags, by dynamic programming."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ext import _checks, _linear_chain
from keras_ext._numerics import highest
from keras_ext._types import Tensor


def viterbi_decode(
    potentials: Tensor, *, unroll: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the tags with the highest score, and that score, for every sequence.

    The function form of `ViterbiDecoder`, which documents the formula, reference and
    errors.

    Args:
        potentials: Float tensor `(batch, time, tags, tags)`, as `CRF` returns it.
        unroll: Boolean. Whether to write the steps out instead of a loop. Default:
            `False`.

    Returns:
        The tags, int32, `(batch, time)`; and their scores, `(batch,)`, of the dtype of
        `potentials`, or float32 if that is less precise.

    Example:

    >>> import numpy as np
    >>> from keras_ext.layers import viterbi_decode
    >>> potentials = np.zeros((1, 3, 2, 2), "float32")
    >>> potentials[0, 1:, 0, 1] = potentials[0, 1:, 1, 0] = 1.0  # the tags alternate
    >>> potentials[0, 2, :, 1] += 0.5
    >>> tags, scores = viterbi_decode(potentials)
    >>> [int(tag) for tag in tags[0]], float(scores[0])
    ([1, 0, 1], 2.5)
    """
    _checks.one_of("unroll", unroll, (True, False))
    potentials = _linear_chain.as_potentials("viterbi_decode", potentials)
    if unroll:
        check_length("viterbi_decode", potentials.shape)
    # Not -inf: converters to ONNX write `where` as products, and 0 * -inf is NaN.
    lowest = -np.finfo(keras.backend.standardize_dtype(potentials.dtype)).max
    start = _linear_chain.start(potentials, impossible=lowest)
    before, final = _linear_chain.totals(potentials, start, highest, unroll=unroll)
    best_before = _first_highest(ops.expand_dims(before, -1) + potentials, axis=-2)
    # A masked step is not compared: after a difference of 32768 it would not win.
    masked = ops.expand_dims(_linear_chain.is_masked(potentials), -1)
    same = ops.arange(potentials.shape[-1], dtype="int32")
    best_before = ops.where(masked, same, best_before)

    def step(tag: Tensor, best_before: Tensor) -> tuple[Tensor, Tensor]:
        chosen = ops.equal(same, ops.expand_dims(tag, -1))
        return ops.sum(ops.where(chosen, best_before, 0), axis=-1), tag

    last = _first_highest(final, axis=-1)
    tags, _ = _linear_chain.scan(step, last, best_before, reverse=True, unroll=unroll)
    return tags, highest(final, axis=-1)


def _first_highest(x: Tensor, axis: int) -> Tensor:
    """Return the lowest index of the maximum, int32.

    Keras's `argmax` compares -0.0 and 0.0 by their bits, which ONNX and LiteRT cannot.
    """
    count = x.shape[axis]
    shape = [1] * len(x.shape)
    shape[axis] = count
    index = ops.reshape(ops.arange(count, dtype="int32"), shape)
    at_highest = x >= highest(x, axis, keepdims=True)
    # Where there is NaN, nothing is the highest: the last index.
    index = ops.where(at_highest, index, count - 1)
    return ops.min(index, axis=axis, initial=count - 1)


def check_length(owner: str, shape: Any) -> None:
    """Raise `ValueError` if the number of steps is unknown or 0: nothing to unroll."""
    if not shape[1]:
        raise ValueError(
            f"{owner} expects a known number of steps with `unroll=True`. Received: "
            f"shape={tuple(shape)}. Give the model an input of that length, such as "
            "`keras.Input((100,))`, or leave `unroll` at False."
        )
