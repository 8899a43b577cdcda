"""Signals that ask a process to end: heard at once, obeyed between two calls."""

import os
import signal
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any

import keras


class Preempted(SystemExit):
    """Ends the process after a signal, once the run was saved.

    Not caught by `except Exception`. The process leaves with `Preempted.code`, by which
    a scheduler can tell a run that is to be started again from one that has failed.

    Args:
        message: What happened, for whoever catches it.

    Attributes:
        code: 75, which `sysexits.h` calls "temporary failure, try again".

    Example:

    >>> from keras_ext.training import Preempted
    >>> try:
    ...     raise Preempted("SIGTERM: saved runs/digits/ckpt-3")
    ... except SystemExit as reason:
    ...     print(reason.code, reason)
    75 SIGTERM: saved runs/digits/ckpt-3
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = 75


class EvaluationLeft(BaseException):
    """Unwinds an evaluation, so that the run can be saved as it was before it."""


class EvaluationWatch(keras.callbacks.Callback):
    """Ends an evaluation that is running when a signal comes.

    Args:
        signals: What notes the signals.
    """

    batch_hook_freq = "epoch"

    def __init__(self, signals: "SignalWatch") -> None:
        super().__init__()
        self._signals = signals

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Leave, if a signal has come."""
        if self._signals.received is not None and self._signals.in_evaluation:
            raise EvaluationLeft


class SignalWatch:
    """Notes the first signal; a second one has the effect that it had before.

    Only the main thread can be asked, so in another one nothing is watched.

    Args:
        signals: The numbers of the signals.
    """

    def __init__(self, signals: Sequence[int]) -> None:
        self._signals = signals
        self._before: dict[int, Any] = {}
        self.received: signal.Signals | None = None
        self.in_evaluation = False

    def start(self) -> None:
        """Begin to watch."""
        self.received = None
        if threading.current_thread() is threading.main_thread():
            for number in self._signals:
                # What is ignored (by `nohup`, for instance) stays so.
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)

    def stop(self) -> None:
        """Have the signals do what they did before."""
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.received is None:
            self.received = signal.Signals(number)
            return
        self.stop()
        os.kill(os.getpid(), number)
