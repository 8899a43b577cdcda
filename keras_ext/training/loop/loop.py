"""The loop over epochs: callbacks, progress and History around any training step."""

import warnings
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import keras

from keras_ext import _checks
from keras_ext.callbacks._learning_rate import holds_schedule, single_optimizers
from keras_ext.callbacks.run_request import RunRequest
from keras_ext.training.base.strategy_workers import meet, seed_of
from keras_ext.training.data.source import Source
from keras_ext.training.loop.callback_list import callback_list
from keras_ext.training.loop.callback_model import ModelView
from keras_ext.training.loop.epoch import Epoch
from keras_ext.training.loop.progress import Verbose, resolve_verbose
from keras_ext.training.loop.run import Run
from keras_ext.training.resume.arguments import Resume


class Loop:
    """Drives callbacks, progress bar and `History` around a hand-written loop.

    A loop written by hand around `tf.GradientTape` keeps everything that `Model.fit`
    offers: the body of the `for` makes the step, `Loop` does the rest. The model may be
    compiled or not, and the step may be anything. Callbacks receive the same hooks in
    the same order as in `Model.fit`; `EarlyStopping` and others that set
    `stop_training` end the `for`.

    Args:
        model: The `keras.Model` (or `keras_ext.Trainer`) that callbacks work on. It is
            not altered, except that a compiled model gets `stop_training` and
            `history`, as in `Model.fit`.
        optimizer: The optimizer that callbacks see as `model.optimizer`.
            Default: the compiled model's.
        epochs: Non-negative integer, number of the epoch at which to end. Default: 1.
        initial_epoch: Non-negative integer, number of the epoch to begin with.
            Default: 0.
        steps: Batches per epoch, for the progress bar and for callbacks that need it
            before the first batch. Default: `None`, determined from the data.
        callbacks: A callback, a list of callbacks, or a `keras.callbacks.CallbackList`.
        verbose: 0 is silent, 1 a progress bar, 2 one line per epoch. `"auto"` is 1 in a
            terminal or notebook and 2 if the output goes to a file. Default: `"auto"`.
        seed: Integer that determines the order of arrays, a pure function of seed and
            epoch. Default: `None`, drawn from Python's `random`, which
            `keras.utils.set_random_seed` fixes.
        resume: Whether to continue a run that `keras_ext.callbacks.Checkpoint` has
            saved: `True` for the folder of the Checkpoint among `callbacks`, in which a
            new run is begun if it is empty, or the path of another folder. Weights,
            optimizer, data order, callbacks and History then continue where they were;
            `initial_epoch` and `seed` are those of the run. Default: `False`.
        state: Dict of further objects that belong to the run and are saved with it:
            models, optimizers, metrics, variables, and objects with methods
            `get_state()` and `set_state(state)`. Default: `None`.

    Attributes:
        interrupted: Whether a callback has ended the run for now, see
            `keras_ext.callbacks.TimeLimit`.
        history: `keras.callbacks.History` with the epochs so far.
        stop_training: Set it to `True` to end after the current batch.

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
    only if the loop is also used as a context manager
    (`with loop: for epoch in loop: ...`); otherwise, Python cannot raise it and only
    prints it.

    At the end of the last epoch, or after `stop_training`, moving averages of a
    compiled model's optimizer with `use_ema` are written into the model, as in
    `Model.fit`. For an `optimizer` passed here, the caller must do so:
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
        self.initial_epoch = _checks.non_negative_int("initial_epoch", initial_epoch)
        seen_model = model
        if optimizer is not None or not model.compiled:
            seen_model = ModelView(model, optimizer)
        # An earlier training run may have left it set.
        seen_model.stop_training = False
        if hasattr(model, "stop_training"):
            model.stop_training = False
        epochs = _checks.non_negative_int("epochs", epochs)
        steps = _checks.optional(_checks.positive_int, "steps", steps)
        seed = _checks.optional(_checks.non_negative_int, "seed", seed)
        verbose = resolve_verbose(verbose)
        self._run = Run(
            model,
            seen_model,
            callback_list(
                callbacks,
                seen_model,
                verbose=verbose,
                epochs=epochs,
                steps=steps,
            ),
            epochs=epochs,
            seed=seed_of(getattr(model, "distribute_strategy", None), seed),
            verbose=verbose,
            steps=steps,
            resume=resume,
            others=state or {},
        )
        saved = self._run.restorer.saved
        if saved is not None:
            self.initial_epoch = saved.state["loop"]["epoch"]
        self._managed = False
        self._last_logs: dict[str, Any] | None = None

    @property
    def model(self) -> keras.Model:
        """The model that is trained."""
        return self._run.model

    @property
    def callbacks(self) -> keras.callbacks.CallbackList:
        """All callbacks, including the History."""
        return self._run.callback_list

    @property
    def epochs(self) -> int:
        """Number of the epoch at which the loop ends."""
        return self._run.epochs

    @property
    def verbose(self) -> int:
        """How much is printed: 0, 1 or 2."""
        return self._run.verbose

    @property
    def seed(self) -> int:
        """The seed of the order of arrays."""
        return self._run.seed

    @property
    def history(self) -> keras.callbacks.History:
        """The `History` callback, with the epochs so far."""
        return next(
            callback
            for callback in self._run.callbacks
            if isinstance(callback, keras.callbacks.History)
        )

    @property
    def optimizer(self) -> Any:
        """The optimizer that callbacks see, or `None`."""
        return self._run.optimizer

    @property
    def interrupted(self) -> bool:
        """Whether a callback has ended the run for now, to be continued."""
        return self._run.interrupted

    @property
    def stop_training(self) -> bool:
        """Whether a callback, or the body of the loop, has requested the end."""
        return self._run.stop_training

    @stop_training.setter
    def stop_training(self, value: bool) -> None:
        self._run.stop_training = value

    def expect(self, source: Source, validation: Source | None) -> None:
        """Check, before anything is restored, that the data is that of the saved run.

        `Trainer.fit` calls this, which knows its data before the first epoch.

        Args:
            source: Source of the batches.
            validation: Source of the validation batches.

        Raises:
            ValueError: If it is different data.
        """
        self._run.restorer.expect(source, validation)

    def __iter__(self) -> Iterator[Epoch]:
        """Yield the epochs."""
        self._begin()
        run, left = self._run, False
        try:
            index = self.initial_epoch
            # After `on_train_begin`, in which callbacks reset their state.
            run.restorer.restore(in_epoch=False)
            while index < run.epochs and not run.stop_training:
                epoch = self._begin_epoch(index)
                yield epoch
                # The body may have closed the loop.
                if run.stage == "ended" or run.interrupted:
                    return
                if not run.is_requested(RunRequest.ROLL_BACK):
                    epoch.end()
                run.end_epoch(index)
                # Callbacks at the end of the epoch may also request it.
                if run.is_requested(RunRequest.ROLL_BACK):
                    # A failed epoch is not ended: it counts as not made.
                    index = run.restorer.roll_back()
                    continue
                self._last_logs = epoch.logs
                index += 1
                run.saver.after_epoch(index)
                if run.interrupted:
                    return
            if run.restorer.is_waiting:
                # There was no step that would have created the other variables.
                run.restorer.restore_rest(None)
            else:
                run.saver.finish(index)
            # After the last checkpoint, which holds the trained weights: with more
            # epochs, training continues from these, not from their averages.
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
        if exc is not None and self._run.workers is not None:
            self._run.workers.tell(exc)
        self.close()

    def close(self) -> None:
        """Notify the callbacks once that training has ended."""
        if self._run.stage == "running":
            self._run.stage = "ended"
            try:
                # Callbacks are closed even if the last checkpoint could not be written.
                self._run.saver.close()
            finally:
                self.callbacks.on_train_end(self._last_logs)

    def _begin(self) -> None:
        run = self._run
        if run.stage != "new":
            raise RuntimeError(
                "This Loop was already iterated over. Create a new Loop; to continue "
                "the epochs, pass `initial_epoch=`."
            )
        try:
            if run.program is not None:
                run.program.begin_run()
            # Before callbacks open files: if another run uses the folder, nothing is
            # changed.
            run.saver.begin()
            self.callbacks.on_train_begin()
            # Callbacks set attributes in `on_train_begin`; what changes later is their
            # state.
            run.saver.has_begun()
            meet(getattr(self.model, "distribute_strategy", None), "train")
        except BaseException:
            run.saver.close()
            raise
        run.stage = "running"

    def _begin_epoch(self, index: int) -> Epoch:
        self._run.begin_epoch()
        self.callbacks.on_epoch_begin(index)
        epoch = Epoch(self._run, index)
        # Last: it sets what the epoch above has reset.
        saved = self._run.restorer.restore(in_epoch=True)
        if saved is not None:
            epoch.set_state(saved)
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
        # The averages of an optimizer that was passed must be written by the caller.
        if self._run.seen_model is not self.model:
            return
        optimizer = self.model.optimizer
        if isinstance(optimizer, keras.optimizers.Optimizer) and optimizer.built:
            optimizer.finalize_variable_values(self.model.trainable_variables)
