"""One pass of a `Loop`: hands out batches, collects what they report."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import keras

from keras_ext._types import Logs
from keras_ext.training.logs import EpochLogs
from keras_ext.training.sources import Shuffle, Source

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

        Raises:
            ValueError: If there is no batch at all, or a batch differs from the first
                in structure, rank or dtype.
            RuntimeError: If a batch was not logged, or two iterations overlap.
        """
        self._check_running()
        if self._iterating:
            raise RuntimeError(
                "`epoch.batches` was called while another iteration over "
                "`epoch.batches` goes on. Iterate over several sources at once with "
                "`epoch.batches(zip(first, second))`."
            )
        source = self._loop._source(
            data, batch_size=batch_size, shuffle=shuffle, steps=steps
        )
        self._iterating = True
        try:
            yield from self._tell_callbacks(source)
        finally:
            self._iterating = False

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

    def _tell_callbacks(self, source: Source) -> Iterator[Any]:
        first: Any = None
        for count, batch in enumerate(source.epoch(self.index)):
            self._check_logged()
            signature = _signature(batch)
            first = signature if first is None else first
            _check_same(first, signature, self.step)
            if count == 0 and source.num_batches is not None:
                self._loop._set_steps(self.step + source.num_batches)
            self._loop.callbacks.on_train_batch_begin(self.step)
            self._open_weight = _size(batch)
            self.step += 1
            yield batch
            if self._loop.stop_training:
                break
        if first is None:
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


def _size(batch: Any) -> float:
    """Return the number of samples: the first axis of the first array."""
    for leaf in keras.tree.flatten(batch):
        shape = getattr(leaf, "shape", None)
        if shape is not None and len(shape) and shape[0] is not None:
            return float(shape[0])
    return 1.0


def _signature(batch: Any) -> Any:
    """Return the batch with every leaf replaced by its dtype and rank."""

    def describe(leaf: Any) -> str:
        if leaf is None:
            return "None"
        shape = getattr(leaf, "shape", None)
        if shape is None:
            return type(leaf).__name__
        return f"{getattr(leaf.dtype, 'name', leaf.dtype)}, rank {len(shape)}"

    return keras.tree.map_structure(describe, batch)


def _check_same(first: Any, now: Any, step: int) -> None:
    if now != first:
        raise ValueError(
            "All batches of an epoch must have the same structure, ranks and dtypes. "
            f"Received: batch {step} is {now}, the first was {first}"
        )
