"""A schedule or function applied to the optimizer, per epoch or per batch."""

import contextlib
import inspect
import math
import warnings
from collections.abc import Callable
from typing import Any, Literal

import keras
from keras import ops

from keras_ext import _checks
from keras_ext.callbacks._learning_rate import (
    read_learning_rate,
    read_learning_rates,
    read_step,
    single_optimizers,
    step_counter,
)
from keras_ext.callbacks.training_callback import TrainingCallback


class LearningRateScheduler(TrainingCallback):
    """Sets the optimizer's learning rate from a schedule, per epoch or per batch.

    A drop-in replacement for `keras.callbacks.LearningRateScheduler` that also takes
    `LearningRateSchedule` objects and can act before every batch. Per batch, step
    `optimizer.iterations` runs with exactly the rate that an optimizer holding the
    schedule would have used, but the rate remains a variable that other callbacks can
    read, log and change. At the end of an epoch, the rate is added to the logs as
    `learning_rate`.

    Args:
        schedule: A `keras.optimizers.schedules.LearningRateSchedule`, or a function
            `f(step)` or `f(step, learning_rate)` that returns the new rate. `step` is
            the epoch's number (from 0) with `update_freq="epoch"`, and
            `optimizer.iterations` with `"batch"` (the number of batches, as in Keras,
            if the optimizer accumulates gradients).
        verbose: 0 is silent, 1 prints every update. Default: 0.
        update_freq: `"epoch"` or `"batch"`. Default: `"epoch"`.
        initial_step: Non-negative integer, only for `"batch"`: the step of the schedule
            at which `optimizer.iterations` is 0, added to all steps. Needed if training
            continues with a new optimizer, as after `load_weights`. Default: `None`,
            which means 0, with a warning if training then begins with
            an epoch after the first.

    Raises:
        TypeError: If `schedule` cannot be called with one or two arguments.
        ValueError: If `verbose` or `update_freq` is unknown, or `initial_step` is not
            valid or given for epochs; when training begins, if the optimizer already
            holds a schedule, is a `MultiOptimizer` without optimizers yet, or
            `update_freq="batch"` is used in `Model.fit` with `steps_per_execution > 1`;
            when the schedule returns anything other than a finite, non-negative number.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_ext.callbacks import LearningRateScheduler
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(keras.optimizers.SGD(1.0), loss="mse")
    >>> halve = LearningRateScheduler(lambda epoch, rate: rate / 2)
    >>> history = model.fit(
    ...     np.zeros((4, 2)), np.zeros((4, 1)), epochs=3, callbacks=[halve], verbose=0
    ... )
    >>> history.history["learning_rate"]
    [0.5, 0.25, 0.125]

    In `keras_ext.Trainer.fit` and other loops that make many steps per call, a
    `LearningRateSchedule` is called inside the compiled call, before every step. A
    plain function cannot be, and `verbose=1` prints: in these cases, every step is a
    separate call. Each optimizer of a `MultiOptimizer` gets its own rate, logged as
    `learning_rate_` and its name.
    """

    def __init__(
        self,
        schedule: Callable[..., Any],
        verbose: int = 0,
        *,
        update_freq: Literal["epoch", "batch"] = "epoch",
        initial_step: int | None = None,
    ) -> None:
        super().__init__()
        self.verbose = _checks.one_of("verbose", verbose, (0, 1))
        self.update_freq = _checks.one_of(
            "update_freq", update_freq, ("epoch", "batch")
        )
        self.initial_step = _checks.optional(
            _checks.non_negative_int, "initial_step", initial_step
        )
        if update_freq == "epoch" and initial_step is not None:
            raise ValueError(
                "`initial_step` is used only by update_freq='batch'. Received: "
                f"update_freq='epoch', initial_step={initial_step!r}. The epoch to "
                "begin with is `initial_epoch` of `fit`."
            )
        self._takes_rate = _takes_rate(schedule)
        self._epoch, self._has_begun = 0, False
        # The steps whose rates were set for the batch, one for each optimizer.
        self._set_for: list[int] = []
        self.schedule = schedule

    @property
    def schedule(self) -> Callable[..., Any]:
        """The source of the rates; a new one takes effect with the next call."""
        return self._schedule

    @schedule.setter
    def schedule(self, schedule: Callable[..., Any]) -> None:
        self._schedule = schedule
        self._note_schedule()

    def on_train_begin(self, logs: Any = None) -> None:
        """Check that rates can be set, and as often as requested."""
        self._has_begun = False
        self._note_schedule()
        optimizers = single_optimizers(self.model.optimizer)
        if not optimizers:
            raise ValueError(
                "LearningRateScheduler needs to know all optimizers of a "
                "MultiOptimizer before the first step. Received: one that is not "
                "built. Call `optimizer.build(model.trainable_variables)` first."
            )
        for optimizer in optimizers:
            _check_settable(optimizer)
        compiled = getattr(self.model, "steps_per_execution", 1)
        steps = (self.params or {}).get("steps_per_execution", compiled)
        if self.update_freq == "batch" and steps != 1:
            raise ValueError(
                "LearningRateScheduler(update_freq='batch') must see every batch, and "
                f"the model was compiled with steps_per_execution={steps}. Compile it "
                "with steps_per_execution=1, use keras_ext.Trainer.fit, or give the "
                "schedule to the optimizer."
            )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Set the rate for the epoch."""
        self._epoch = epoch
        if self.update_freq == "epoch":
            optimizers = single_optimizers(self.model.optimizer)
            self._update([(one, epoch) for one in optimizers], f"Epoch {epoch + 1}")

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Set the rate for the batch."""
        if self.update_freq == "batch":
            optimizers = single_optimizers(self.model.optimizer)
            first = self.initial_step or 0
            steps = [(one, first + read_step(one)) for one in optimizers]
            # Any restoring of the optimizer is done by now.
            if not self._has_begun and not any(step for _, step in steps):
                self._warn_of_step_0()
            self._has_begun = True
            # The progress bar left the cursor at the end of its line.
            self._update(steps, f"\nStep {steps[0][1]}")
            self._set_for = [step for _, step in steps]

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Check the rate of the last step, which compiled code may have set."""
        if self.update_freq == "batch" and self.batch_hook_freq == "epoch":
            for optimizer in single_optimizers(self.model.optimizer):
                rate = read_learning_rate(optimizer)
                if not (math.isfinite(rate) and rate >= 0):
                    raise ValueError(
                        "`schedule` must return a finite, non-negative number. "
                        "Received: a different value in one of the last steps before "
                        f"step {(self.initial_step or 0) + read_step(optimizer)}, "
                        "which have used it."
                    )

    def before_compiled_step(self) -> None:
        """Set the rate for the step, unless it was set for the batch."""
        if self.update_freq == "batch" and self.batch_hook_freq == "epoch":
            optimizers = single_optimizers(self.model.optimizer)
            steps = [ops.convert_to_tensor(step_counter(one)) for one in optimizers]
            steps = [step + (self.initial_step or 0) for step in steps]
            # Compiled code does not know the numbers of its steps.
            are_known = all(hasattr(step, "numpy") for step in steps)
            if are_known and [int(step) for step in steps] == self._set_for:
                return
            for optimizer, step in zip(optimizers, steps, strict=True):
                rate = ops.cast(self.schedule(step), "float32")
                # Compiled code cannot raise: an invalid rate stays, as NaN, until the
                # hook at the end of the call finds it.
                valid = ops.isfinite(rate) & (rate >= 0)
                valid = valid & ops.isfinite(
                    ops.cast(optimizer.learning_rate, "float32")
                )
                optimizer.learning_rate = ops.where(valid, rate, math.nan)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Add the rate to the logs."""
        if logs is None:
            return
        for name, rate in read_learning_rates(self.model.optimizer).items():
            # A callback may have lowered the rate since it was logged.
            logs.setdefault(name, rate)

    def _note_schedule(self) -> None:
        """Note whether the rate of a step can be computed in compiled code."""
        kind = keras.optimizers.schedules.LearningRateSchedule
        traceable = isinstance(self.schedule, kind) and not self.verbose
        self.batch_hook_freq = (
            "epoch" if self.update_freq == "epoch" or traceable else 1
        )
        self.traced_with = self.schedule

    def _warn_of_step_0(self) -> None:
        if self._epoch and self.initial_step is None:
            steps = (self.params or {}).get("steps")
            known = f"{self._epoch * steps}" if steps else "..."
            warnings.warn(
                f"Training begins with epoch {self._epoch}, but the schedule with step "
                "0: the optimizer has counted no steps, as after `load_weights`. Pass "
                f"`LearningRateScheduler(..., initial_step={known})`, the number of "
                "steps made before, or `initial_step=0` to begin the schedule again.",
                stacklevel=2,
            )

    def _update(self, steps: list[tuple[Any, int]], moment: str) -> None:
        # Compute all rates before setting any: after an error, none has changed.
        rates = [self._rate(optimizer, step) for optimizer, step in steps]
        for (optimizer, _), rate in zip(steps, rates, strict=True):
            optimizer.learning_rate = rate
            if self.verbose:
                print(f"{moment}: {optimizer.name} learning rate set to {rate:.6g}.")

    def _rate(self, optimizer: Any, step: int) -> float:
        old = (read_learning_rate(optimizer),) if self._takes_rate else ()
        return _finite_rate(self.schedule(step, *old), step)


