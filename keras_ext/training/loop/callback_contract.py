"""How often callbacks are called, and which of them act at every step.

What a callback can declare is documented in `keras_ext.callbacks.TrainingCallback`;
everything else is determined here, from the hooks that it overrides.
"""

import math
import weakref
from collections.abc import Iterable
from typing import Any, Literal

import keras
import tensorflow as tf

from keras_ext import _checks
from keras_ext.callbacks.run_request import RunRequest
from keras_ext.callbacks.training_callback import TrainingCallback
from keras_ext.training.base.step_options import StepHooks, traced_with
from keras_ext.training.loop.known_callbacks import known_frequency

Mode = Literal["train", "test", "predict"]

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
_STEP_HOOKS = ("before_compiled_step", "after_compiled_step")


def next_stop(callbacks: Iterable[Any], mode: Mode, *counts: int) -> float:
    """Return how many steps can be made before a callback has to be called.

    A callback that overrides a hook for batches, in its class or on the instance, is
    called for every batch, unless its attribute `batch_hook_freq` says otherwise, or
    `known_callbacks` does. A callback that acts at every step and cannot be compiled is
    also called for every batch.

    Args:
        callbacks: The callbacks.
        mode: The mode whose hooks are meant.
        *counts: Steps made so far, in the epoch and in total.

    Returns:
        A positive number; infinity if it does not matter.
    """
    frequencies = [_frequency(callback, mode) for callback in callbacks]
    return min(
        # Some callbacks count the batches of an epoch; others, such as `Checkpoint`,
        # the steps of the run.
        (every - count % every for every in frequencies for count in counts),
        default=math.inf,
    )


def step_hooks(callbacks: Iterable[Any]) -> StepHooks:
    """Return the callbacks that act at every step: compiled with it, or called."""
    traced: list[Any] = []
    called: list[Any] = []
    for callback in callbacks:
        if not _acts_at_steps(callback):
            continue
        if not _is_traced(callback):
            called.append(callback)
        elif _num_traced_operations(callback) != 0:
            # A scheduler of epochs does nothing at steps, so functions compiled without
            # it are reused.
            traced.append(callback)
    return StepHooks(traced, called)


def uncompiled_step_hooks(callbacks: Iterable[Any]) -> StepHooks:
    """Return the same for steps that are not compiled: all are called."""
    return StepHooks(called=[one for one in callbacks if _acts_at_steps(one)])


def _frequency(callback: Any, mode: Mode) -> float:
    """Return the number of batches at whose multiples a callback must be called."""
    if mode == "train" and _acts_at_steps(callback) and not _is_traced(callback):
        return 1
    hooks = _HOOKS[mode]
    if not _overrides(callback, hooks, keras.callbacks.Callback):
        return math.inf
    return check_frequency(_wanted(callback, hooks))


def check_frequency(frequency: Any) -> float:
    """Return at multiples of how many batches calls end for a `batch_hook_freq`.

    Raises:
        ValueError: If it is not a positive integer, `"epoch"` or `"replay"`.
    """
    if frequency in ("epoch", "replay"):
        return math.inf
    try:
        return _checks.positive_int("batch_hook_freq", frequency)
    except ValueError:
        raise ValueError(
            "`batch_hook_freq` must be a positive integer, 'epoch' or 'replay'. "
            f"Received: batch_hook_freq={frequency!r}"
        ) from None


def is_replayed(callback: Any, mode: Mode) -> bool:
    """Whether the hooks for batches of a callback are called for each after a call."""
    hooks = _HOOKS[mode]
    if not _overrides(callback, hooks, keras.callbacks.Callback):
        return False
    return bool(_wanted(callback, hooks) == "replay")


def request_of(callback: Any) -> Any:
    """Return what a callback requests of the run, `None` if nothing.

    Raises:
        ValueError: If a `TrainingCallback` requests what there is not. Others may mean
            something else by the attribute.
    """
    request = getattr(callback, "request", None)
    known = [one.value for one in RunRequest]
    if isinstance(callback, TrainingCallback) and request not in (None, *known):
        raise ValueError(
            f"`{type(callback).__name__}.request` must be a RunRequest or its text, "
            f"one of {', '.join(map(repr, known))}, or None. Received: {request!r}"
        )
    return request


def needs_every_batch(callback: Any) -> bool:
    """Whether a callback is called after every batch because it says nothing else."""
    says = any(
        "batch_hook_freq" in vars(one)
        for one in (callback, *type(callback).__mro__[:-1])
        # Its default is what a callback that says nothing gets.
        if one is not TrainingCallback
    )
    hooks = _HOOKS["train"]
    if says or not _overrides(callback, hooks, keras.callbacks.Callback):
        return False
    return bool(_wanted(callback, hooks) == 1)


def _wanted(callback: Any, hooks: Iterable[str]) -> Any:
    """Return what a callback says, or what is known of it: how often it is called."""
    said = _said(callback)
    return known_frequency(callback, hooks) if said is None else said


def _said(callback: Any) -> Any:
    """Return how often a callback declares to be called, or `None`."""
    return getattr(callback, "batch_hook_freq", None)


def _acts_at_steps(callback: Any) -> bool:
    """Whether a callback has hooks around a step that are not the default."""
    present = [n for n in _STEP_HOOKS if getattr(callback, n, None) is not None]
    if not isinstance(callback, TrainingCallback):
        return bool(present)
    return _overrides(callback, present, TrainingCallback)


def _is_traced(callback: Any) -> bool:
    """Whether the hooks around a step are compiled with it.

    Not those of a callback that is called for every batch anyway: it may rely on its
    other hooks having acted before.
    """
    every_batch = _overrides(callback, _HOOKS["train"], keras.callbacks.Callback)
    if every_batch and _said(callback) in (None, 1):
        return False
    return _num_traced_operations(callback) is not None


_UNTRIED = object()
# Used before every call. Weak, since callbacks of a finished training run should not be
# kept alive.
_tried: "weakref.WeakKeyDictionary[Any, tuple[Any, int | None]]" = (
    weakref.WeakKeyDictionary()
)


def _num_traced_operations(callback: Any) -> int | None:
    """Return how much the hooks around a step compute; `None` if not traceable.

    Determined by tracing, once for all objects that they use.
    """
    # Its hooks may use the model, so they cannot be tried yet.
    if callback.model is None:
        return 1
    holds = traced_with(callback)
    known, found = _tried.get(callback, (_UNTRIED, None))
    if known is not holds:
        hooks = [getattr(callback, name, None) for name in _STEP_HOOKS]
        found = 0
        try:
            for hook in (one for one in hooks if one is not None):
                trace = tf.function(hook, autograph=False).get_concrete_function()
                found += len(trace.graph.get_operations())
        except (TypeError, ValueError, AttributeError, NotImplementedError):
            # For example, a schedule that contains a Python `if`: it is called eagerly.
            found = None
        _tried[callback] = (holds, found)
    return found


def _overrides(callback: Any, hooks: Iterable[str], base: type) -> bool:
    """Whether a hook is set on the instance or differs from that of `base`."""
    return any(
        hook in vars(callback)
        or getattr(type(callback), hook) is not getattr(base, hook)
        for hook in hooks
    )
