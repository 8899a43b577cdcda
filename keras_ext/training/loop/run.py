"""The state of one run, shared by a `Loop`, its epochs, and the code that saves it."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

import keras

from keras_ext.callbacks.run_request import RunRequest
from keras_ext.training.base.interfaces import program_of
from keras_ext.training.base.step_options import StepBudget, StepOptions
from keras_ext.training.base.strategy_workers import workers_of
from keras_ext.training.data.arrays import ArraySource, Shuffle, is_constant
from keras_ext.training.data.chunks import Chunk
from keras_ext.training.data.make import check_batch_size, make_source
from keras_ext.training.data.source import Source
from keras_ext.training.loop.batch_hooks import BatchHooks
from keras_ext.training.loop.callback_contract import (
    next_stop,
    request_of,
    step_hooks,
)
from keras_ext.training.loop.chunk_sizer import ChunkSizer
from keras_ext.training.loop.in_step import InStep
from keras_ext.training.loop.slowness import Slowness
from keras_ext.training.resume.arguments import Resume, check_others, find_checkpoint
from keras_ext.training.resume.restorer import Restorer, SavedSource
from keras_ext.training.resume.saver import Saver

# What a worker wants, as flags on which workers agree.
_STOP, _SAVE = 1, 2
_REQUESTS = {one: 4 << number for number, one in enumerate(RunRequest)}


class Run:
    """One run of a `Loop`.

    It is `"new"` until the first epoch is requested, then `"running"`, and finally
    `"ended"`, for whatever reason. While it runs, it may be cut short within an epoch:
    interrupted, to be continued later, or rolled back.

    Args:
        model: The model that is trained.
        seen_model: The model as seen by callbacks.
        callback_list: All callbacks.
        epochs: The number of the epoch at which to end.
        seed: Seed of the orders of arrays.
        verbose: 0 if nothing is to be printed.
        steps: Batches per epoch; `None` while that is not known.
        resume: The folder to continue from, or whether to continue at all.
        others: Further objects whose state belongs to the run, by name.

    Attributes:
        stage: `"new"`, `"running"` or `"ended"`.
        program: The compiled training step of the model, if it has one.
        steps_made: The number of steps so far.
        metrics_to_reset: Metrics that are reset when the next epoch begins.
        sources: Sources of the batches, by the number of the pass over data within the
            epoch; or `"validation"`.
        saved_sources: Saved states of sources not yet requested, likewise.
        hooks: Calls the hooks for batches of the callbacks.
        saver: Saves the run.
        restorer: Continues a saved run.
    """

    def __init__(
        self,
        model: keras.Model,
        seen_model: Any,
        callback_list: keras.callbacks.CallbackList,
        *,
        epochs: int,
        seed: int,
        verbose: int,
        steps: int | None,
        resume: Resume,
        others: Mapping[str, Any],
    ) -> None:
        self.stage: Literal["new", "running", "ended"] = "new"
        self.model = model
        self.seen_model = seen_model
        self.callback_list = callback_list
        self.epochs = epochs
        self.seed = seed
        self.verbose = verbose
        self.others = check_others(others)
        self.program = program_of(model)
        self.steps_made = 0
        self.metrics_to_reset: list[keras.Metric] = []
        self.sources: dict[Any, Source] = {}
        self.saved_sources: dict[Any, SavedSource] = {}
        self.hooks = BatchHooks(callback_list, "train", lambda: self.stop_training)
        self._steps = steps
        # Sources that are used again in the next epoch.
        self._kept: dict[tuple[Any, ...], tuple[Source, list[Any]]] = {}
        self._used: dict[tuple[Any, ...], tuple[Source, list[Any]]] = {}
        self.workers = workers_of(getattr(model, "distribute_strategy", None))
        self._in_step: InStep | None = None
        # Flags of any worker, when they last agreed.
        self._agreed = 0
        if self.workers is not None:
            self._in_step = InStep(self.workers, "train", self._wanted)
        self._sizer = ChunkSizer()
        self._slowness = Slowness()
        self._is_held_up = False
        checkpoint = find_checkpoint(self.callbacks)
        # In this order: the Saver records the contents of the folder before it is read.
        self.saver = Saver(self, checkpoint)
        self.restorer = Restorer(self, resume, checkpoint)
        # Here, not in `restore`: sources use it when they are created.
        if self.restorer.saved is not None:
            self.seed = self.restorer.saved.state["loop"]["seed"]

    @property
    def callbacks(self) -> list[Any]:
        """All callbacks."""
        return list(self.callback_list.callbacks)

    @property
    def optimizer(self) -> Any:
        """The optimizer that callbacks see, or `None`."""
        return getattr(self.seen_model, "optimizer", None)

    @property
    def stop_training(self) -> bool:
        """Whether a callback, or the body of the loop, has requested the end."""
        # A callback that refers to the model itself sets it there.
        said = getattr(self.model, "stop_training", False)
        return bool(self.seen_model.stop_training or said)

    @stop_training.setter
    def stop_training(self, value: bool) -> None:
        self.seen_model.stop_training = value
        if hasattr(self.model, "stop_training"):
            self.model.stop_training = value

    @property
    def interrupted(self) -> bool:
        """Whether a callback has ended the run for now, to be continued."""
        return self.saver.interrupted

    @property
    def is_cut_short(self) -> bool:
        """Whether the current epoch is to be continued later, or begun again."""
        return self.interrupted or self.is_requested(RunRequest.ROLL_BACK)

    def is_requested(self, request: str) -> bool:
        """Whether a callback makes this request, see `RunRequest`.

        Of several workers, in any of them, as soon as they have agreed.
        """
        if self.workers is not None:
            return bool(self._agreed & _REQUESTS[RunRequest(request)])
        return self._requests(request)

    @property
    def is_save_requested(self) -> bool:
        """Whether one of several workers finds that it is time to save."""
        return bool(self._agreed & _SAVE)

    def _requests(self, request: str) -> bool:
        return any(request_of(one) == request for one in self.callbacks)

    def forget_request(self, request: str) -> None:
        """Reset the requests of callbacks."""
        self._agreed &= ~_REQUESTS[RunRequest(request)]
        for callback in self.callbacks:
            if request_of(callback) == request:
                callback.request = None

    def get_state(self, index: int) -> dict[str, Any]:
        """Return the counters, as plain data, before or in epoch `index`."""
        return {
            "epoch": index,
            "seed": self.seed,
            "steps_made": self.steps_made,
            "stopped": self.stop_training,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from there; seed and epoch were set when the run was created."""
        self.steps_made = state["steps_made"]
        self.stop_training = bool(state["stopped"])

    def begin_epoch(self) -> None:
        """Let metrics begin again, and release data that is no longer used."""
        if self.model.compiled:
            self.model.reset_metrics()
        for metric in self.metrics_to_reset:
            metric.reset_state()
        self.metrics_to_reset.clear()
        # Sources that a whole epoch has not used are dropped.
        self._kept, self._used = self._used, {}

    def reset_at_next_epoch(self, metrics: Iterable[keras.Metric]) -> None:
        """Let metrics begin again with the next epoch."""
        self.metrics_to_reset.extend(metrics)

    def source_of(
        self,
        data: Any,
        *,
        batch_size: int | None,
        shuffle: Shuffle,
        steps: int | None,
        resident: bool | Literal["auto"],
    ) -> Source:
        """Return the source of the batches of `data`.

        Data taken a fixed number of steps at a time continues in the next epoch, and
        the code that reads a dataset is compiled, so such sources are kept. Arrays are
        copied to the device again, since they may have been changed, unless they cannot
        be.
        """
        if isinstance(data, Source):
            return data
        check_batch_size(batch_size)
        # A tuple of arrays may be another one in each epoch.
        parts, structure = [data], ""
        if isinstance(data, (tuple, dict)):
            parts = keras.tree.flatten(data)
            structure = str(keras.tree.map_structure(lambda _: 0, data))
        key = (structure, *map(id, parts), batch_size, shuffle, steps, resident)
        source, _ = self._kept.get(key, (None, None))
        if source is None:
            source = make_source(
                data,
                batch_size,
                shuffle=shuffle,
                seed=self.seed,
                steps=steps,
                resident=resident,
            )
        if not isinstance(source, ArraySource):
            self._used[key] = source, parts
        elif all(map(is_constant, parts)):
            source.reseed(self.seed)
            # With `parts`, so that no other object gets the id of one.
            self._used[key] = source, parts
        return source

    def step_options(self, epoch: int, source: Source, done: int) -> StepOptions:
        """Return the options of a source's batches, from epoch `epoch` on."""
        # All remaining steps count, not just this pass: compiled functions also serve
        # the other epochs.
        steps = (self.epochs - epoch) * (source.num_batches or 0)
        return StepOptions(
            StepBudget(steps, done), step_hooks(self.callbacks), self.hooks.keeps_each
        )

    def chunk_size(self, step: int) -> int:
        """Return how many steps to make from step `step` on before callbacks act."""
        return self._wanted(step) if self._in_step is None else self._in_step.size

    def begin_pass(self, step: int, options: StepOptions) -> StepOptions:
        """Return `options` as all workers need them, before a pass from step `step`."""
        if self._in_step is None:
            return options
        hooks, keeps_each = len(options.hooks.traced), options.keeps_each
        kept = self._in_step.begin(step, hooks=hooks, keeps_each=keeps_each)
        return dataclasses.replace(options, keeps_each=kept)

    def in_step(
        self, chunks: Iterator[Chunk], at: Callable[[], int]
    ) -> Iterator[Chunk]:
        """Yield `chunks` until training is stopped, if need be by another worker.

        Args:
            chunks: The batches.
            at: Returns how many steps were made in the epoch.
        """
        if self._in_step is not None:
            ends = _STOP | _REQUESTS[RunRequest.ROLL_BACK]
            chunks = self._in_step.chunks(chunks, at, self._flags, ends)
        for chunk in chunks:
            if self._in_step is not None:
                self._agreed = self._in_step.flags
            yield chunk
            # Of several workers, each continues until the others know.
            stopped = self._in_step is None and self.stop_training
            if stopped or self.is_cut_short:
                break
        if self._in_step is not None:
            self._take(self._in_step.flags)

    def end_epoch(self, index: int) -> None:
        """Stop, save and end where another worker does."""
        if self.workers is not None:
            flags = self.workers.agree("epoch", index, 0, flags=self._flags()).flags
            self._take(flags)

    def agree_to_save(self) -> None:
        """Let all workers know what each requests, before they save."""
        if self.workers is not None:
            steps, flags = self.steps_made, self._flags()
            self._take(self.workers.agree("write", steps, 0, flags=flags).flags)

    def _flags(self) -> int:
        """Return what this worker wants."""
        requested = (bit for one, bit in _REQUESTS.items() if self._requests(one))
        saved = _SAVE * self.saver.is_time_to_save()
        return _STOP * self.stop_training + saved + sum(requested)

    def _take(self, flags: int) -> None:
        self._agreed = flags
        if flags & _STOP:
            self.stop_training = True

    def _wanted(self, step: int, more: int = 0) -> int:
        """Return how many steps to make, `more` steps after step `step`."""
        counts = step + more, self.steps_made + more
        stop = next_stop(self.callbacks, "train", *counts)
        self._is_held_up = stop == 1 < self._sizer.steps
        return int(min(self._sizer.steps, stop))

    def count_steps(self, steps: int, seconds: float) -> None:
        """Record that steps were made, and how long they took."""
        self.steps_made += steps
        self._sizer.ran(steps, seconds)
        if self._is_held_up:
            self._slowness.ran(self.callbacks, seconds)

    def set_steps_per_epoch(self, steps: int) -> None:
        """Inform callbacks and progress bar of the number of batches per epoch."""
        if steps == self._steps:
            return
        self._steps = steps
        self.callback_list.set_params({**self.callback_list.params, "steps": steps})
        for callback in self.callbacks:
            if isinstance(callback, keras.callbacks.ProgbarLogger):
                callback.progbar.target = steps
