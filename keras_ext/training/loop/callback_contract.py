"""How often callbacks must hear of batches: after every one, or less often."""

import math
import weakref
from collections.abc import Iterable
from typing import Any, Literal

import keras
import tensorflow as tf

from keras_ext import _checks

_HOOKS = {
    "train": (
        "on_batch_begin",
        "on_batch_end",
        "on_train_batch_begin",
        "on_train_batch_end",
    ),
    "test": ("on_test_batch_begin", "on_test_batch_end"),
    "predict": ("on_predict_batch_begin", "on_predict_batch_end"),
}


def next_stop(
    callbacks: Iterable[Any], mode: Literal["train", "test", "predict"], *counts: int
) -> float:
    """Return how many steps can be made before a callback must hear of it.

    A callback that overrides a hook for batches, in its class or on the instance,
    hears of every one, unless it says otherwise: its attribute `batch_hook_freq` is a
    number of batches, at whose multiples it must be called, or `"epoch"` if it does
    not matter. What it is of Keras's own callbacks is known here.

    Args:
        callbacks: The callbacks.
        mode: Whose hooks are meant.
        *counts: Steps made so far, in the epoch and in all.

    Returns:
        A positive number, infinity if it does not matter.
    """
    frequencies = [_frequency(callback, mode) for callback in callbacks]
    return min(
        (every - count % every for every in frequencies for count in counts),
        default=math.inf,
    )


def step_hooks(callbacks: Iterable[Any]) -> tuple[Any, ...]:
    """Return the callbacks that act at every step, in compiled code.

    They have a method `before_compiled_step()` or `after_compiled_step()`, which is
    traced into the loop over the steps of a call. The hooks for batches are called as
    well: `on_train_batch_begin` before the first step, `on_train_batch_end` after the
    last.
    """
    return tuple(
        callback
        for callback in callbacks
        if _hooks_of(callback) and _frequency(callback, "train") == math.inf
    )


def act(callbacks: Iterable[Any], moment: Literal["before", "after"]) -> None:
    """Have the callbacks act that `step_hooks` has returned, at one step."""
    for callback in callbacks:
        hook = getattr(callback, f"{moment}_compiled_step", None)
        if hook is not None:
            hook()


def traced_with(callback: Any) -> Any:
    """Return what compiled hooks of a callback hold on to: another needs another trace.

    The attribute `traced_with`, or the `schedule` of one that sets rates.
    """
    return getattr(callback, "traced_with", getattr(callback, "schedule", None))


def _frequency(callback: Any, mode: str) -> float:
    """Return at multiples of how many batches a callback must be called."""
    hooks = _HOOKS[mode]
    if not _overrides(callback, hooks, keras.callbacks.Callback):
        return math.inf
    frequency = getattr(callback, "batch_hook_freq", None)
    if frequency is None:
        frequency = _of_keras(callback, hooks)
    if frequency == "epoch":
        return math.inf if _can_be_traced(callback) else 1
    return _checks.positive_int("batch_hook_freq", frequency)


_traceable: "weakref.WeakKeyDictionary[Any, tuple[Any, bool]]" = (
    weakref.WeakKeyDictionary()
)


def _can_be_traced(callback: Any) -> bool:
    """Whether what acts at every step, if anything, can be compiled."""
    hooks = _hooks_of(callback)
    if not hooks or callback.model is None:
        return True
    holds = traced_with(callback)
    known, traceable = _traceable.get(callback, (None, None))
    if traceable is None or known is not holds:
        try:
            for hook in hooks:
                tf.function(hook, autograph=False).get_concrete_function()
            traceable = True
        except (TypeError, ValueError, AttributeError, NotImplementedError):
            # A schedule with Python's `if` in it, for instance: it is called eagerly.
            traceable = False
        _traceable[callback] = (holds, traceable)
    return traceable


def _hooks_of(callback: Any) -> list[Any]:
    names = ("before_compiled_step", "after_compiled_step")
    return [getattr(callback, name) for name in names if hasattr(callback, name)]


def _of_keras(callback: Any, hooks: Iterable[str]) -> Any:
    """Return what is known of Keras's own callbacks, 1 for others."""
    for kind, frequency in (
        (keras.callbacks.ProgbarLogger, lambda: "epoch"),
        (keras.callbacks.ModelCheckpoint, lambda: callback.save_freq),
        (keras.callbacks.TensorBoard, lambda: _of_tensorboard(callback)),
    ):
        if isinstance(callback, kind) and not _overrides(callback, hooks, kind):
            return frequency()
    return 1


def _of_tensorboard(callback: Any) -> Any:
    # It counts the calls of its hooks, not the batches.
    seldom = callback.update_freq == "epoch" and not callback.write_steps_per_second
    return "epoch" if seldom else 1


def _overrides(callback: Any, hooks: Iterable[str], base: type) -> bool:
    """Whether a hook is set on the instance, or is another than that of `base`."""
    return any(
        hook in vars(callback)
        or getattr(type(callback), hook) is not getattr(base, hook)
        for hook in hooks
    )
