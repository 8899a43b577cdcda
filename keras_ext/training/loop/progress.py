"""How much output is printed."""

import sys
from collections.abc import Iterable
from typing import Any, Literal

import keras
import numpy as np

from keras_ext import _checks

Verbose = Literal["auto", 0, 1, 2]


def resolve_verbose(verbose: Verbose) -> Literal[0, 1, 2]:
    """Turn `"auto"` into a bar for terminals and one line per epoch for files."""
    _checks.one_of("verbose", verbose, ("auto", 0, 1, 2))
    if verbose != "auto":
        return verbose
    # A replaced `sys.stdout` may have no `isatty`; in notebooks it is not a terminal,
    # but still shows a bar.
    interactive = getattr(sys.stdout, "isatty", bool)() or "ipykernel" in sys.modules
    return 1 if interactive else 2


class ProgressBar(keras.callbacks.ProgbarLogger):
    """Keras's progress bar, without the logs that are arrays.

    Keras 3.12 cannot print the result of a metric such as a confusion matrix, and later
    versions print its mean.
    """

    batch_hook_freq = "epoch"
    async_safe = True

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Show the progress of the epoch."""
        super().on_train_batch_end(batch, _numbers(logs))

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Show the progress of the evaluation."""
        super().on_test_batch_end(batch, _numbers(logs))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Show the values of the epoch."""
        super().on_epoch_end(epoch, _numbers(logs))

    def on_test_end(self, logs: Any = None) -> None:
        """Show the results of the evaluation."""
        super().on_test_end(_numbers(logs))


def with_progress_bar(callbacks: Iterable[Any]) -> list[Any]:
    """Return the callbacks, and a progress bar unless there is one."""
    callbacks = list(callbacks)
    if any(isinstance(one, keras.callbacks.ProgbarLogger) for one in callbacks):
        return callbacks
    return [*callbacks, ProgressBar()]


def _numbers(logs: Any) -> dict[str, Any]:
    return {name: one for name, one in (logs or {}).items() if np.size(one) == 1}
