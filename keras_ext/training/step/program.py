"""A step of a Trainer, compiled to be made once or many times."""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from keras_ext.training.data.batch_checks import (
    FAILURES,
    check_arrays,
    explain_unbatched,
)
from keras_ext.training.data.chunks import Chunk, Plan, Rows, SingleBatch, take_batch
from keras_ext.training.data.tensors import to_tensor
from keras_ext.training.loop.callback_contract import act, traced_with
from keras_ext.training.step import channels_first
from keras_ext.training.step import xla_policy as compilation
from keras_ext.training.step.replicas import joined_logs, run_on_shares
from keras_ext.training.step.tracing import Trace, Traces, spec_of_any_length
from keras_ext.training.trainer.hooks import overrides

if TYPE_CHECKING:
    from keras_ext.training.trainer.trainer import Trainer


class CompiledStep:
    """`train_step` or `test_step` of a Trainer, for one batch or for many.

    What is compiled calls one trace of the step: for a batch, or in a loop over the
    batches of a chunk.

    Args:
        trainer: The Trainer. With `run_eagerly`, nothing is compiled.
        step: Its method that makes the step and returns the logs.
        build: Called with the first batch before the step is traced for it.
        traced: Called after each trace of the step.
    """

    def __init__(
        self,
        trainer: "Trainer",
        step: Callable[[Any], Any],
        build: Callable[[Any], None],
        traced: Callable[[], None],
    ) -> None:
        self._trainer = trainer
        self._step = step
        self._name = step.__name__.removeprefix("watched_")
        custom = (self._name, "forward", "compute_loss", "compute_metrics")
        self._is_custom = any(overrides(trainer, hook) for hook in custom)
        self._build = build
        self._traces = Traces(self._run, build, traced)
        self._compiled: dict[Any, Any] = {}
        self._suits_xla: bool | None = None
        self._regular: Any = None
        self._variables: list[int] | None = None
        self._step_hooks: list[tuple[Any, Any]] = []
        self._made = 0
        self._plan: Plan | None = None
        self._long = False

    def one(self, batch: Any) -> Any:
        """Make the step on one batch and return the logs."""
        self._plan = None
        self._long = self._made >= compilation.WORTH_STEPS
        with channels_first.explained(self._full_name()):
            return self._one(batch)

    def many(self, chunk: Chunk) -> Any:
        """Make the step on every batch of a chunk and return the logs of the last."""
        self._follow(chunk.plan)
        with channels_first.explained(self._full_name()):
            return self._many(chunk)

    def prepare(self, chunk: Chunk) -> None:
        """Make all variables that the step on such batches needs, but no step."""
        batch = chunk.arrays if isinstance(chunk, Rows) else next(iter(chunk))
        batch = keras.tree.map_structure(to_tensor, batch)
        if self._eager():
            self._build(batch)
        else:
            self._trace(batch)

    def captured(self) -> list[tf.Variable]:
        """Return the variables that the traced step uses."""
        return [one for trace in self._traces for one in trace.function.variables]

    def operations(self) -> frozenset[str]:
        """Return the types of the operations in the traced step."""
        return frozenset().union(*(trace.operations for trace in self._traces))

    def get_state(self) -> dict[str, Any]:
        """Return what decides how further steps are compiled."""
        return {"made": self._made, "regular": self._regular}

    def set_state(self, state: dict[str, Any]) -> None:
        """Have further steps compiled as those of the run with this state."""
        self._made, self._regular = state["made"], state["regular"]

    def trains_others(self) -> bool:
        """Whether other variables are trainable than when the step was traced."""
        return self._variables not in (None, self._trainable_now())

    def _full_name(self) -> str:
        return f"{type(self._trainer).__name__}.{self._name}"

    def _many(self, chunk: Chunk) -> Any:
        if isinstance(chunk, SingleBatch):
            return self._joined([self._one(chunk.batch, regular=chunk.regular)])
        if isinstance(chunk, Rows) and not self._eager():
            try:
                trace = self._trace(chunk.arrays)
            except FAILURES as error:
                self._explain(error, chunk.arrays, whole=False)
                raise
            if self._can_be_looped(trace.outputs):
                return self._loop_over(chunk)
        return self._joined([self._one(batch) for batch in chunk])

    def _one(self, batch: Any, *, regular: bool = True) -> Any:
        """Make the step on one batch.

        XLA compiles for the shape of the first batch only, not for an odd one.
        """
        self._made += 1
        check_arrays(batch)
        batch = keras.tree.map_structure(to_tensor, batch)
        try:
            return self._of_one(batch, regular)
        except FAILURES as error:
            self._explain(error, batch)
            raise

    def _of_one(self, batch: Any, regular: bool) -> Any:
        if self._eager():
            return self._run(batch)
        if self._uses_xla(batch) and (regular or self._trainer._jit_choice is True):
            shapes = [leaf.shape.as_list() for leaf in _tensors(batch)]
            self._regular = self._regular or shapes
            if shapes == self._regular or self._trainer._jit_choice is True:
                return self._call("one", batch, _single, batch)
        return self._trace(batch).function(batch)

    def _loop_over(self, chunk: Rows) -> Any:
        self._made += len(chunk)
        # A schedule is compiled with the loop, so another one means another loop.
        hooks = [(one, traced_with(one)) for one in chunk.step_hooks]
        if hooks != self._step_hooks:
            self._compiled.clear()
            self._step_hooks = hooks
        return self._call(
            ("many", chunk.batch_size),
            chunk.arrays,
            lambda trace: self._looped(trace, chunk.arrays, chunk.batch_size),
            _tensors(chunk.arrays),
            chunk.order,
            tf.constant(chunk.first),
            tf.constant(chunk.first + len(chunk)),
        )

    def _looped(self, trace: Trace, arrays: Any, batch_size: int) -> Any:
        """Return a function that makes the traced step on several batches."""

        def loop(leaves: Any, order: Any, first: Any, stop: Any) -> Any:
            data = with_tensors(arrays, leaves)
            nothing = keras.tree.map_structure(
                lambda spec: tf.zeros(spec.shape, spec.dtype), trace.outputs
            )

            def body(number: Any, logs: Any) -> Any:
                del logs
                callbacks = [callback for callback, _ in self._step_hooks]
                act(callbacks, "before")
                batch = take_batch(data, order, number, batch_size)
                outputs = trace.function(batch)
                act(callbacks, "after")
                return number + 1, outputs

            return tf.while_loop(lambda i, _: i < stop, body, (first, nothing))[1]

        return loop

    def _can_be_looped(self, outputs: Any) -> bool:
        """Whether a loop can hand the outputs from one round to the next."""
        return all(
            isinstance(spec, (tf.Tensor, tf.TensorSpec))
            and spec.shape.is_fully_defined()
            for spec in tf.nest.flatten(outputs)
        )

    def _joined(self, outputs: list[Any]) -> Any:
        """Return what steps made one by one have returned together."""
        return outputs[-1]

    def _run(self, batch: Any) -> Any:
        strategy = self._trainer.distribute_strategy
        return self._of_all_replicas(run_on_shares(strategy, self._step, batch))

    def _of_all_replicas(self, outputs: Any) -> Any:
        if not isinstance(outputs, dict):
            raise TypeError(
                f"`{self._full_name()}` must return a dict of names and numbers, such "
                "as {'loss': loss}. "
                f"Received: {outputs!r}"
            )
        return joined_logs(self._trainer, outputs)

    def _eager(self) -> bool:
        return bool(self._trainer.run_eagerly or tf.config.functions_run_eagerly())

    def _follow(self, plan: Plan | None) -> None:
        """Decide, once for every plan, whether it is worth compiling for."""
        if plan is None or plan is not self._plan:
            if not (plan and plan.done):
                # In a pass that is continued, what was regular was restored.
                self._regular = None
            steps = plan.steps - plan.done if plan else 0
            self._long = self._made + steps >= compilation.WORTH_STEPS
        self._plan = plan

    def _trace(self, batch: Any) -> Trace:
        """Return the trace that runs as a graph."""
        trace = self._traces.of(batch)
        if self._suits_xla is None:
            choice = self._trainer._jit_choice
            strategy = self._trainer.distribute_strategy
            rule = compilation.suits_xla(trace.operations, strategy)
            self._suits_xla = rule if choice == "auto" else bool(choice)
            self._variables = self._trainable_now()
        return trace

    def _explain(self, error: Exception, batch: Any, *, whole: bool = True) -> None:
        """Say what is wrong with a batch if a step failed for that.

        Where the step is not the default, it may take batches of any kind.
        """
        if self._is_custom:
            return
        inputs = getattr(self._trainer.model, "inputs", None)
        explain_unbatched(error, batch, inputs, whole=whole)

    def _uses_xla(self, batch: Any) -> bool:
        if not (self._long or self._trainer._jit_choice is True):
            return False
        if self._trainer._jit_choice == "auto" and not _is_dense(batch):
            # XLA knows no ragged and sparse tensors, and compiles for each number of
            # values what it can.
            return False
        if self._suits_xla is None:
            self._trace(batch)
        return bool(self._suits_xla)

    def _call(
        self, key: Any, batch: Any, make: Callable[[Trace], Any], *arguments: Any
    ) -> Any:
        """Call what `make` makes of the trace: with XLA, or as a graph if it can't."""
        if self._uses_xla(batch):
            try:
                trace = self._traces.of(batch, for_xla=True)
                return self._function(key, trace, make, arguments, True)(*arguments)
            except compilation.UNCOMPILABLE as error:
                if self._trainer._jit_choice is True:
                    raise
                self._suits_xla = False
                warnings.warn(
                    f"XLA can't compile `{self._full_name()}`, which now runs as a "
                    "graph. Say "
                    "`compile(..., jit_compile=False)` to have it so without this "
                    f"warning. XLA says: {str(error)[:300]}",
                    stacklevel=7,
                )
        trace = self._trace(batch)
        return self._function(key, trace, make, arguments, False)(*arguments)

    def _function(
        self,
        key: Any,
        trace: Trace,
        make: Callable[[Trace], Any],
        arguments: Any,
        jit_compile: bool,
    ) -> Any:
        """Return what `make` makes of the trace, for arguments of every length."""
        key = (key, trace, jit_compile)
        if key not in self._compiled:
            function = tf.function(
                make(trace), autograph=False, jit_compile=jit_compile
            )
            # The trace may leave open more than the length.
            others = arguments[1:]
            specs = keras.tree.map_structure(spec_of_any_length, others)
            first = _tensors(trace.batch) if others else trace.batch
            self._compiled[key] = function.get_concrete_function(first, *specs)
        return self._compiled[key]

    def _trainable_now(self) -> list[int]:
        return [id(variable) for variable in self._trainer.trainable_variables]


def with_tensors(structure: Any, leaves: list[Any]) -> Any:
    """Return `structure` with `leaves` in place of what is not `None` in it."""
    remaining = iter(leaves)
    return keras.tree.map_structure(
        lambda leaf: None if leaf is None else next(remaining), structure
    )


def _is_dense(batch: Any) -> bool:
    return all(isinstance(leaf, tf.Tensor) for leaf in _tensors(batch))


def _single(trace: Trace) -> Any:
    return trace.function


def _tensors(structure: Any) -> list[Any]:
    return [leaf for leaf in keras.tree.flatten(structure) if leaf is not None]
