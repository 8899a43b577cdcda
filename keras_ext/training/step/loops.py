"""Loops over many steps in compiled code, and the outputs of each step."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
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


def last_of(
    step: Callable[[Any], Any], outputs: Any, first: tf.Tensor, stop: tf.Tensor
) -> Any:
    """Make the steps from `first` to `stop` and return the outputs of the last.

    Args:
        step: Makes the step with a number.
        outputs: What it returns, as specs of known shapes.
        first: Number of the first step.
        stop: Number after the last.
    """
    # A loop must begin with outputs of the types that it ends with.
    nothing = tf.nest.map_structure(
        lambda spec: tf.zeros(spec.shape, spec.dtype), outputs
    )
    # Both bounds are tensors, so that other numbers of steps need no new trace.
    return tf.while_loop(
        lambda number, _: number < stop,
        lambda number, _: (number + 1, step(number)),
        (first, nothing),
    )[1]


def each_of(
    step: Callable[[Any], Any],
    outputs: Any,
    variables: Sequence[keras.Variable],
    most: int,
    first: tf.Tensor,
    stop: tf.Tensor,
) -> Any:
    """Make the same steps and return, for each, its outputs and the variables' values.

    Stacked, with room for `most` steps; the rows after the last step are zeros.
    """
    specs = outputs, [tf.TensorSpec(v.shape, v.dtype) for v in variables]
    # XLA needs the size while it compiles, however many steps are made then.
    stacks = [
        tf.TensorArray(spec.dtype, most, element_shape=spec.shape)
        for spec in tf.nest.flatten(specs)
    ]

    def body(number: Any, stacks: Any) -> Any:
        made = step(number), [tf.identity(v.value) for v in variables]
        pairs = zip(stacks, tf.nest.flatten(made), strict=True)
        return number + 1, [stack.write(number - first, leaf) for stack, leaf in pairs]

    _, stacks = tf.while_loop(lambda number, _: number < stop, body, (first, stacks))
    return tf.nest.pack_sequence_as(specs, [stack.stack() for stack in stacks])


def numbers(array: np.ndarray) -> list[Any]:
    """Return the rows of an array; as Python's numbers, if they are numbers."""
    return array.astype("float64").tolist() if array.ndim == 1 else list(array)


def rows(
    stacks: Any, count: int, parts: Callable[[np.ndarray], list[Any]] = numbers
) -> list[Any]:
    """Return the outputs of the first `count` steps, one structure for each.

    Args:
        stacks: A structure of tensors whose first axis is that of the steps.
        count: How many of them were made.
        parts: Splits what comes of one tensor. Default: into the steps.
    """
    # One copy to the host for all steps, so that the device need not hold them.
    return _rows(stacks, lambda stack: parts(stack[:count].numpy()), count)


def _rows(
    stacks: Any, split: Callable[[tf.Tensor], list[Any]], count: int
) -> list[Any]:
    """Return `count` structures, each with its part of every tensor."""
    if type(stacks) is dict:
        columns = [_rows(part, split, count) for part in stacks.values()]
        return [
            dict(zip(stacks, row, strict=True)) for row in _transposed(columns, count)
        ]
    if type(stacks) in (list, tuple):
        columns = [_rows(part, split, count) for part in stacks]
        return list(map(type(stacks), _transposed(columns, count)))
    leaves = list(map(split, tf.nest.flatten(stacks)))
    if tf.is_tensor(stacks):
        return leaves[0]
    # Of other kinds, for which `pack_sequence_as` takes as long as a quick hook.
    return [tf.nest.pack_sequence_as(stacks, row) for row in _transposed(leaves, count)]


def _transposed(columns: list[list[Any]], count: int) -> Any:
    return zip(*columns, strict=True) if columns else [()] * count
