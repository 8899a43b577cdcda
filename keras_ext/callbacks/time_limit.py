"""Ending training in time."""

import time
from typing import Any

from keras_ext import _duration
from keras_ext.callbacks.run_request import RunRequest
from keras_ext.callbacks.training_callback import TrainingCallback


class TimeLimit(TrainingCallback):
    """Ends training before a given time has passed, and has the run saved.

    For machines that are available for a limited time. In `keras_ext.Trainer.fit` and
    `keras_ext.Loop` with a `keras_ext.callbacks.Checkpoint`, the run is saved at that
    point, even in the middle of an epoch, `interrupted` is set, and the next process
    continues the run with `resume=`. The epoch that is cut short is reported by the
    next process. Elsewhere, `stop_training` is set.

    Ends early enough that the longest interval so far between two checks of the clock
    (a call, a validation) would fit once more.

    Args:
        limit: The time from the beginning of training in this process: a positive
            number of seconds, or a string such as `"90s"`, `"10min"`, `"1h30min"`.

    Attributes:
        interrupted: Whether the limit has ended training.

    Raises:
        ValueError: If `limit` is not a duration.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_ext.callbacks import TimeLimit
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", loss="mse")
    >>> limit = TimeLimit("1s")
    >>> history = model.fit(
    ...     np.zeros((4, 2)), np.zeros((4, 1)), epochs=10**9, verbose=0,
    ...     callbacks=[limit],
    ... )
    >>> limit.interrupted
    True
    """

    batch_hook_freq = "epoch"

    def __init__(self, limit: str | float) -> None:
        super().__init__()
        self.limit = limit
        self._seconds = _duration.seconds("limit", limit)
        self.interrupted = False
        self.request = None

    def get_state(self) -> dict[str, Any]:
        """Return nothing: the limit is that of one process."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Set nothing."""

    def on_train_begin(self, logs: Any = None) -> None:
        """Start the clock."""
        self.interrupted, self.request = False, None
        self._end = time.monotonic() + self._seconds
        self._longest = 0.0
        self._last: float | None = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Check the clock."""
        self._look()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Check the clock."""
        self._look()

    def _look(self) -> None:
        now = time.monotonic()
        if self._last is not None:  # the first call compiles, so it does not count
            self._longest = max(self._longest, now - self._last)
        self._last = now
        if now + self._longest < self._end:
            return
        self.interrupted = True
        if self.is_resumable:
            self.request = RunRequest.INTERRUPT
        else:
            self.model.stop_training = True
