"""What an epoch is: callbacks, progress and History around any training step."""

import random
import warnings
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Literal

import keras

from keras_ext import _checks
from keras_ext.callbacks._learning_rate import holds_schedule, single_optimizers
from keras_ext.training.data.arrays import ArraySource, Shuffle
from keras_ext.training.data.make import make_source
from keras_ext.training.data.source import Source
from keras_ext.training.loop.callback_contract import next_stop
from keras_ext.training.loop.callback_model import ModelView
from keras_ext.training.loop.chunk_sizer import Pace
from keras_ext.training.loop.epoch import Epoch
from keras_ext.training.loop.logs import reset
from keras_ext.training.loop.progress import (
    Verbose,
    resolve_verbose,
    with_progress_bar,
)
from keras_ext.training.resume.arguments import Resume
from keras_ext.training.resume.checkpoint import Checkpoint
from keras_ext.training.resume.run_keeper import RunKeeper
from keras_ext.training.resume.signals import EvaluationWatch
from keras_ext.training.step.replicas import has_several_workers


class Loop:
    """Drives callbacks, progress bar and `History` around a hand-written loop.

    A loop written by hand around `tf.GradientTape` keeps all that `Model.fit` gives:
    the body of the `for` makes the step, `Loop` does the rest. The model may be
    compiled or not, the step may be anything. Callbacks see the same hooks in the
    same order as under `Model.fit`; `EarlyStopping` and others that set
    `stop_training` end the `for`.

    Args:
        model: The `keras.Model` (or `keras_ext.Trainer`) that callbacks work on. It is
            not altered, except that a compiled model is given `stop_training` and
            `history`, as `Model.fit` gives them.
        optimizer: The optimizer that callbacks shall see as `model.optimizer`.
            Default: the compiled model's.
        epochs: Non-negative integer, number of the epoch at which to end. Default: 1.
        initial_epoch: Non-negative integer, number of the epoch to begin with.
            Default: 0.
        steps: Batches per epoch, for the progress bar and for callbacks that ask
            before the first batch. Default: `None`, found out from the data.
        callbacks: A callback, a list of callbacks, or a `keras.callbacks.CallbackList`.
        verbose: 0 is silent, 1 a progress bar, 2 one line per epoch. `"auto"` is 1 in
            a terminal or notebook and 2 where the output goes to a file. Default:
            `"auto"`.
        seed: Integer, from which the order of arrays is drawn: a pure function of
            seed and epoch. Default: `None`, drawn from Python's `random`, which
            `keras.utils.set_random_seed` fixes.
        resume: Whether to continue a run that `keras_ext.callbacks.Checkpoint` has
            saved: `True` for the folder of the Checkpoint among `callbacks`, where a
            new run is begun if it is empty, or the path of another folder. Weights,
            optimizer, data order, callbacks and History then go on where they were;
            `initial_epoch` and `seed` are those of the run. Default: `False`.
        state: Dict of further objects that belong to the run and are saved with it:
            models, optimizers, metrics, variables, and objects with methods
            `get_state()` and `set_state(state)`. Default: `None`.

    Attributes:
        interrupted: Whether a callback has ended the run for now, see
            `keras_ext.callbacks.TimeLimit`.
        history: `keras.callbacks.History` with the epochs so far.
        stop_training: Set it to `True` to end after the running batch.

    Raises:
        TypeError: If `model` is not a `keras.Model`.
        ValueError: If `epochs`, `initial_epoch`, `steps`, `verbose` or `seed` is out
            of range.
        RuntimeError: If a loop is iterated over twice.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> import tensorflow as tf
    >>> from keras_ext import Loop
    >>> keras.utils.set_random_seed(0)
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> optimizer = keras.optimizers.SGD(0.1)
    >>> @tf.function
    ... def step(x, y):
    ...     with tf.GradientTape() as tape:
    ...         loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
    ...     gradients = tape.gradient(loss, model.trainable_variables)
    ...     optimizer.apply(gradients, model.trainable_variables)
    ...     return {"loss": loss}
    >>> x = np.random.default_rng(0).normal(size=(64, 2))
    >>> y = x @ [[2.0], [-1.0]]
    >>> loop = Loop(model, optimizer=optimizer, epochs=20, verbose=0)
    >>> for epoch in loop:
    ...     for batch in epoch.batches((x, y), batch_size=16):
    ...         epoch.log(step(*batch))
    >>> loop.history.history["loss"][-1] < 1e-3
    True

    `break`, an exception and Ctrl-C in the body close the callbacks (`on_train_end`
    is called once). An exception in `on_train_end` after a `break` reaches the caller
    only if the loop is also used as a context manager (`with loop: for epoch in loop:
    ...`); Python cannot raise it otherwise and prints it.

    At the end of the last epoch, or after `stop_training`, moving averages of a
    compiled model's optimizer with `use_ema` are written into the model, as `Model.fit`
    does. With an `optimizer` passed here that is for the caller to do:
    `optimizer.finalize_variable_values(variables)`.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        optimizer: keras.optimizers.Optimizer | None = None,
        epochs: int = 1,
        initial_epoch: int = 0,
        steps: int | None = None,
        callbacks: Any = None,
        verbose: Verbose = "auto",
        seed: int | None = None,
        resume: Resume = False,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(model, keras.Model):
            raise TypeError(
                "`model` must be a keras.Model or a keras_ext.Trainer. "
                f"Received: {model!r} of type {type(model).__name__}"
            )
        if not isinstance(optimizer, (keras.optimizers.Optimizer, type(None))):
            raise TypeError(
                "`optimizer` must be the keras.optimizers.Optimizer of the steps. "
                f"Received: {optimizer!r} of type {type(optimizer).__name__}"
            )
        self.model = model
        self.epochs = _checks.non_negative_int("epochs", epochs)
        self.initial_epoch = _checks.non_negative_int("initial_epoch", initial_epoch)
        self._steps = _checks.optional(_checks.positive_int, "steps", steps)
        self.verbose = resolve_verbose(verbose)
        self.seed = (
            draw_seed() if seed is None else _checks.non_negative_int("seed", seed)
        )
        if model.compiled and optimizer is None:
            self._seen_model: Any = model
        else:
            self._seen_model = ModelView(model, optimizer)
        self.stop_training = False
        self.callbacks = self._make_callbacks(callbacks)
        self._streams: dict[tuple[Any, ...], Source] = {}
        self._streams_in_use: dict[tuple[Any, ...], Source] = {}
        strategy = getattr(model, "distribute_strategy", None)
        self._pace = Pace(fixed=has_several_workers(strategy))
        self._steps_made = 0
        self._managed = False
        self._to_reset: list[keras.Metric] = []
        self._last_logs: dict[str, Any] | None = None
        self._state: Literal["new", "running", "ended"] = "new"
        self._keeper = RunKeeper(self, resume, state or {})
        if self._keeper.saved is not None:
            saved = self._keeper.saved.state["loop"]
            self.initial_epoch, self.seed = saved["epoch"], saved["seed"]

    @property
    def history(self) -> keras.callbacks.History:
        """The `History` callback, with the epochs so far."""
        return next(
            callback
            for callback in self.callbacks.callbacks
            if isinstance(callback, keras.callbacks.History)
        )

    @property
    def optimizer(self) -> Any:
        """The optimizer that callbacks see, or `None`."""
        return getattr(self._seen_model, "optimizer", None)

    @property
    def interrupted(self) -> bool:
        """Whether a callback has ended the run for now, to be continued."""
        return self._keeper.interrupted

    @property
    def stop_training(self) -> bool:
        """Whether a callback, or the body of the loop, asked for the end."""
        # A callback that holds on to the model itself says it there.
        said = getattr(self.model, "stop_training", False)
        return bool(self._seen_model.stop_training or said)

    @stop_training.setter
    def stop_training(self, value: bool) -> None:
        self._seen_model.stop_training = value
        if hasattr(self.model, "stop_training"):
            self.model.stop_training = value

    def __iter__(self) -> Iterator[Epoch]:
        """Yield the epochs."""
        self._begin()
        left = False
        try:
            index = self.initial_epoch
            self._keeper.restore(in_epoch=False)
            while index < self.epochs and not self.stop_training:
                epoch = self._begin_epoch(index)
                yield epoch
                if self._state == "ended" or self.interrupted:
                    return
                if self._keeper.asked("roll_back"):
                    index = self._keeper.roll_back()
                    continue
                epoch._end()
                self._last_logs = epoch.logs
                index += 1
                self._keeper.after_epoch(index)
                if self.interrupted:
                    return
            self._keeper.finish(index)
            self._finalize_variables()
        except GeneratorExit:
            left = True
            raise
        finally:
            # An error raised in here is only printed; `__exit__` can raise it.
            if not (left and self._managed):
                self.close()

    def __enter__(self) -> "Loop":
        self._managed = True
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Tell the callbacks that training has ended, once."""
        if self._state == "running":
            self._state = "ended"
            try:
                self._keeper.close()
            finally:
                self.callbacks.on_train_end(self._last_logs)

    def _source(
        self,
        data: Any,
        *,
        batch_size: int | None,
        shuffle: Shuffle,
        steps: int | None,
        resident: bool | Literal["auto"],
    ) -> Source:
        """Return where the batches of `data` come from; used by `Epoch.batches`.

        What is taken a number of steps at a time goes on in the next epoch, and what
        reads a dataset is compiled, so such sources are kept. Arrays are read anew:
        they may have been changed.
        """
        if isinstance(data, Source):
            return data
        key = (id(data), batch_size, shuffle, steps)
        source = self._streams.get(key)
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
            self._streams_in_use[key] = source
        return source

    def _steps_to_make(self, step: int) -> int:
        """Return how many steps to make before callbacks hear of it."""
        stop = next_stop(self.callbacks.callbacks, "train", step, self._steps_made)
        return int(min(self._pace.steps, stop))

    def _made(self, steps: int, seconds: float) -> None:
        """Take in that steps were made, and how long they took."""
        self._steps_made += steps
        self._pace.ran(steps, seconds)

    def _set_steps(self, steps: int) -> None:
        """Let callbacks and progress bar know how many batches an epoch has."""
        if steps == self._steps:
            return
        self._steps = steps
        self.callbacks.set_params({**self.callbacks.params, "steps": steps})
        for callback in self.callbacks.callbacks:
            if isinstance(callback, keras.callbacks.ProgbarLogger):
                callback.progbar.target = steps

    def _reset_next_epoch(self, metrics: Iterable[keras.Metric]) -> None:
        """Have `metrics` start anew when the next epoch begins."""
        self._to_reset.extend(metrics)

    def _begin(self) -> None:
        if self._state != "new":
            raise RuntimeError(
                "This Loop was iterated over before. Make a new Loop; to continue the "
                "epochs, pass `initial_epoch=`."
            )
        try:
            self._keeper.begin()
            self.callbacks.on_train_begin()
            self._keeper.has_begun()
        except BaseException:
            self._keeper.close()
            raise
        self._state = "running"

    def _begin_epoch(self, index: int) -> Epoch:
        if self.model.compiled:
            self.model.reset_metrics()
        reset(self._to_reset)
        self._to_reset.clear()
        # What was not used in the last epoch is let go.
        self._streams, self._streams_in_use = self._streams_in_use, {}
        self.callbacks.on_epoch_begin(index)
        epoch = Epoch(self, index)
        within = self._keeper.restore(in_epoch=True)
        if within is not None:
            epoch.set_state(within)
        if index and index == self.initial_epoch:
            self._warn_of_step_0()
        return epoch

    def _warn_of_step_0(self) -> None:
        """Warn if the optimizer holds a schedule that begins again."""
        if any(
            getattr(one, "iterations", 1) == 0 and holds_schedule(one)
            for one in single_optimizers(self.optimizer)
        ):
            warnings.warn(
                f"Training begins with epoch {self.initial_epoch}, but the schedule of "
                "the optimizer with step 0: it has counted no steps, as after "
                "`load_weights`. Set the number of steps made before, "
                "`optimizer.iterations.assign(steps)`, or begin with epoch 0.",
                stacklevel=2,
            )

    def _finalize_variables(self) -> None:
        if self._seen_model is not self.model:
            return
        optimizer = self.model.optimizer
        if isinstance(optimizer, keras.optimizers.Optimizer) and optimizer.built:
            optimizer.finalize_variable_values(self.model.trainable_variables)

    def _make_callbacks(self, callbacks: Any) -> keras.callbacks.CallbackList:
        add_progbar = self.verbose != 0
        if isinstance(callbacks, keras.callbacks.CallbackList):
            # Whoever made the list has decided on a progress bar.
            callbacks, add_progbar = callbacks.callbacks, False
        callbacks = [one for one in keras.tree.flatten(callbacks) if one is not None]
        for callback in callbacks:
            _check_callback(callback)
        callbacks += [
            EvaluationWatch(one.watch)
            for one in callbacks
            if isinstance(one, Checkpoint)
        ]
        return keras.callbacks.CallbackList(
            with_progress_bar(callbacks) if add_progbar else callbacks,
            add_history=True,
            model=self._seen_model,
            verbose=self.verbose,
            epochs=self.epochs,
            steps=self._steps,
            # What a callback that must see every step can rely on, whatever the model
            # was compiled with.
            steps_per_execution=1,
            # Whether a callback may end the run for now, or go back in it.
            resumable=any(isinstance(one, Checkpoint) for one in callbacks),
        )


def _check_callback(callback: Any) -> None:
    if isinstance(callback, keras.callbacks.BackupAndRestore):
        raise ValueError(
            "keras.callbacks.BackupAndRestore works under keras.Model.fit only: it "
            "tells no other loop where to continue. Save with "
            "keras.callbacks.ModelCheckpoint and pass `initial_epoch=`, or use "
            "`keras.Model.fit(trainer, ...)`."
        )
    if isinstance(callback, keras.callbacks.Callback):
        return
    hint = "Pass instances of keras.callbacks.Callback."
    if isinstance(callback, type):
        hint = f"Make an instance of it: `{callback.__name__}(...)`."
    elif isinstance(callback, keras.optimizers.schedules.LearningRateSchedule):
        hint = "Apply it with `keras_ext.callbacks.LearningRateScheduler(schedule)`."
    raise TypeError(f"`callbacks` has an item that is none: {callback!r}. {hint}")


def draw_seed() -> int:
    """Return a seed that `keras.utils.set_random_seed` determines."""
    return random.randrange(2**31)
