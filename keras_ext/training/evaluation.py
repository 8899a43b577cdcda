"""Evaluation and prediction: a pass over the data without updates."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import keras

from keras_ext.training.chunks import Chunk, Plan
from keras_ext.training.hook_frequency import next_stop
from keras_ext.training.prediction import CompiledPrediction, join
from keras_ext.training.progress import Verbose, resolve_verbose
from keras_ext.training.source import Source

if TYPE_CHECKING:
    from keras_ext.training.compiled_step import CompiledStep
    from keras_ext.training.trainer import Trainer


def evaluate(
    trainer: "Trainer",
    step: "CompiledStep",
    source: Source,
    callbacks: Any,
    verbose: Verbose,
) -> dict[str, float]:
    """Make the test step on all batches and return the metrics.

    Raises:
        ValueError: If there is no batch.
    """
    callbacks = _callback_list(trainer, callbacks, verbose, source.num_batches)
    trainer.stop_evaluating = False
    callbacks.on_test_begin()
    trainer.reset_metrics()
    logs: Any = None
    for first, chunk in _paced(source, step, callbacks, "test"):
        callbacks.on_test_batch_begin(first)
        logs = step.many(chunk)
        callbacks.on_test_batch_end(first + len(chunk) - 1, logs)
        if trainer.stop_evaluating:
            break
    _check_any("evaluate", logs)
    results = {name: _number(value) for name, value in logs.items()}
    callbacks.on_test_end(results)
    return results


def predict(
    trainer: "Trainer",
    step: CompiledPrediction,
    source: Source,
    callbacks: Any,
    verbose: Verbose,
) -> Any:
    """Return the predictions for all batches, one after the other.

    Raises:
        ValueError: If there is no batch.
    """
    callbacks = _callback_list(trainer, callbacks, verbose, source.num_batches)
    trainer.stop_predicting = False
    callbacks.on_predict_begin()
    parts: list[Any] = []
    for first, chunk in _paced(source, step, callbacks, "predict"):
        callbacks.on_predict_batch_begin(first)
        parts.append(step.many(chunk))
        last = first + len(chunk) - 1
        callbacks.on_predict_batch_end(last, {"outputs": parts[-1]})
        if trainer.stop_predicting:
            break
    callbacks.on_predict_end()
    _check_any("predict", parts or None)
    return join(parts)


def in_order(trainer: "Trainer", logs: dict[str, float]) -> Any:
    """Return the results as `keras.Model.evaluate` does: a list, or the only one."""
    names: list[str] = []
    for metric in trainer.metrics:
        names += [one.name for one in getattr(metric, "metrics", [metric])]
    known = [logs[name] for name in names if name in logs]
    results = known + [logs[name] for name in sorted(logs) if name not in names]
    return results[0] if len(results) == 1 else results


def _callback_list(
    trainer: "Trainer", callbacks: Any, verbose: Verbose, steps: int | None
) -> keras.callbacks.CallbackList:
    """Return the callbacks of one pass, or those of the training it belongs to."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    resolved = resolve_verbose(verbose)
    return keras.callbacks.CallbackList(
        callbacks,
        add_progbar=resolved != 0,
        model=trainer,
        verbose=resolved,
        epochs=1,
        steps=steps,
    )


def _paced(
    source: Source,
    step: "CompiledStep",
    callbacks: keras.callbacks.CallbackList,
    mode: Literal["test", "predict"],
) -> Iterator[tuple[int, Chunk]]:
    """Yield the number of the first batch, and the batches up to the next call."""
    first = 0
    plan = Plan(source.num_batches or 0)

    def size() -> int:
        return int(min(step.pace.steps, next_stop(callbacks.callbacks, mode, first)))

    source.restart()
    for chunk in source.chunks(0, size):
        chunk.plan = plan
        begin = time.perf_counter()
        yield first, chunk
        step.pace.ran(len(chunk), time.perf_counter() - begin)
        first += len(chunk)


def _number(value: Any) -> Any:
    """Return a scalar as a Python number, anything else as it is."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def _check_any(method: str, results: Any) -> None:
    if results is None:
        raise ValueError(
            f"The data for `{method}` gave no batch: expected at least one. An empty "
            "dataset, or a generator that has ended?"
        )
