"""The compiled functions of a step, one for each kind of batch and set of hooks."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_ext.training.base.step_options import StepHooks
from keras_ext.training.step.leaves import leaves_of
from keras_ext.training.step.tracing import Trace, spec_of_any_length


class CompiledFunctions:
    """Compiles functions around traces, and keeps them.

    Of functions with hooks, only those with the latest hooks are kept: every `fit` may
    bring new callbacks, which the functions compiled with them keep alive.
    """

    def __init__(self) -> None:
        self._functions: dict[Any, Any] = {}
        self._with_hooks: dict[Any, Any] = {}
        self._hooks_key: list[Any] = []

    def of(
        self,
        key: Any,
        trace: Trace,
        make: Callable[[Trace], Any],
        arguments: Sequence[Any],
        hooks: StepHooks,
        *,
        jit_compile: bool = False,
    ) -> Any:
        """Return `make(trace)`, compiled for arguments of any length.

        Args:
            key: What distinguishes the function from others of the same trace.
            trace: The traced step. Batches of another kind have another.
            make: Returns the function to compile.
            arguments: Those of the first call: the batch or its tensors, and others.
            hooks: The hooks that `make` compiles in.
            jit_compile: Whether XLA compiles it.
        """
        key = (key, trace, jit_compile)
        functions = self._of_hooks(hooks)
        if key not in functions:
            function = tf.function(
                make(trace), autograph=False, jit_compile=jit_compile
            )
            # The trace may leave open more than the length.
            others = arguments[1:]
            specs = keras.tree.map_structure(spec_of_any_length, others)
            first = leaves_of(trace.batch) if others else trace.batch
            # A concrete function is never traced again, whatever its arguments. XLA
            # still compiles it for every new length.
            functions[key] = function.get_concrete_function(first, *specs)
        return functions[key]

    def forget_hooks(self) -> None:
        """Release the functions that were compiled with hooks."""
        self._with_hooks.clear()
        self._hooks_key = []

    def _of_hooks(self, hooks: StepHooks) -> dict[Any, Any]:
        if not hooks.traced:
            return self._functions
        # A schedule is compiled with the step, so another one means another function.
        now, before = hooks.trace_key(), self._hooks_key
        if len(now) != len(before) or any(
            one is not other for one, other in zip(now, before, strict=True)
        ):
            self.forget_hooks()
            self._hooks_key = now
        return self._with_hooks
