"""Evaluation and prediction: a pass over the data without updates."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any, Literal

import keras

from keras_ext.training.base.distribution import has_several_workers
from keras_ext.training.base.each_step import EachStep
from keras_ext.training.base.step_options import StepBudget, StepOptions
from keras_ext.training.data.chunks import Chunk
from keras_ext.training.data.source import Source
from keras_ext.training.loop.batch_hooks import BatchHooks
from keras_ext.training.loop.callback_contract import next_stop
from keras_ext.training.loop.callback_list import show_graph, unwrapped
from keras_ext.training.loop.chunk_sizer import ChunkSizer
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
    hooks = BatchHooks(callbacks, "test", lambda: bool(trainer.stop_evaluating))
    options = StepOptions(StepBudget(source.num_batches or 0))
    trainer.stop_evaluating = False
    callbacks.on_test_begin()
    trainer.reset_metrics()
    logs: Any = None
    for first, chunk in _sized(trainer, source, callbacks, "test"):
        keeps_each = hooks.begin(first, len(chunk))
        each = step.each(chunk, options) if keeps_each else None
        logs = step.many(chunk, options) if each is None else each.logs[-1]
        hooks.end(first + len(chunk) - 1, logs, each)
        if trainer.stop_evaluating:
            break
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
    hooks = BatchHooks(callbacks, "predict", lambda: bool(trainer.stop_predicting))
    options = StepOptions(StepBudget(source.num_batches or 0))
    trainer.stop_predicting = False
    callbacks.on_predict_begin()
    parts: list[Any] = []
    for first, chunk in _sized(trainer, source, callbacks, "predict"):
        keeps_each = hooks.begin(first, len(chunk))
        each = step.each(chunk, options) if keeps_each else None
        outputs = step.many(chunk, options) if each is None else list(each.logs)
        parts += outputs
        named = None if each is None else EachStep([{"outputs": o} for o in outputs])
        hooks.end(first + len(chunk) - 1, {"outputs": join(outputs)}, named)
        if trainer.stop_predicting:
            break
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
    callbacks = unwrapped(callbacks or [])
    show_graph(callbacks, trainer)
    return keras.callbacks.CallbackList(
        with_progress_bar(callbacks) if resolved else callbacks,
        model=trainer,
        verbose=resolved,
        epochs=1,
        steps=steps,
    )


def _sized(
    trainer: keras.Model,
    source: Source,
    callbacks: keras.callbacks.CallbackList,
    mode: Literal["test", "predict"],
) -> Iterator[tuple[int, Chunk]]:
    """Yield the number of the first batch, and the batches up to the next call."""
    first = 0
    workers = has_several_workers(trainer.distribute_strategy)
    # A new one for every pass, so it must grow faster than in training.
    sizer = ChunkSizer(fixed=workers, growth=64)

    def size() -> int:
        return int(min(sizer.steps, next_stop(callbacks.callbacks, mode, first)))

    with contextlib.closing(source):
        for chunk in source.chunks(0, size):
            begin = time.perf_counter()
            yield first, chunk
            sizer.ran(len(chunk), time.perf_counter() - begin)
            first += len(chunk)


def _check_any(method: str, results: Any) -> None:
    if results is None:
        raise ValueError(
            f"The data for `{method}` yielded no batch: expected at least one. An "
            "empty dataset, or a generator that has ended?"
        )