def _takes_rate(schedule: Any) -> bool:
    """Whether to call `schedule(step, rate)`, not `schedule(step)`."""
    if not callable(schedule):
        raise TypeError(
            "`schedule` must be a LearningRateSchedule or a function of (step) or "
            f"(step, learning_rate). Received: {schedule!r} of type "
            f"{type(schedule).__name__}"
        )
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return False
    try:
        signature = inspect.signature(schedule)
    except ValueError:  # some built-in functions have no signature
        return False
    for arguments in ((0, 0.0), (0,)):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return len(arguments) == 2
    raise TypeError(
        "`schedule` must take (step) or (step, learning_rate). "
        f"Received: a function of {signature}"
    )


def _check_settable(optimizer: Any) -> None:
    """Raise unless the learning rate is a variable that can be assigned."""
    try:
        optimizer.learning_rate = read_learning_rate(optimizer)
    except (TypeError, AttributeError) as error:
        raise ValueError(
            "LearningRateScheduler needs an optimizer whose learning rate is a number. "
            f"Received: {type(optimizer).__name__}, which has no learning rate or "
            "holds its own schedule. Pass a float to the optimizer, and the schedule "
            "to this callback."
        ) from error


def _finite_rate(value: Any, step: int) -> float:
    """Return `value` as a float, or raise with what the schedule returned."""
    rate = math.nan
    if not isinstance(value, str):
        with contextlib.suppress(TypeError, ValueError):
            array = ops.convert_to_numpy(value)
            rate = float(array) if array.ndim == 0 else math.nan
    if not (math.isfinite(rate) and rate >= 0):
        raise ValueError(
            "`schedule` must return a finite, non-negative number. Received: "
            f"{value!r} at step {step}. The learning rate was not changed."
        )
    return rate
