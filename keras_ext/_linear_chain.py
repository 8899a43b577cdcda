"""Linear chains of tags: the potentials that `CRF` returns, and sums over paths.

Potentials are `(batch, time, tags, tags)`: entry `[t, i, j]` is the score of tag `j` at
step `t` after tag `i` at step `t - 1`. Every path starts from row 0 of step 0. At a
masked step, all paths keep their tag and their score.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ext._types import Tensor

_CHANGE = -(2.0**15)  # exact in float16 and bfloat16


def masked_step(num_tags: int, dtype: str) -> Tensor:
    """Return the potentials of a masked step: 0 to keep the tag, else -32768."""
    change = _CHANGE * (1 - np.eye(num_tags))
    return ops.convert_to_tensor(change.astype("float32"), dtype)


def is_masked(potentials: Tensor) -> Tensor:
    """Return which steps are masked: those that hold exactly `masked_step`."""
    step = masked_step(potentials.shape[-1], potentials.dtype)
    return ops.all(ops.equal(potentials, step), axis=(-2, -1))


def as_potentials(owner: str, potentials: Tensor) -> Tensor:
    """Return `potentials` in float32 or higher precision.

    Raises:
        ValueError: If the shape is not that of potentials.
    """
    potentials = ops.convert_to_tensor(potentials)
    check_shape(owner, potentials.shape)
    dtype = keras.backend.result_type(potentials.dtype, "float32")
    return ops.cast(potentials, dtype)


def check_shape(owner: str, shape: Any) -> None:
    """Raise `ValueError` if `shape` is not that of potentials."""
    if len(shape) != 4 or shape[-1] is None or shape[-1] != shape[-2]:
        raise ValueError(
            f"{owner} expects the potentials of `keras_ext.layers.CRF`, shaped "
            f"(batch, time, tags, tags). Received: shape={tuple(shape)}"
        )


def log_sum_of_paths(potentials: Tensor) -> Tensor:
    """Return `log sum exp(score)` over all paths, `(batch,)`.

    Its gradient is the probability of every pair of tags, by the forward-backward
    algorithm. It is written out because XLA cannot differentiate `ops.scan`, and so
    that paths of score -inf have gradient 0 instead of NaN.
    """
    return ops.custom_gradient(_log_sum_and_gradient)(potentials)


def _log_sum_and_gradient(potentials: Tensor) -> tuple[Tensor, Callable[..., Tensor]]:
    before, final = totals(potentials, start(potentials), ops.logsumexp)

    def gradient(*upstream_or_none: Tensor, upstream: Tensor | None = None) -> Tensor:
        if upstream is None:  # only the torch backend passes it by name
            (upstream,) = upstream_or_none
        after, _ = totals(
            ops.swapaxes(potentials, -1, -2),
            ops.zeros_like(final),
            ops.logsumexp,
            reverse=True,
        )
        score = before[..., :, None] + potentials + after[..., None, :]
        # Minus its own sum, not the returned one, which has different rounding errors.
        score -= ops.logsumexp(score, axis=(-2, -1), keepdims=True)
        return ops.exp(score) * upstream[:, None, None, None]

    return ops.logsumexp(final, axis=-1), gradient


def start(potentials: Tensor, impossible: float = -float("inf")) -> Tensor:
    """Return the totals before step 0: tag 0 is certain, the others `impossible`."""
    row = np.where(np.arange(potentials.shape[-1]) == 0, 0.0, impossible)
    row = ops.convert_to_tensor(row, potentials.dtype)
    return ops.broadcast_to(row, (ops.shape(potentials)[0], potentials.shape[-1]))


def totals(
    potentials: Tensor,
    initial: Tensor,
    reduce: Callable[..., Tensor],
    reverse: bool = False,
    unroll: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return a total for every tag: before each step, and after the last one.

    Args:
        potentials: `(batch, time, tags, tags)`.
        initial: `(batch, tags)`, the initial totals.
        reduce: Function that reduces the paths that meet in a tag to one number, such
            as `ops.logsumexp` or `ops.max`.
        reverse: Whether to go from the last step to the first.
        unroll: Whether to write the steps out; see `scan`.
    """

    # One tensor to scan, since Keras fails on two of unknown length.
    def step(total: Tensor, potential: Tensor) -> tuple[Tensor, Tensor]:
        new = reduce(ops.expand_dims(total, -1) + potential, axis=1)
        masked = ops.expand_dims(is_masked(potential), -1)
        return ops.where(masked, total, new), total

    return scan(step, initial, potentials, reverse=reverse, unroll=unroll)


def scan(
    step: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    initial: Tensor,
    inputs: Tensor,
    *,
    reverse: bool = False,
    unroll: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return what `step` gives for each entry of axis 1, and its last state.

    Args:
        step: Function of a state and an entry that returns the next state and an
            output.
        initial: The state before the first step.
        inputs: `(batch, time, ...)`.
        reverse: Whether to go from the last step to the first.
        unroll: Whether to write the steps out instead of a loop, for formats that have
            no loops; the length must be known.

    Returns:
        The outputs, `(batch, time, ...)`, and the last state.
    """
    if unroll:
        state, outputs = initial, []
        entries = ops.unstack(inputs, inputs.shape[1], axis=1)
        for entry in reversed(entries) if reverse else entries:
            state, output = step(state, entry)
            outputs.append(output)
        return ops.stack(outputs[::-1] if reverse else outputs, axis=1), state
    by_time = ops.moveaxis(inputs, 1, 0)
    state, outputs = ops.scan(step, initial, by_time, reverse=reverse)
    return ops.moveaxis(outputs, 0, 1), state
