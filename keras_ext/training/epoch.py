"""One pass of a `Loop`: hands out batches, collects what they report."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import keras

from keras_ext._types import Logs
from keras_ext.training.array_source import Shuffle
from keras_ext.training.chunks import Chunk, Plan, SingleBatch
from keras_ext.training.hook_frequency import step_hooks
from keras_ext.training.logs import EpochLogs

if TYPE_CHECKING:
    from keras_ext.training.loop import Loop


class Epoch:
    """One epoch of a `Loop`; the loop makes it, the body of the `for` uses it.

    `batches` hands out the data and tells the callbacks that a batch begins; `log`
    takes what the step reported and tells them that it ended; `log_validation` or
    `evaluate` adds the `val_` columns. Every batch is logged exactly once.

    Args:
        loop: The `Loop` that this epoch belongs to.
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

    def __init__(self, loop: "Loop", index: int) -> None:
        self.index = index
        self.step = 0
        self._loop = loop
        self._logs = EpochLogs()
        self._validation: dict[str, Any] = {}
        self._open_weight: float | None = None
        self._iterating = False
        self._ended = False

    @property
    def logs(self) -> dict[str, Any]:
        """The values of the epoch so far, those of the validation included."""
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

        Ends early where a callback (or the body) has set `stop_training`.

        Args:
            data: A tuple, dict or other structure of equally long arrays, which is
                cut into batches of the same structure; or anything that yields
                batches: a `tf.data.Dataset`, a `keras.utils.PyDataset`, a list, a
                generator.
            batch_size: Samples per batch; for arrays only. Default: 32.
            shuffle: Whether arrays come in a new order in every epoch. The order is a
                pure function of the loop's seed and the epoch's number. Default:
                `True`.
            steps: Batches per epoch. An iterable is then continued from epoch to
                epoch, as Keras does with `steps_per_epoch`. Default: all there are.
            resident: Whether arrays are copied to the device as a whole, or some
                batches at a time. `"auto"`: as a whole, unless they are memory-mapped
                or have more than 2 GiB together. Default: `"auto"`.

        Raises:
            ValueError: If there is no batch at all, or a batch differs from the first
                in structure, rank or dtype.
            RuntimeError: If a batch was not logged, or two iterations overlap.
        """
        source = self._loop._source(
            data,
            batch_size=batch_size,
            shuffle=shuffle,
            steps=steps,
            resident=resident,
        )
        batches = map(SingleBatch, source.epoch(self.index))
        for chunk in self._hand_out(batches, source.num_batches):
            yield from chunk

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
        and is logged once, whereupon callbacks hear of its last batch. Where a callback
        must hear of every batch (`TerminateOnNaN`), or the data comes from a generator,
        a chunk is a single batch.

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
        loop = self._loop
        source = loop._source(
            data,
            batch_size=batch_size,
            shuffle=shuffle,
            steps=steps,
            resident=resident,
        )
        chunks = source.chunks(self.index, lambda: loop._steps_to_make(self.step))
        hooks = step_hooks(loop.callbacks.callbacks)
        plan = Plan((loop.epochs - self.index) * (source.num_batches or 0))
        for chunk in self._hand_out(chunks, source.num_batches):
            chunk.plan, chunk.step_hooks = plan, hooks
            yield chunk

    def log(self, logs: Logs) -> None:
        """Report the batch that was handed out last.

        Plain numbers are averaged over the epoch, weighted by the batch's size; a
        `keras.Metric` and the logs of `Trainer.step` are running values and are read
        as they are. A metric that was logged here is reset when the next epoch
        begins.

        Args:
            logs: Dict from names to numbers, scalar tensors or metrics
                (`keras.Metric`).

        Raises:
            RuntimeError: If there is no batch to report, or it was reported already.
            TypeError: If `logs` is not a dict.
            ValueError: If a value is not a single number.
        """
        if self._open_weight is None:
            raise RuntimeError(
                "`epoch.log` reports one batch of `epoch.batches`, once. "
                + (
                    f"Batch {self.step - 1} of epoch {self.index} was logged already."
                    if self.step
                    else "No batch was taken yet: iterate over `epoch.batches(data)`."
                )
            )
        self._logs.add(logs, self._open_weight)
        self._open_weight = None
        self._loop.callbacks.on_train_batch_end(self.step - 1, self._logs.values())

    def log_validation(self, logs: Logs) -> None:
        """Add results under `val_` names to what `on_epoch_end` receives.

        A metric that is used in training too would count those batches as well; use
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
        self._loop._reset_next_epoch(results.metrics)
        self._validation.update(
            {f"val_{name}": value for name, value in results.values().items()}
        )

    def evaluate(self, data: Any, **kwargs: Any) -> dict[str, Any]:
        """Evaluate the compiled model and log the results under `val_` names.

        Args:
            data: `(x, y)` or `(x, y, sample_weight)`, a `tf.data.Dataset`, or what
                else the model's `evaluate` takes.
            **kwargs: Options of the model's `evaluate`: `batch_size`, `steps`.

        Returns:
            The results, named without `val_`.

        Raises:
            RuntimeError: If the model is not compiled.
        """
        self._check_running()
        model = self._loop.model
        if not model.compiled:
            raise RuntimeError(
                "`epoch.evaluate` needs a compiled model. Compile the model, or "
                "evaluate it yourself and pass the numbers to `epoch.log_validation`."
            )
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        logs = model.evaluate(
            x,
            y,
            sample_weight=sample_weight,
            callbacks=self._loop.callbacks,
            return_dict=True,
            **kwargs,
        )
        self._validation.update({f"val_{name}": value for name, value in logs.items()})
        return logs

    def _end(self) -> None:
        """Tell the callbacks that the epoch is over; the loop calls this."""
        self._check_logged()
        self._ended = True
        self._loop._reset_next_epoch(self._logs.metrics)
        self._loop.callbacks.on_epoch_end(self.index, self.logs)

    def _hand_out(
        self, chunks: Iterator[Chunk], num_batches: int | None
    ) -> Iterator[Chunk]:
        """Yield `chunks` and tell the callbacks, while nothing says stop."""
        self._check_running()
        if self._iterating:
            raise RuntimeError(
                "`epoch.batches` was called while another iteration over "
                "`epoch.batches` goes on. Iterate over several sources at once with "
                "`epoch.batches(zip(first, second))`."
            )
        self._iterating = True
        before = self.step
        try:
            for chunk in chunks:
                self._check_logged()
                if self.step == before and num_batches is not None:
                    self._loop._set_steps(before + num_batches)
                self._loop.callbacks.on_train_batch_begin(self.step)
                self._open_weight = chunk.num_samples
                self.step += len(chunk)
                begin = time.perf_counter()
                yield chunk
                self._loop._made(len(chunk), time.perf_counter() - begin)
                if self._loop.stop_training:
                    break
        finally:
            self._iterating = False
        if self.step == before:
            raise ValueError(
                f"The data gave no batch in epoch {self.index}: expected at least one. "
                "An empty dataset, or a generator that ended in an earlier epoch? "
                "Pass something that can be iterated over again, or `steps=`."
            )
        self._check_logged()

    def _check_running(self) -> None:
        if self._ended:
            raise RuntimeError(
                f"Epoch {self.index} is over: its callbacks have run. Use the epoch "
                "that the loop has yielded last."
            )

    def _check_logged(self) -> None:
        if self._open_weight is not None:
            raise RuntimeError(
                f"Batch {self.step - 1} of epoch {self.index} was taken from "
                "`epoch.batches` but not logged. Call `epoch.log(...)` once for every "
                "batch; to end an epoch early, pass `steps=` to `epoch.batches` or "
                "`break` after `epoch.log`."
            )
