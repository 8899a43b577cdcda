"""The outputs of every step of a compiled loop, kept for those who ask for them."""

import math
from typing import Any

import numpy as np
import tensorflow as tf

_MOST_STEPS = 512
_MOST_BYTES = 2**24


def most_steps(outputs: Any) -> int:
    """Return for how many steps a loop has room: 512, or what fits into 16 MB.

    Args:
        outputs: What a step returns, as tensors or their specs, of known shapes.
    """
    size = sum(
        math.prod(leaf.shape) * tf.as_dtype(leaf.dtype).size
        for leaf in tf.nest.flatten(outputs)
    )
    return max(1, min(_MOST_STEPS, _MOST_BYTES // max(1, size)))


def stacks_for(outputs: Any, count: int) -> list[tf.TensorArray]:
    """Return room for the outputs of `count` steps, to be written to in a loop."""
    # XLA needs the size while it compiles, however many steps are made then.
    return [
        tf.TensorArray(leaf.dtype, count, element_shape=leaf.shape)
        for leaf in tf.nest.flatten(outputs)
    ]


def write(stacks: list[tf.TensorArray], number: Any, outputs: Any) -> Any:
    """Return the stacks with the outputs of step `number`."""
    pairs = zip(stacks, tf.nest.flatten(outputs), strict=True)
    return [stack.write(number, output) for stack, output in pairs]


def rows(stacks: Any, count: int) -> list[Any]:
    """Return the outputs of the first `count` steps, one structure for each.

    Args:
        stacks: A structure of tensors whose first axis is that of the steps.
        count: How many of them were made.
    """
    # One copy to the host for all steps. Numbers of Python's, as callbacks get them.
    leaves = [_items(stack[:count].numpy()) for stack in tf.nest.flatten(stacks)]
    return [tf.nest.pack_sequence_as(stacks, row) for row in zip(*leaves, strict=True)]


def _items(array: np.ndarray) -> list[Any]:
    return array.astype("float64").tolist() if array.ndim == 1 else list(array)
