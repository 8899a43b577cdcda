"""The hooks for batches: called around a call of many steps, or for each step later."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from keras_ext.training.base.each_step import EachStep
from keras_ext.training.loop.callback_contract import Mode, is_replayed
from keras_ext.training.loop.logs import as_numbers


class BatchHooks:
    """The hooks for batches of all callbacks, in one kind of pass over data.

    Those that are replayed are called for each batch, in order, after a call that has
    made several steps, with the logs of that very batch. The others are called once for
    such a call.

    Args:
        callbacks: All callbacks.
        mode: `"train"`, `"test"` or `"predict"`.
        is_stopped: Says whether a callback has asked for the end of the pass.
    """

    def __init__(
        self,
        callbacks: keras.callbacks.CallbackList,
        mode: Mode,
        is_stopped: Callable[[], bool],
    ) -> None:
        self._callbacks = callbacks
        self._mode: Mode = mode
        self._is_stopped = is_stopped
        self._on_begin = f"on_{mode}_batch_begin"
        self._on_end = f"on_{mode}_batch_end"
        self.steps_after_stop = 0
        # Those that are replayed after the current call.
        self._replayed: list[Any] = []

    @property
    def keeps_each(self) -> bool:
        """Whether the logs of each step are needed."""
        return bool(self._find_replayed())

    def begin(self, first: int, count: int) -> bool:
        """Call the hooks before `count` steps; `first` is the number of the first.

        Returns:
            Whether the logs of each step are needed.
        """
        replayed = self._find_replayed()
        self._replayed = replayed if count > 1 else []
        if not self._replayed:
            getattr(self._callbacks, self._on_begin)(first)
        else:
            for callback in self._callbacks.callbacks:
                if callback not in replayed:
                    getattr(callback, self._on_begin)(first, {})
        return bool(replayed)

    def end(self, last: int, logs: Mapping[str, Any], each: EachStep | None) -> None:
        """Call the hooks after the steps for which `begin` was called.

        Args:
            last: Number of the last step.
            logs: The logs after all of them.
            each: What each has left. `None`: not known, so that the hooks that are
                replayed are called for the last step only.
        """
        replayed = self._replayed
        if not replayed:
            getattr(self._callbacks, self._on_end)(last, logs)
            return
        each = EachStep([logs]) if each is None else each
        read = _outputs if self._mode == "predict" else as_numbers
        numbers, stopped_at = read(logs), None
        first = last + 1 - len(each)
        for step, logs_of_step in enumerate(each.recalled(), first):
            # In the order in which Keras has them.
            now = dict(sorted({**numbers, **read(logs_of_step)}.items()))
            for callback in replayed:
                getattr(callback, self._on_begin)(step, {})
            # In the order of the list after the last step, as in Keras.
            for callback in self._callbacks.callbacks if step == last else replayed:
                own = now if callback in replayed else numbers
                getattr(callback, self._on_end)(step, own.copy())
            if stopped_at is None and self._is_stopped():
                stopped_at = step
        self.steps_after_stop = last - (last if stopped_at is None else stopped_at)

    def _find_replayed(self) -> list[Any]:
        return [
            one for one in self._callbacks.callbacks if is_replayed(one, self._mode)
        ]


def _outputs(logs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the outputs as logs; Keras puts outputs with names in their place."""
    outputs = logs["outputs"]
    return dict(outputs) if isinstance(outputs, Mapping) else dict(logs)
