"""A compiled prediction step that returns the outputs of all batches."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_ext.training.base.step_options import StepHooks
from keras_ext.training.data.chunks import EqualBatches, batches_at_once, take_batch
from keras_ext.training.step.program import Program, with_tensors
from keras_ext.training.step.tracing import Trace


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

    def _loop_over(self, chunk: EqualBatches, hooks: StepHooks) -> Any:
        # A loop would allocate room for many batches.
        if len(chunk) == 1:
            return [self._one(batch, hooks) for batch in chunk.batches()]
        outputs = self._trace(chunk.arrays).outputs
        most = batches_at_once(outputs, chunk.batch_size)
        parts = []
        # The loop has room for `most` batches, regardless of the size of a chunk.
        for part in chunk.cut(lambda: most):
            try:
                stacks = super()._loop_over(part, hooks)
            except tf.errors.InvalidArgumentError:
                # As many rows as the values have: they differ from batch to batch.
                self._one_by_one = True
                return [self._one(batch, hooks) for batch in chunk.batches()]
            count = len(part)
            parts.append(
                # Copied to the host immediately, so that the device need not hold all
                # predictions.
                keras.tree.map_structure(
                    lambda stack, count=count: _flat(stack[:count]).numpy(), stacks
                )
            )
        return parts

    def _loop(
        self, trace: Trace, arrays: Any, batch_size: int, hooks: StepHooks
    ) -> Any:
        del hooks  # no hooks act during prediction
        structure = trace.outputs
        # The same number as in `_loop_over`.
        most = batches_at_once(structure, batch_size)

        def loop(leaves: Any, order: Any, first: Any, stop: Any) -> Any:
            data = with_tensors(arrays, leaves)

            def body(number: Any, stacks: Any) -> Any:
                outputs = trace.function(take_batch(data, order, number, batch_size))
                written = [
                    stack.write(number - first, output)
                    for stack, output in zip(
                        stacks, tf.nest.flatten(outputs), strict=True
                    )
                ]
                return number + 1, written

            stacks = [
                # A loop variable cannot grow, so there is room for all outputs from the
                # start.
                tf.TensorArray(spec.dtype, most, element_shape=spec.shape)
                for spec in tf.nest.flatten(structure)
            ]
            _, stacks = tf.while_loop(
                lambda number, _: number < stop, body, (first, stacks)
            )
            return tf.nest.pack_sequence_as(
                structure, [stack.stack() for stack in stacks]
            )

        return loop

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


def _flat(stack: tf.Tensor) -> tf.Tensor:
    """Return `(batches, samples, ...)` as `(batches * samples, ...)`."""
    return tf.reshape(stack, (-1, *stack.shape[2:]))
