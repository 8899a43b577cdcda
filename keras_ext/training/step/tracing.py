"""Traces of a step, with the number of samples left open."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from keras_ext.training.step.rng_algorithm import drawing_with
from keras_ext.training.step.xla_policy import on_cpu

UNREPEATABLE = frozenset(
    {
        "Multinomial",
        "ParameterizedTruncatedNormal",
        "RandomGamma",
        "RandomPoissonV2",
        "RandomShuffle",
        "RandomStandardNormal",
        "RandomUniform",
        "RandomUniformInt",
        "TruncatedNormal",
    }
)
"""Operations that draw random numbers and keep their state where it cannot be saved."""


@dataclass(frozen=True, eq=False)
class Trace:
    """A step as a graph.

    Args:
        function: Function to call with a batch.
        operations: The types of the operations in it.
    """

    function: Any
    operations: frozenset[str]

    @property
    def batch(self) -> Any:
        """The structure that the step takes, with the types of its tensors."""
        return self.function.structured_input_signature[0][0]

    @property
    def outputs(self) -> Any:
        """The structure that the step returns, with the types of its tensors."""
        return self.function.structured_outputs


class Traces:
    """Traces a step when a batch of a new kind arrives.

    One trace serves batches of every size; if other axes differ, TensorFlow traces once
    more with those left open too. Steps for XLA are traced separately: gradients of
    loops and random numbers are written differently for it.

    Args:
        step: The function to trace.
        build: Called with the first batch, before anything is traced.
        traced: Called after each trace.
    """

    def __init__(
        self,
        step: Callable[[Any], Any],
        build: Callable[[Any], None],
        traced: Callable[[], None],
    ) -> None:
        self._build = build
        self._traced = traced
        self._step = step
        self._functions = {
            for_xla: self._function(for_xla) for for_xla in (False, True)
        }
        self._traces: dict[tuple[bool, str], Trace] = {}

    def __iter__(self) -> Iterator[Trace]:
        return iter(self._traces.values())

    def of(self, batch: Any, *, for_xla: bool = False) -> Trace:
        """Return the trace for batches like this one.

        Args:
            batch: A batch, or arrays that are cut into batches.
            for_xla: Whether XLA will compile it.
        """
        # As a string, since a structure may contain dicts, which cannot be keys.
        key = for_xla, str(keras.tree.map_structure(_kind, batch))
        if key not in self._traces:
            if not self._traces:
                self._build(batch)
            specs = keras.tree.map_structure(spec_of_any_length, batch)
            concrete = self._traced_for(specs, for_xla)
            # Batches of several kinds may share one, with more axes left open.
            known = [t for t in self._traces.values() if t.function is concrete]
            trace = known[0] if known else Trace(concrete, operations(concrete.graph))
            self._traces[key] = trace
            self._traced()
        return self._traces[key]

    def _traced_for(self, specs: Any, for_xla: bool) -> Any:
        try:
            # Under XLA on a CPU, ThreeFry is the fastest; elsewhere, Philox is
            # TensorFlow's own choice.
            with drawing_with("threefry" if for_xla and on_cpu() else "philox"):
                return self._functions[for_xla].get_concrete_function(specs)
        except Exception:
            if not any(xla == for_xla for xla, _ in self._traces):
                # TensorFlow cannot reuse a function whose first trace failed.
                self._functions[for_xla] = self._function(for_xla)
            raise

    def _function(self, for_xla: bool) -> Any:
        return tf.function(
            self._step, autograph=False, reduce_retracing=True, jit_compile=for_xla
        )


def _kind(leaf: Any) -> str:
    """Return the properties that batches of one trace share."""
    if not tf.is_tensor(leaf):
        return type(leaf).__name__
    shape = leaf.shape
    inner = shape[1:] if shape.rank else ""
    return f"{type(leaf).__name__} {leaf.dtype.name} {shape.rank} {inner}"


def spec_of_any_length(leaf: Any) -> Any:
    """Return the type of `leaf` with its first axis left open."""
    if isinstance(leaf, tf.RaggedTensor):
        return tf.RaggedTensorSpec(
            [None, *leaf.shape[1:]],
            leaf.dtype,
            leaf.ragged_rank,
            leaf.row_splits.dtype,
        )
    if isinstance(leaf, tf.SparseTensor):
        return tf.SparseTensorSpec([None, *leaf.shape[1:]], leaf.dtype)
    if not isinstance(leaf, tf.Tensor) or not leaf.shape.rank:
        return leaf
    return tf.TensorSpec([None, *leaf.shape[1:]], leaf.dtype)


def operations(graph: Any) -> frozenset[str]:
    """Return the types of all operations in a graph and in the functions it calls."""
    definition = graph.as_graph_def()
    functions = definition.library.function
    found = {node.op for node in definition.node}
    found.update(node.op for one in functions for node in one.node_def)
    return frozenset(found)
