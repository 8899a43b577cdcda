"""Names callbacks that cost more than a third of the speed of a training."""

import warnings
from collections.abc import Sequence
from typing import Any

from keras_ext.training.base.stack import level_of_user
from keras_ext.training.loop.callback_contract import needs_every_batch

_STEPS = 500
# A call of a compiled function takes about a millisecond, however little it does.
_SECONDS = 0.003


class Slowness:
    """Watches for calls that make one step because a callback needs it.

    Warns once, after 500 of them that took less than 3 ms each on average: more than a
    third of that is what a call costs, which many steps could share.
    """

    def __init__(self) -> None:
        self._steps = 0
        self._seconds = 0.0

    def ran(self, callbacks: Sequence[Any], seconds: float) -> None:
        """Take in that a call made one step where more would have been in time."""
        self._steps += 1
        self._seconds += seconds
        if self._steps == _STEPS and self._seconds < _STEPS * _SECONDS:
            self._warn([one for one in callbacks if needs_every_batch(one)])

    def _warn(self, callbacks: Sequence[Any]) -> None:
        if not callbacks:
            return
        names = " and ".join(type(one).__name__ for one in callbacks)
        warnings.warn(
            f"{names} must be called after every batch, so each call makes a single "
            f"step, in {1000 * self._seconds / self._steps:.1f} ms. More than a third "
            "of that is the cost of a call. Unless it reads the weights, pass "
            "`keras_ext.callbacks.Replay(callback)`: its hooks are then called later, "
            "with the same logs. To silence this warning, set its attribute "
            "`batch_hook_freq = 1`.",
            stacklevel=level_of_user(),
        )
