"""A compiled prediction step that returns the outputs of all batches."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_ext.training.base.step_options import StepHooks
from keras_ext.training.data.chunks import EqualBatches, batches_at_once
from keras_ext.training.step import loops
from keras_ext.training.step.program import Program


class PredictProgram(Program):
    """A prediction step, for one batch or for many.

    Like any other `Program`, but `many` returns a list of outputs, for `join`: one for
    many batches if they can be stacked, or one per batch.
    """

    # Whether batches turned out to have outputs that cannot be stacked.
    _one_by_one = False

    def _of_all_replicas(self, outputs: Any) -> Any:
        return self._step.join(outputs)

    def _can_be_looped(self, outputs: Any) -> bool:
        return not self._one_by_one and all(
            isinstance(spec, (tf.Tensor, tf.TensorSpec))
            and spec.shape.rank
            and spec.shape[1:].is_fully_defined()
            for spec in tf.nest.flatten(outputs)
        )

    def _in_one_call(self, chunk: EqualBatches, hooks: StepHooks) -> list[Any]:
        return self._predicted(chunk, hooks, lambda stack: [_flat(stack)])

    def _recorded(self, chunk: EqualBatches, hooks: StepHooks) -> list[Any]:
        return [(outputs, []) for outputs in self._predicted(chunk, hooks, list)]

    def _predicted(
        self,
        chunk: EqualBatches,
        hooks: StepHooks,
        parts_of: Callable[[np.ndarray], list[np.ndarray]],
    ) -> list[Any]:
        """Return the outputs: of each batch, or what `parts_of` makes of many."""
        outputs = self._trace(chunk.arrays).outputs
        most = batches_at_once(outputs, chunk.batch_size)
        predicted: list[Any] = []
        try:
            # A loop allocates room for many batches, so it makes no single one.
            for part in chunk.cut(lambda: most) if len(chunk) > 1 else ():
                stacks, _ = self._loop_over(part, hooks, most)
                predicted += loops.rows(stacks, len(part), parts_of)
        except tf.errors.InvalidArgumentError:
            # As many rows as the values say: they differ from batch to batch.
            self._one_by_one = True
            predicted = []
        return predicted or [self._one(batch, hooks) for batch in chunk.batches()]

    def _collected(self, outputs: list[Any]) -> Any:
        return outputs


def join(parts: list[Any]) -> Any:
    """Return the outputs of several batches as one structure of arrays.

    Dense outputs become NumPy arrays or, if they differ in more than the number of
    samples, a ragged tensor.
    """
    return keras.tree.map_structure_up_to(
        parts[0], lambda *leaves: _join_leaves(leaves), *parts
    )


def _join_leaves(leaves: tuple[Any, ...]) -> Any:
    first = leaves[0]
    if isinstance(first, tf.SparseTensor):
        return tf.sparse.concat(0, list(leaves))
    if isinstance(first, tf.RaggedTensor):
        return tf.concat(list(leaves), axis=0)
    arrays = [np.asarray(leaf) for leaf in leaves]
    # One number per batch has no axis along which to join.
    if arrays[0].ndim == 0:
        return arrays[0] if len(arrays) == 1 else np.stack(arrays)
    shapes = np.array([array.shape[1:] for array in arrays])
    varying = np.flatnonzero((shapes != shapes[0]).any(axis=0))
    if not len(varying):
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    # Ragged up to the last axis that differs; those after it stay uniform.
    rank = int(varying[-1]) + 1
    return tf.concat(
        [tf.RaggedTensor.from_tensor(array, ragged_rank=rank) for array in arrays], 0
    )


def _flat(stack: np.ndarray) -> np.ndarray:
    """Return `(batches, samples, ...)` as `(batches * samples, ...)`."""
    return np.reshape(stack, (-1, *stack.shape[2:]))
