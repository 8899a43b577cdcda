"""A step, compiled for one or many batches."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_ext.training.base.each_step import EachStep
from keras_ext.training.base.stack import level_of_user
from keras_ext.training.base.step_options import (
    StepHooks,
    StepOptions,
    call_after,
    call_before,
)
from keras_ext.training.data.batch_checks import FAILURES, check_arrays
from keras_ext.training.data.chunks import (
    Chunk,
    EqualBatches,
    SingleBatch,
    take_batch,
)
from keras_ext.training.data.tensors import to_tensor
from keras_ext.training.step import channels_first, loops
from keras_ext.training.step.compiled_functions import CompiledFunctions
from keras_ext.training.step.leaves import leaves_of, with_leaves
from keras_ext.training.step.replicas import run_on_shares
from keras_ext.training.step.step import Step, StepContext
from keras_ext.training.step.tracing import UNREPEATABLE, Trace, Traces
from keras_ext.training.step.xla_policy import UNCOMPILABLE, XlaPolicy


class Program:
    """A step that is made on one batch, or on many in one call.

    The compiled function calls one trace of the step: for a batch, or in a loop over
    the batches of a chunk. `XlaPolicy` decides whether XLA compiles it.

    Args:
        context: The model. If it runs eagerly, nothing is compiled.
        step: The step.
    """

    def __init__(self, context: StepContext, step: Step) -> None:
        self._context = context
        self._step = step
        self._policy = XlaPolicy(context)
        self._traces = Traces(self._run, step.build, step.traced)
        self._functions = CompiledFunctions()

    def one(self, batch: Any) -> Any:
        """Make the step on one batch and return the logs."""
        self._policy.begin_single_step()
        with channels_first.explained(self._step.name):
            return self._one(batch, StepHooks())

    def many(self, chunk: Chunk, options: StepOptions | None = None) -> Any:
        """Make the step on every batch of a chunk and return the logs of the last.

        Args:
            chunk: The batches.
            options: How many steps there are, and what acts at each. Default: those
                that came with the chunk.
        """
        return self._collected(self._begin(chunk, options, self._in_one_call))

    def each(self, chunk: Chunk, options: StepOptions | None = None) -> EachStep:
        """Make the step on every batch of a chunk and return the logs of each.

        Args:
            chunk: The batches.
            options: As in `many`.
        """
        variables = self._step.noted()

        def noted(logs: Any) -> tuple[Any, list[Any]]:
            return logs, [variable.numpy() for variable in variables]

        made = self._begin(chunk, options, self._recorded, noted)
        return EachStep([logs for logs, _ in made], variables, [v for _, v in made])

    def prepare(self, chunk: Chunk) -> None:
        """Create all variables that the step on such batches needs, without a step."""
        if isinstance(chunk, EqualBatches):
            # Any number of rows will do: a trace leaves the length open.
            batch = chunk.arrays
        else:
            batch = next(chunk.batches())
        batch = keras.tree.map_structure(to_tensor, batch)
        if self._is_eager():
            self._step.build(batch)
        else:
            self._trace(batch)

    def captured(self) -> list[tf.Variable]:
        """Return the variables that the traced step uses."""
        return [one for trace in self._traces for one in trace.function.variables]

    def unrepeatable_operations(self) -> list[str]:
        """Return random operations of the step whose state cannot be saved."""
        found = frozenset().union(*(trace.operations for trace in self._traces))
        return sorted(found & UNREPEATABLE)

    def get_state(self) -> dict[str, Any]:
        """Return what determines how further steps are compiled."""
        return self._policy.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Compile further steps like those of the run with this state."""
        self._policy.set_state(state)

    def _begin(
        self,
        chunk: Chunk,
        options: StepOptions | None,
        loop_over: Callable[[EqualBatches, StepHooks], list[Any]],
        noted: Callable[[Any], Any] = lambda logs: logs,
    ) -> list[Any]:
        options = chunk.options if options is None else options
        self._policy.begin_call(options.budget)
        if options.budget is not None and not options.hooks.traced:
            # Hooks of an earlier training run do not apply.
            self._functions.forget_hooks()
        with channels_first.explained(self._step.name):
            return self._many(chunk, options.hooks, loop_over, noted)

    def _many(
        self,
        chunk: Chunk,
        hooks: StepHooks,
        loop_over: Callable[[EqualBatches, StepHooks], list[Any]],
        noted: Callable[[Any], Any],
    ) -> list[Any]:
        """Return what `noted` makes of the logs of each step, or `loop_over`."""
        if isinstance(chunk, SingleBatch):
            return [noted(self._one(chunk.batch, hooks, full_size=chunk.full_size))]
        if isinstance(chunk, EqualBatches) and not self._is_eager():
            try:
                # Also if XLA makes the steps: this trace shows their operations, which
                # decide that, and whether a loop can carry their outputs.
                trace = self._trace(chunk.arrays)
            except FAILURES as error:
                self._step.explain(error, chunk.arrays, False)
                raise
            # Hooks that are called from Python at every step need a call per step.
            in_one_call = len(chunk) == 1 or not hooks.called
            if in_one_call and self._can_be_looped(trace.outputs):
                return loop_over(chunk, hooks)
        return [noted(self._one(batch, hooks)) for batch in chunk.batches()]

    def _one(self, batch: Any, hooks: StepHooks, *, full_size: bool = True) -> Any:
        """Make the step on one batch, with the hooks around it."""
        self._policy.count(1)
        # Before the conversion, which turns each number in a list into a scalar.
        check_arrays(batch)
        batch = keras.tree.map_structure(to_tensor, batch)
        # Outside `try`: errors of callbacks have nothing to do with the batch.
        call_before(hooks.called)
        try:
            logs = self._of_one(batch, hooks, full_size)
        except FAILURES as error:
            self._step.explain(error, batch, True)
            raise
        call_after(hooks.called)
        return logs

    def _of_one(self, batch: Any, hooks: StepHooks, full_size: bool) -> Any:
        if self._is_eager():
            call_before(hooks.traced)
            logs = self._run(batch)
            call_after(hooks.traced)
            return logs

        def single(trace: Trace) -> Any:
            return _with_hooks(trace.function, hooks.traced)

        # In this order: `takes_shapes` regards the first shapes that it sees as the
        # usual ones.
        if self._uses_xla(batch) and self._policy.takes_shapes(
            batch, full_size=full_size
        ):
            return self._call("one", batch, single, (batch,), hooks)
        trace = self._trace(batch)
        if not hooks.traced:
            # It can be called directly; a function around it would be one more to
            # compile.
            return trace.function(batch)
        return self._functions.of("one", trace, single, (batch,), hooks)(batch)

    def _in_one_call(self, chunk: EqualBatches, hooks: StepHooks) -> list[Any]:
        call_before(hooks.called)
        logs = self._loop_over(chunk, hooks)
        call_after(hooks.called)
        return [logs]

    def _recorded(self, chunk: EqualBatches, hooks: StepHooks) -> list[Any]:
        call_before(hooks.called)
        most = loops.most_steps(self._trace(chunk.arrays).outputs)
        logs = []
        for part in chunk.cut(lambda: most):
            stacks = self._loop_over(part, hooks, most)
            logs += loops.rows(stacks, len(part))
        call_after(hooks.called)
        return logs

    def _loop_over(
        self, chunk: EqualBatches, hooks: StepHooks, most: int | None = None
    ) -> Any:
        """Make the step on all batches, in one call.

        Returns the logs of the last. With `most`: those of all, one after the other,
        with room for so many, and likewise the values of the variables to be noted.
        """
        self._policy.count(len(chunk))
        arrays, size = chunk.arrays, chunk.batch_size
        return self._call(
            ("many", size, most),
            arrays,
            lambda trace: self._loop(trace, arrays, size, hooks, most),
            (
                leaves_of(arrays),
                chunk.order,
                tf.constant(chunk.first),
                tf.constant(chunk.first + len(chunk)),
            ),
            hooks,
        )

    def _loop(
        self,
        trace: Trace,
        arrays: Any,
        batch_size: int,
        hooks: StepHooks,
        most: int | None,
    ) -> Any:
        """Return a function that makes the traced step on several batches."""
        # Hooks belong inside the loop: they act at every step, not at every call.
        step = _with_hooks(trace.function, hooks.traced)

        def loop(leaves: Any, order: Any, first: Any, stop: Any) -> Any:
            # The arrays are arguments: captured ones would be compiled in, and copied,
            # for every dataset.
            data = with_leaves(arrays, leaves)

            def numbered(number: Any) -> Any:
                return step(take_batch(data, order, number, batch_size))

            if most is None:
                return loops.last_of(numbered, trace.outputs, first, stop)
            variables = self._step.noted()
            return loops.each_of(numbered, trace.outputs, variables, most, first, stop)

        return loop

    def _can_be_looped(self, outputs: Any) -> bool:
        """Whether a loop can pass the outputs from one iteration to the next."""
        return all(
            isinstance(spec, (tf.Tensor, tf.TensorSpec))
            and spec.shape.is_fully_defined()
            for spec in tf.nest.flatten(outputs)
        )

    def _collected(self, outputs: list[Any]) -> Any:
        """Return the combined results of steps made one by one."""
        return outputs[-1]

    def _run(self, batch: Any) -> Any:
        strategy = self._context.distribute_strategy
        return self._of_all_replicas(
            run_on_shares(strategy, self._step.function, batch)
        )

    def _of_all_replicas(self, outputs: Any) -> Any:
        if not isinstance(outputs, dict):
            raise TypeError(
                f"`{self._step.name}` must return a dict of names and numbers, such "
                f"as {{'loss': loss}}. Received: {outputs!r}"
            )
        return self._step.join(outputs)

    def _is_eager(self) -> bool:
        return bool(self._context.run_eagerly or tf.config.functions_run_eagerly())

    def _trace(self, batch: Any) -> Trace:
        """Return the trace that runs as a graph."""
        trace = self._traces.of(batch)
        self._policy.judge(trace.operations)
        return trace

    def _uses_xla(self, batch: Any) -> bool:
        if not self._policy.may_suit(batch):
            return False
        if not self._policy.is_judged:
            self._trace(batch)
        return self._policy.suits

    def _call(
        self,
        key: Any,
        batch: Any,
        make: Callable[[Trace], Any],
        arguments: Sequence[Any],
        hooks: StepHooks,
    ) -> Any:
        """Call `make(trace)` with XLA, or as a graph if XLA cannot compile it."""
        if self._uses_xla(batch):
            try:
                trace = self._traces.of(batch, for_xla=True)
                function = self._functions.of(
                    key, trace, make, arguments, hooks, jit_compile=True
                )
                return function(*arguments)
            # XLA fails before it runs anything: all variables are unchanged, and the
            # graph can make the same steps.
            except UNCOMPILABLE as error:
                if self._policy.is_forced:
                    raise
                self._policy.decline()
                self._warn_of_graph(error)
        function = self._functions.of(key, self._trace(batch), make, arguments, hooks)
        return function(*arguments)

    def _warn_of_graph(self, error: Exception) -> None:
        warnings.warn(
            f"XLA cannot compile `{self._step.name}`, which now runs as a graph. Pass "
            "`jit_compile=False` to `compile` to avoid this warning. XLA says: "
            f"{str(error)[:300]}",
            stacklevel=level_of_user(),
        )


def _with_hooks(step: Callable[[Any], Any], callbacks: Sequence[Any]) -> Any:
    """Return a step with the hooks before and after it."""
    if not callbacks:
        return step

    def step_with_hooks(batch: Any) -> Any:
        call_before(callbacks)
        outputs = step(batch)
        call_after(callbacks)
        return outputs

    return step_with_hooks
