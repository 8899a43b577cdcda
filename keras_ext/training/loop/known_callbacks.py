"""How often known callbacks have to be called, if they do not say so themselves."""

from collections.abc import Iterable
from typing import Any

import keras

# Sets its hooks on the instance.
_TQDM = ("tqdm", "TqdmCallback")
# By the name of package and class, so that no package is imported which is not used.
# These look at the numbers of a batch, at the step and at the rate, not at weights.
_REPLAYED = {
    ("keras_tuner", "TunerCallback"),
    ("mlflow", "MlflowCallback"),
    _TQDM,
    ("wandb", "WandbMetricsLogger"),
}
# They write files, and add nothing up over workers.
_WRITERS = (
    keras.callbacks.CSVLogger,
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.TensorBoard,
)


def known_frequency(callback: Any, hooks: Iterable[str]) -> Any:
    """Return what is known of a callback as its `batch_hook_freq`, 1 if nothing is.

    Args:
        callback: A callback.
        hooks: The names of the hooks for batches that are meant.
    """
    kinds = type(callback).__mro__
    sets_its_own = _TQDM in map(_name_of, kinds)
    if any(hook in vars(callback) for hook in hooks) and not sets_its_own:
        return 1
    for number, kind in enumerate(kinds):
        # A subclass that overrides more is not known.
        if any(_sets(one, hooks) for one in kinds[:number]):
            return 1
        frequency = _of_kind(callback, kind)
        if frequency is not None:
            return frequency
    return 1


def is_for_chief(callback: Any) -> bool:
    """Whether only the first of several workers calls it: it just writes files."""
    return bool(getattr(callback, "chief_only", isinstance(callback, _WRITERS)))


def _of_kind(callback: Any, kind: type) -> Any:
    if kind is keras.callbacks.ProgbarLogger:
        return "epoch"
    if kind is keras.callbacks.TerminateOnNaN:
        return "replay"
    of_wandb = _name_of(kind) == ("wandb", "WandbModelCheckpoint")
    if kind is keras.callbacks.ModelCheckpoint or of_wandb:
        # It saves the weights as they are after that very batch.
        return callback.save_freq
    if kind is keras.callbacks.TensorBoard:
        return _of_tensorboard(callback)
    return "replay" if _name_of(kind) in _REPLAYED else None


def _of_tensorboard(callback: Any) -> Any:
    # It measures the time from hook to hook.
    if callback.write_steps_per_second:
        return 1
    return "epoch" if callback.update_freq == "epoch" else "replay"


def _name_of(kind: type) -> tuple[str, str]:
    return kind.__module__.partition(".")[0], kind.__name__


def _sets(kind: type, hooks: Iterable[str]) -> bool:
    return any(hook in vars(kind) for hook in hooks)
