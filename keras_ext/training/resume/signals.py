"""Signals that request a process to end: recorded immediately, obeyed between calls."""

import os
import signal
import threading
import weakref
from collections.abc import Sequence
from types import FrameType
from typing import Any

import keras


class Preempted(SystemExit):
    """Ends the process after a signal, once the run is saved.

    Not caught by `except Exception`. The process exits with `Preempted.code`, by which
    a scheduler can distinguish a run that should be restarted from one that has failed.

    Args:
        message: What happened.

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
    """Unwinds an evaluation, so that the run can be saved in its state before it."""


class EvaluationInterrupter(keras.callbacks.Callback):
    """Ends a running evaluation when a signal arrives.

    Args:
        signals: Listener that records the signals.
    """

    # Once per call is soon enough, and costs no speed.
    batch_hook_freq = "epoch"

    def __init__(self, signals: "SignalListener") -> None:
        super().__init__()
        self._signals = signals

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Raise if a signal has arrived."""
        if self._signals.received is not None and self._signals.in_evaluation:
            raise EvaluationLeft


class SignalListener:
    """Records the first signal; a second one has its previous effect.

    Only the main thread can handle signals, so nothing is watched in other threads, nor
    in a process forked in the meantime: there, signals immediately have their previous
    effect.

    Args:
        signals: The numbers of the signals.

    Attributes:
        received: The signal to obey.
        pending: The number of one that is not to be obeyed before other workers know
            of it, or 0.
        in_evaluation: Whether an evaluation is running.
    """

    def __init__(self, signals: Sequence[int]) -> None:
        self._signals = signals
        self._waits = False
        self._before: dict[int, Any] = {}
        self._process: int | None = None
        self.received: signal.Signals | None = None
        self.pending = 0
        self.in_evaluation = False

    def start(self, *, waits: bool = False) -> None:
        """Begin to watch.

        Args:
            waits: Whether signals are pending until `receive` is called.
        """
        self.received, self.pending, self._waits = None, 0, waits
        self._process = os.getpid()
        if not _in_main_thread():
            return
        for watch in list(_installed):
            if not watch.is_watching:  # it was stopped in another thread
                watch.stop()
        for number in self._signals:
            # Ignored signals (by `nohup`, for example) stay ignored.
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        _installed.add(self)

    def receive(self, number: int) -> None:
        """Record a signal, of this process or another one that trains with it."""
        self.received = self.received or signal.Signals(number)

    @property
    def is_watching(self) -> bool:
        """Whether a signal would be recorded in this process."""
        return self._process == os.getpid()

    def stop(self) -> None:
        """Restore the previous effect of the signals.

        Only the main thread can remove a handler. In other threads, it is left in place
        to pass on signals, until the main thread next begins to watch.
        """
        self._process = None
        if not _in_main_thread():
            return
        for number, handler in list(self._before.items()):
            # A handler that was installed over this one may call it, and stays.
            if signal.getsignal(number) == self._note:
                del self._before[number]
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
        _installed.discard(self)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.is_watching and self.received is None and not self.pending:
            self.pending = number
            if not self._waits:
                self.receive(number)
            return
        before = self._before.get(number)
        self.stop()
        # `stop` left it in place because another handler was installed over this one,
        # which called it.
        if callable(before) and number in self._before:
            before(number, frame)
            return
        if number in self._before:
            signal.signal(number, signal.SIG_DFL)
        # Once more, for the handler that is back in place.
        os.kill(os.getpid(), number)


_installed: "weakref.WeakSet[SignalListener]" = weakref.WeakSet()
"""The listeners whose handlers are installed."""


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _stop_all() -> None:
    for watch in list(_installed):
        watch.stop()


if hasattr(os, "register_at_fork"):
    # Immediately, not when a signal arrives: a process that is busy outside Python
    # would never run a handler, and could not be ended.
    os.register_at_fork(after_in_child=_stop_all)
