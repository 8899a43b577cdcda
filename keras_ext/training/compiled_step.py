"""A step of a Trainer, traced once and compiled to run once or many times."""

import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from keras_ext.training import compilation
from keras_ext.training.chunks import Plan, Rows, SingleBatch, take_batch
from keras_ext.training.pace import Pace
from keras_ext.training.random_algorithm import philox
from keras_ext.training.replicas import joined_logs, run_on_shares

if TYPE_CHECKING:
    from keras_ext.training.trainer import Trainer


class CompiledStep:
    """`train_step` or `test_step` of a Trainer, for one batch or for many.

    The step is traced with the number of samples left open, so one trace serves
    batches of all sizes. What is compiled calls that trace: for one batch, or in a
    loop over the batches of a chunk.

    Args:
        trainer: The Trainer. With `run_eagerly`, nothing is traced.
        step: Its method that makes the step and returns the logs.
        build: Called with the first batch before the step is traced for it.
    """

    def __init__(
        self,
        trainer: "Trainer",
        step: Callable[[Any], Any],
        build: Callable[[Any], None] | None = None,
    ) -> None:
        self._trainer = trainer
        self._step = step
        self._build = build
        self._eager = trainer.run_eagerly or tf.config.functions_run_eagerly()
        self._function = tf.function(self._run, autograph=False, reduce_retracing=True)
        self._traces: dict[Any, Any] = {}
        self._compiled: dict[Any, Any] = {}
        self._suits_xla: bool | None = None
        self._regular: Any = None
        self._variables: list[int] | None = None
        self.pace = Pace()
        self._made = 0
        self._plan: Plan | None = None
        self._long = False

    def one(self, batch: Any, *, regular: bool = True) -> Any:
        """Make the step on one batch and return the logs.

        Args:
            batch: The batch.
            regular: Whether XLA may compile for its shape. It does so for the shape
                of the first batch only.
        """
        self._made += 1
        if self._plan is None:
            self._long = self._made > compilation.WORTH_STEPS
        batch = keras.tree.map_structure(_as_tensor, batch)
        if self._eager:
            return self._run(batch)
        trace = self._trace(batch)
        if regular and self._uses_xla():
            shapes = [leaf.shape for leaf in _tensors(batch)]
            self._regular = self._regular or shapes
            if shapes == self._regular:
                return self._call(("one", id(trace)), lambda: trace, batch)
        return trace(batch)

    def many(self, chunk: Iterable[Any]) -> Any:
        """Make the step on every batch of a chunk and return the logs of the last."""
        self._follow(getattr(chunk, "plan", None))
        if isinstance(chunk, SingleBatch):
            return self.one(chunk.batch, regular=chunk.regular)
        if isinstance(chunk, Rows) and not self._eager:
            trace = self._trace(chunk.arrays)
            if self._can_be_looped(trace.structured_outputs):
                return self._loop_over(trace, chunk)
        return self._joined([self.one(batch) for batch in chunk])

    def _loop_over(self, trace: Any, chunk: Rows) -> Any:
        self._made += len(chunk)
        return self._call(
            ("many", id(trace), chunk.batch_size),
            lambda: self._looped(trace, chunk.arrays, chunk.batch_size),
            _tensors(chunk.arrays),
            chunk.order,
            tf.constant(chunk.first),
            tf.constant(chunk.first + len(chunk)),
        )

    def _follow(self, plan: Plan | None) -> None:
        """Decide, once for every plan, whether it is worth compiling for."""
        if plan is not None and plan is not self._plan:
            self._long = self._made + plan.steps >= compilation.WORTH_STEPS
        self._plan = plan

    def _uses_xla(self) -> bool:
        return bool(
            self._suits_xla and (self._long or self._trainer.jit_choice is True)
        )

    def is_stale(self) -> bool:
        """Whether other variables are trainable than when the step was traced."""
        return self._variables not in (None, self._trainable_now())

    def _run(self, batch: Any) -> Any:
        strategy = self._trainer.distribute_strategy
        return self._of_all_replicas(run_on_shares(strategy, self._step, batch))

    def _of_all_replicas(self, outputs: Any) -> Any:
        if not isinstance(outputs, dict):
            raise TypeError(
                f"`{type(self._trainer).__name__}.{self._step.__name__}` must return a "
                "dict of names and numbers, such as {'loss': loss}. "
                f"Received: {outputs!r}"
            )
        return joined_logs(self._trainer, outputs)

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

    def _looped(self, trace: Any, arrays: Any, batch_size: int) -> Any:
        """Return a function that makes the traced step on several batches."""

        def loop(leaves: Any, order: Any, first: Any, stop: Any) -> Any:
            data = with_tensors(arrays, leaves)

            def body(number: Any, logs: Any) -> Any:
                del logs
                batch = take_batch(data, order, number, batch_size)
                return number + 1, trace(batch)

            logs = keras.tree.map_structure(
                lambda spec: tf.zeros(spec.shape, spec.dtype), trace.structured_outputs
            )
            return tf.while_loop(lambda number, _: number < stop, body, (first, logs))[
                1
            ]

        return loop

    def _trace(self, batch: Any) -> Any:
        """Return the traced step for batches like this one, of any size."""
        key = str([(leaf.dtype.name, leaf.shape[1:]) for leaf in _tensors(batch)])
        if key not in self._traces:
            if self._build is not None and not self._traces:
                self._build(batch)
            specs = keras.tree.map_structure(_spec_of_any_batch, batch)
            with philox():
                trace = self._function.get_concrete_function(specs)
            self._traces[key] = trace
            if self._suits_xla is None:
                self._suits_xla = self._choose(trace)
            self._variables = self._trainable_now()
        return self._traces[key]

    def _choose(self, trace: Any) -> bool:
        choice = self._trainer.jit_choice
        if choice == "auto":
            strategy = self._trainer.distribute_strategy
            return compilation.suits_xla(trace.graph, strategy)
        return bool(choice)

    def _call(self, key: Any, make: Callable[[], Any], *arguments: Any) -> Any:
        """Call a function, compiled as the rule says, or as a graph if XLA can't."""
        if self._uses_xla():
            try:
                return self._function_for(key, make, jit_compile=True)(*arguments)
            except compilation.UNCOMPILABLE as error:
                if self._trainer.jit_choice is True:
                    raise
                self._suits_xla = False
                warnings.warn(
                    f"XLA can't compile `{type(self._trainer).__name__}."
                    f"{self._step.__name__}`, which now runs as a graph. Say "
                    "`compile(..., jit_compile=False)` to have it so without this "
                    f"warning. XLA says: {str(error)[:300]}",
                    stacklevel=6,
                )
        return self._function_for(key, make, jit_compile=False)(*arguments)

    def _function_for(
        self, key: Any, make: Callable[[], Any], *, jit_compile: bool
    ) -> Any:
        key = (*key, jit_compile)
        if key not in self._compiled:
            self._compiled[key] = tf.function(
                make(), autograph=False, reduce_retracing=True, jit_compile=jit_compile
            )
        return self._compiled[key]

    def _trainable_now(self) -> list[int]:
        return [id(variable) for variable in self._trainer.trainable_variables]


def _as_tensor(leaf: Any) -> Any:
    """Return `leaf` as a tensor; `None` and tensors of all kinds stay."""
    if leaf is None or tf.is_tensor(leaf):
        return leaf
    return tf.convert_to_tensor(leaf)


def _tensors(structure: Any) -> list[Any]:
    return [leaf for leaf in keras.tree.flatten(structure) if leaf is not None]


def with_tensors(structure: Any, leaves: list[Any]) -> Any:
    """Return `structure` with `leaves` in place of what `_tensors` finds in it."""
    remaining = iter(leaves)
    return keras.tree.map_structure(
        lambda leaf: None if leaf is None else next(remaining), structure
    )


def _spec_of_any_batch(leaf: Any) -> Any:
    """Return the type of `leaf` with its first axis left open."""
    if isinstance(leaf, tf.RaggedTensor):
        return tf.RaggedTensorSpec(
            [None, *leaf.shape[1:]],
            leaf.dtype,
            leaf.ragged_rank,
            leaf.row_splits.dtype,
        )
    if not isinstance(leaf, tf.Tensor) or not leaf.shape.rank:
        return leaf
    return tf.TensorSpec([None, *leaf.shape[1:]], leaf.dtype)
