"""One epoch of a `Loop`: hands out batches and collects their logs."""

import time
from collections.abc import Iterator
from typing import Any, Literal

import keras

from keras_ext._types import Logs
from keras_ext.training.base.step_options import StepHooks, StepOptions
from keras_ext.training.base.strategy_workers import meet
from keras_ext.training.data.arrays import Shuffle
from keras_ext.training.data.chunks import Chunk, SingleBatch
from keras_ext.training.data.source import Source
from keras_ext.training.loop.callback_contract import uncompiled_step_hooks
from keras_ext.training.loop.logs import EpochLogs, kept
from keras_ext.training.loop.run import Run
from keras_ext.training.resume.signals import EvaluationLeft


class Epoch:
    """One epoch of a `Loop`; the loop creates it, the body of the `for` uses it.

    `batches` hands out the data and notifies callbacks that a batch begins; `log` takes
    the results of the step and notifies them that the batch ended; `log_validation` or
    `evaluate` adds the `val_` columns. Every batch is logged exactly once.

    Args:
        run: The run of the `Loop` that this epoch belongs to.
        index: Number of the epoch, 0 for the first.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_ext import Loop
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> loop = Loop(model, epochs=1, verbose=0)
    >>> for epoch in loop:
    ...     for x in epoch.batches(np.ones((6, 2)), batch_size=4):
    ...         epoch.log({"samples": len(x)})
    >>> epoch.logs  # (4 samples * 4 + 2 samples * 2) / 6 samples
    {'samples': 3.33}
    """

    def __init__(self, run: Run, index: int) -> None:
        self.index = index
        self.step = 0
        self._run = run
        self._logs = EpochLogs()
        self._validation: dict[str, Any] = {}
        self._open_weight: float | None = None
        # The hooks after the step of the batch that was handed out last.
        self._open_hooks = StepHooks()
        self._iterating = False
        self._ended = False
        # The passes over data that were begun, and the number of steps of the last one.
        self._passes = 0
        self._pass_steps = 0
        self._pass_is_over = False
        self._continued: dict[str, Any] | None = None

    @property
    def logs(self) -> dict[str, Any]:
        """The values of the epoch so far, including those of validation."""
        return {**self._logs.values(), **self._validation}

    def batches(
        self,
        data: Any,
        batch_size: int | None = None,
        *,
        shuffle: Shuffle = True,
        steps: int | None = None,
        resident: bool | Literal["auto"] = "auto",
    ) -> Iterator[Any]:
        """Yield the batches of `data`; each must be logged before the next.

        Ends early if a callback (or the body) has set `stop_training`.

        Args:
            data: A tuple, dict or other structure of equally long arrays, which is
                split into batches of the same structure; or anything that yields
                batches: a `tf.data.Dataset`, a `keras.utils.PyDataset`, a list, a
                generator.
            batch_size: Samples per batch; only for arrays. Default: 32.
            shuffle: Whether arrays come in a new order in every epoch. The order is a
                pure function of the loop's seed and the epoch's number. Default:
                `True`.
            steps: Batches per epoch. An iterable is then continued from epoch to epoch,
                as Keras does with `steps_per_epoch`. Default: all batches.
            resident: Whether arrays are copied to the device as a whole, or some
                batches at a time. `"auto"`: as a whole, unless they are memory-mapped
                or have more than 2 GiB in total. Default: `"auto"`.

        Raises:
            ValueError: If there is no batch at all, or a batch differs from the first
                in structure, rank or dtype.
            RuntimeError: If a batch was not logged, or two iterations overlap.
        """
        source = self._run.source_of(
            data,
            batch_size=batch_size,
            shuffle=shuffle,
            steps=steps,
            resident=resident,
        )
        start = self._begin_pass(source)
        if start is not None:
            # The step is not ours, so its hooks are called from here.
            hooks = uncompiled_step_hooks(self._run.callbacks)
            self._run.begin_pass(self.step, StepOptions())
            batches = map(SingleBatch, source.epoch(self.index, start))
            for chunk in self._hand_out(batches, source, start):
                hooks.before()
                self._open_hooks = hooks
                yield from chunk.batches()

    def chunks(
        self,
        data: Any,
        batch_size: int | None = None,
        *,
        shuffle: Shuffle = True,
        steps: int | None = None,
        resident: bool | Literal["auto"] = "auto",
    ) -> Iterator[Chunk]:
        """Yield the batches of `data`, many at a time, for `Trainer.steps`.

        A chunk holds as many consecutive batches as take about a tenth of a second,
        and is logged once; callbacks are then notified of its last batch. If a callback
        must be notified of every batch (`TerminateOnNaN`), or the data comes from a
        generator, a chunk is a single batch.

        Args:
            data: As in `batches`.
            batch_size: As in `batches`.
            shuffle: As in `batches`.
            steps: As in `batches`.
            resident: As in `batches`.

        Raises:
            ValueError: If there is no batch at all, or a batch differs from the first
                in structure, rank or dtype.
            RuntimeError: If a chunk was not logged, or two iterations overlap.

        Example:

        >>> import keras
        >>> import numpy as np
        >>> import keras_ext
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> trainer = keras_ext.Trainer(model)
        >>> trainer.compile("sgd", "mse")
        >>> x, y = np.ones((64, 2)), np.ones((64, 1))
        >>> for epoch in keras_ext.Loop(trainer, epochs=2, verbose=0):
        ...     for chunk in epoch.chunks((x, y), batch_size=8):
        ...         epoch.log(trainer.steps(chunk))
        >>> epoch.step
        8
        """
        run = self._run
        source = run.source_of(
            data,
            batch_size=batch_size,
            shuffle=shuffle,
            steps=steps,
            resident=resident,
        )
        start = self._begin_pass(source)
        if start is None:
            return
        chunks = source.chunks(self.index, lambda: run.chunk_size(self.step), start)
        options = run.step_options(self.index, source, start)
        options = run.begin_pass(self.step, options)
        for chunk in self._hand_out(chunks, source, start):
            yield chunk.with_options(options)

    def log(self, logs: Logs) -> None:
        """Report the batch that was handed out last.

        Plain numbers are averaged over the epoch, weighted by batch size; a
        `keras.Metric` and the logs of `Trainer.step` are running values and are used
        unchanged. A metric that was logged here is reset when the next epoch begins.

        Args:
            logs: Dict from names to numbers, scalar tensors or metrics
                (`keras.Metric`).

        Raises:
            RuntimeError: If there is no batch to report, or it was already reported.
            TypeError: If `logs` is not a dict.
            ValueError: If a value is not a single number.
        """
        if self._open_weight is None:
            raise RuntimeError(
                "`epoch.log` reports one batch of `epoch.batches`, once. "
                + (
                    f"Batch {self.step - 1} of epoch {self.index} was already logged."
                    if self.step
                    else "No batch was taken yet: iterate over `epoch.batches(data)`."
                )
            )
        # Removed first, so that a second call does not make them act again.
        hooks, self._open_hooks = self._open_hooks, StepHooks()
        hooks.after()
        self._logs.add(logs, self._open_weight)
        # Before callbacks are called: an exception in one of them must not be followed
        # by an error that nothing was logged.
        self._open_weight = None
        values, each = self._logs.values(), getattr(logs, "each", None)
        self._run.hooks.end(self.step - 1, values, each)
        if self._run.hooks.steps_after_stop:
            self._validation["steps_after_stop"] = self._run.hooks.steps_after_stop

    def log_validation(self, logs: Logs) -> None:
        """Add results under `val_` names to what `on_epoch_end` receives.

        A metric that is also used in training would count these batches too; use
        another one here.

        Args:
            logs: Dict from names (without `val_`) to numbers or metrics
                (`keras.Metric`).

        Raises:
            TypeError: If `logs` is not a dict.
            ValueError: If a value is not a single number.
        """
        self._check_running()
        results = EpochLogs()
        results.add(logs, 1.0)
        self._run.reset_at_next_epoch(results.metrics)
        self._validation.update(
            {f"val_{name}": value for name, value in results.values().items()}
        )

    def evaluate(self, data: Any, **kwargs: Any) -> dict[str, Any]:
        """Evaluate the compiled model and log the results under `val_` names.

        Args:
            data: `(x, y)` or `(x, y, sample_weight)`, a `tf.data.Dataset`, or anything
                else the model's `evaluate` accepts.
            **kwargs: Options of the model's `evaluate`: `batch_size`, `steps`.

        Returns:
            The results, named without `val_`.

        Raises:
            RuntimeError: If the model is not compiled.
        """
        self._check_running()
        model = self._run.model
        if not model.compiled:
            raise RuntimeError(
                "`epoch.evaluate` needs a compiled model. Compile the model, or "
                "evaluate it yourself and pass the numbers to `epoch.log_validation`."
            )
        meet(getattr(model, "distribute_strategy", None), "test")
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        # Only `fit` passes a source; its position is saved with the run.
        if isinstance(data, Source):
            if self._run.saver.saves:
                data.keep_draws_in_order()
            self._run.restorer.restore_source("validation", data)
        self._run.saver.begin_evaluation(self)
        try:
            # The body may train on, and count, more batches.
            with kept(model):
                logs = model.evaluate(
                    x,
                    y,
                    sample_weight=sample_weight,
                    callbacks=self._run.callback_list,
                    return_dict=True,
                    **kwargs,
                )
        except EvaluationLeft:
            self._run.saver.leave_evaluation()
            raise
        finally:
            self._run.saver.end_evaluation()
        self._validation.update({f"val_{name}": value for name, value in logs.items()})
        return logs

    @property
    def cut_short(self) -> bool:
        """Whether the epoch is to be continued later, or begun again.

        It is then not reported, and need not be evaluated.
        """
        return self._run.is_cut_short

    @property
    def logged_metrics(self) -> list[keras.Metric]:
        """The metrics that were passed to `log`."""
        return self._logs.metrics

    def get_state(self) -> dict[str, Any]:
        """Return the position in the epoch and what was logged, as plain data."""
        return {
            "step": self.step,
            "passes": self._passes,
            "pass_steps": self._pass_steps,
            "pass_is_over": self._pass_is_over,
            "logs": self._logs.get_state(),
            "validation": self._validation,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from a state that `get_state` returned."""
        self.step = state["step"]
        self._logs.set_state(state["logs"])
        self._validation = dict(state["validation"])
        self._continued = state

    def _begin_pass(self, source: Source) -> int | None:
        """Return the batch to begin with, or `None` if all were handed out before."""
        number, self._passes = self._passes, self._passes + 1
        if self._run.saver.saves:
            source.keep_draws_in_order()
        self._run.restorer.restore_source(number, source)
        state = self._continued
        if state is None or number >= state["passes"]:
            return 0
        # Only the last pass that was begun may have batches left.
        if number < state["passes"] - 1:
            return None
        if state["pass_is_over"]:
            # No further step will create the variables to restore.
            self._run.restorer.restore_rest(source.example())
            return None
        return int(state["pass_steps"])

    def end(self) -> None:
        """Call `on_epoch_end` once; the loop does so after the body of the `for`."""
        if self._ended:
            return
        self._check_logged()
        # Before `on_epoch_end`, which gets the final values: nothing is logged after
        # it.
        self._ended = True
        self._run.reset_at_next_epoch(self._logs.metrics)
        self._run.callback_list.on_epoch_end(self.index, self.logs)

    def _hand_out(
        self, chunks: Iterator[Chunk], source: Source, start: int
    ) -> Iterator[Chunk]:
        """Yield `chunks` and notify the callbacks, until training is stopped."""
        run = self._run
        self._check_running()
        if self._iterating:
            raise RuntimeError(
                "`epoch.batches` was called during another iteration over "
                "`epoch.batches`. Iterate over several sources at the same time with "
                "`epoch.batches(zip(first, second))`."
            )
        self._iterating = True
        before, self._pass_steps, self._pass_is_over = self.step, start, False
        try:
            # A run that was stopped within the epoch has no more batches.
            has_ended = start and run.stop_training
            for chunk in () if has_ended else run.in_step(chunks, lambda: self.step):
                self._check_logged()
                # An epoch may have several passes; a continued one has already made
                # `start` of these steps.
                if self.step == before and source.num_batches is not None:
                    run.set_steps_per_epoch(before - start + source.num_batches)
                # Before callbacks are called, which may read the variables.
                run.restorer.restore_rest(chunk)
                run.hooks.begin(self.step, len(chunk))
                self._open_weight = chunk.num_samples
                self.step += len(chunk)
                begin = time.perf_counter()
                yield chunk
                run.count_steps(len(chunk), time.perf_counter() - begin)
                self._pass_steps += len(chunk)
                # A batch that was not logged cannot be saved; the next batch raises for
                # it.
                if self._open_weight is None:
                    run.saver.after_chunk(self)
        finally:
            self._iterating, self._pass_is_over = False, True
        if self.step == before and start:
            run.restorer.restore_rest(source.example())
        elif self.step == before:
            raise ValueError(
                f"The data yielded no batch in epoch {self.index}: expected at least "
                "one. An empty dataset, or a generator that ended in an earlier epoch? "
                "Pass something that can be iterated over repeatedly, or `steps=`."
            )
        self._check_logged()

    def _check_running(self) -> None:
        if self._ended:
            raise RuntimeError(
                f"Epoch {self.index} is over: its callbacks have run. Use the epoch "
                "that the loop yielded last."
            )

    def _check_logged(self) -> None:
        if self._open_weight is not None:
            raise RuntimeError(
                f"Batch {self.step - 1} of epoch {self.index} was taken from "
                "`epoch.batches` but not logged. Call `epoch.log(...)` once for every "
                "batch; to end an epoch early, pass `steps=` to `epoch.batches` or "
                "`break` after `epoch.log`."
            )
