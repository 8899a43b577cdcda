"""Evaluation and prediction: a pass over the data without updates."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import keras

from keras_ext.training.base.each_step import EachStep
from keras_ext.training.base.step_options import StepBudget, StepOptions
from keras_ext.training.base.strategy_workers import meet, workers_of
from keras_ext.training.data.chunks import Chunk
from keras_ext.training.data.source import Source
from keras_ext.training.loop.batch_hooks import BatchHooks
from keras_ext.training.loop.callback_contract import next_stop
from keras_ext.training.loop.callback_list import show_graph, unwrapped
from keras_ext.training.loop.chunk_sizer import ChunkSizer
from keras_ext.training.loop.in_step import InStep
from keras_ext.training.loop.logs import as_numbers
from keras_ext.training.loop.progress import (
    Verbose,
    resolve_verbose,
    with_progress_bar,
)
from keras_ext.training.step.predict_program import PredictProgram, join
from keras_ext.training.step.program import Program


def evaluate(
    trainer: keras.Model,
    step: Program,
    source: Source,
    callbacks: Any,
    verbose: Verbose,
) -> dict[str, float]:
    """Make the test step on all batches and return the metrics.

    Raises:
        ValueError: If there is no batch.
    """
    callbacks = _callback_list(trainer, callbacks, verbose, source.num_batches)

    def stops() -> bool:
        return bool(trainer.stop_evaluating)

    hooks = BatchHooks(callbacks, "test", stops)
    options = StepOptions(StepBudget(source.num_batches or 0))
    trainer.stop_evaluating = False
    callbacks.on_test_begin()
    meet(trainer.distribute_strategy, "test")
    trainer.reset_metrics()
    logs: Any = None
    chunks = _handed_out(trainer, source, callbacks, "test", hooks, stops)
    for first, chunk, keeps_each in chunks:
        each = step.each(chunk, options) if keeps_each else None
        logs = step.many(chunk, options) if each is None else each.logs[-1]
        hooks.end(first + len(chunk) - 1, logs, each)
    _check_any("evaluate", logs)
    results = as_numbers(logs)
    callbacks.on_test_end(results)
    return results


def predict(
    trainer: keras.Model,
    step: PredictProgram,
    source: Source,
    callbacks: Any,
    verbose: Verbose,
) -> Any:
    """Return the concatenated predictions for all batches.

    Raises:
        ValueError: If there is no batch.
    """
    callbacks = _callback_list(trainer, callbacks, verbose, source.num_batches)

    def stops() -> bool:
        return bool(trainer.stop_predicting)

    hooks = BatchHooks(callbacks, "predict", stops)
    options = StepOptions(StepBudget(source.num_batches or 0))
    trainer.stop_predicting = False
    callbacks.on_predict_begin()
    parts: list[Any] = []
    chunks = _handed_out(trainer, source, callbacks, "predict", hooks, stops)
    for first, chunk, keeps_each in chunks:
        each = step.each(chunk, options) if keeps_each else None
        outputs = step.many(chunk, options) if each is None else list(each.logs)
        parts += outputs
        named = None if each is None else EachStep([{"outputs": o} for o in outputs])
        hooks.end(first + len(chunk) - 1, {"outputs": join(outputs)}, named)
    callbacks.on_predict_end()
    _check_any("predict", parts or None)
    return join(parts)


def in_order(trainer: keras.Model, logs: dict[str, float]) -> Any:
    """Return the results like `keras.Model.evaluate`: a list, or the only value."""
    names: list[str] = []
    for metric in trainer.metrics:
        # The metrics of `compile` are in a single Keras metric.
        names += [one.name for one in getattr(metric, "metrics", [metric])]
    known = [logs[name] for name in names if name in logs]
    results = known + [logs[name] for name in sorted(logs) if name not in names]
    return results[0] if len(results) == 1 else results


def _callback_list(
    trainer: keras.Model, callbacks: Any, verbose: Verbose, steps: int | None
) -> keras.callbacks.CallbackList:
    """Return the callbacks of one pass, or those of the training it belongs to."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    resolved = resolve_verbose(verbose)
    callbacks = unwrapped(callbacks or [], trainer)
    show_graph(callbacks, trainer)
    return keras.callbacks.CallbackList(
        with_progress_bar(callbacks) if resolved else callbacks,
        model=trainer,
        verbose=resolved,
        epochs=1,
        steps=steps,
    )


def _handed_out(
    trainer: keras.Model,
    source: Source,
    callbacks: keras.callbacks.CallbackList,
    mode: Literal["test", "predict"],
    hooks: BatchHooks,
    stops: Callable[[], bool],
) -> Iterator[tuple[int, Chunk, bool]]:
    """Yield for each call the number of its first batch, its batches, and whether the
    logs of each step are needed, after the hooks for the beginning of a batch.
    """
    first = 0
    # A new one for every pass, so it must grow faster than in training.
    sizer = ChunkSizer(growth=64)

    def wanted(step: int, more: int = 0) -> int:
        return int(min(sizer.steps, next_stop(callbacks.callbacks, mode, step + more)))

    workers = workers_of(trainer.distribute_strategy)
    together = None if workers is None else InStep(workers, mode, wanted)
    kept = False
    with contextlib.closing(source):
        if together is None:
            chunks = source.chunks(0, lambda: wanted(first))
        else:
            kept = together.begin(0, hooks=0, keeps_each=hooks.keeps_each)
            chunks = source.chunks(0, lambda: together.size)
            chunks = together.chunks(
                chunks, lambda: first, lambda: int(stops()), ends=1
            )
        for chunk in chunks:
            begin = time.perf_counter()
            keeps_each = hooks.begin(first, len(chunk))
            yield first, chunk, keeps_each or kept
            sizer.ran(len(chunk), time.perf_counter() - begin)
            first += len(chunk)
            # Of several workers, each continues until the others know.
            if together is None and stops():
                break


def _check_any(method: str, results: Any) -> None:
    if results is None:
        raise ValueError(
            f"The data for `{method}` yielded no batch: expected at least one. An "
            "empty dataset, or a generator that has ended?"
        )
