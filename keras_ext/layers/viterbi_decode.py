"""Viterbi's algorithm: the best sequence of tags, by dynamic programming."""

from keras import ops

from keras_ext import _linear_chain
from keras_ext._numerics import highest
from keras_ext._types import Tensor


def viterbi_decode(potentials: Tensor) -> tuple[Tensor, Tensor]:
    """Return the tags with the highest score, and that score, for every sequence.

    The function form of `ViterbiDecoder`, which documents the formula, reference and
    errors.

    Args:
        potentials: Float tensor `(batch, time, tags, tags)`, as `CRF` returns it.

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
    potentials = _linear_chain.as_potentials("viterbi_decode", potentials)
    before, final = _linear_chain.totals(
        potentials, _linear_chain.start(potentials), highest
    )
    best_before = ops.argmax(before[..., None] + potentials, axis=-2)
    # A masked step is not compared: after a difference of 32768 it would not win.
    masked = _linear_chain.is_masked(potentials)[..., None]
    same = ops.arange(potentials.shape[-1], dtype="int32")
    best_before = ops.where(masked, same, ops.cast(best_before, "int32"))

    def step(tag: Tensor, best_before: Tensor) -> tuple[Tensor, Tensor]:
        back = ops.take_along_axis(best_before, tag[:, None], axis=-1)
        return back[:, 0], tag

    last = ops.cast(ops.argmax(final, axis=-1), "int32")
    _, tags = ops.scan(step, last, ops.moveaxis(best_before, 1, 0), reverse=True)
    return ops.moveaxis(tags, 0, 1), highest(final, axis=-1)
