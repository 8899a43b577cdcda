"""What to do when training encounters NaN or infinity."""

import math
import warnings
from typing import Any, Literal

import keras

from keras_ext import _checks
from keras_ext.callbacks.run_request import RunRequest
from keras_ext.callbacks.training_callback import TrainingCallback


class NaNGuard(TrainingCallback):
    """Acts on a loss or gradient that is NaN or infinite, and reports which and when.

    In the steps of a `keras_ext.Trainer`, in `fit` or in a loop, loss and gradients are
    checked before every update, in compiled code, and an update with one that is not
    finite is never made: neither weights nor moving statistics change. Elsewhere, the
    logs are checked after the batch, when the update has been made.

    Args:
        action: What to do then. `"stop"`: end training; the run is no longer saved, so
            that the last checkpoint is one from before. `"skip"`: leave out this one
            update and continue; a batch whose loss is not finite does not count in the
            logged loss. `"roll_back"`: return to the last checkpoint and continue from
            there, with the data in a different order, since the same order would fail
            again. Default: `"stop"`.
        retries: Non-negative integer, how many times to roll back; then training ends.
            Default: 3.

    Attributes:
        found: List of what was found, one `(epoch, batch, name)` each time.

    Raises:
        ValueError: If an argument is out of range; when training begins, if `"skip"` is
            used without a Trainer, or `"roll_back"` without a
            `keras_ext.callbacks.Checkpoint` in `Trainer.fit` or `Loop`.

    Example:

    >>> import warnings
    >>> import keras
    >>> import numpy as np
    >>> from keras_ext.callbacks import NaNGuard
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", loss="mse")
    >>> x, y = np.ones((8, 2)), np.ones((8, 1))
    >>> y[5] = np.nan
    >>> guard = NaNGuard("stop")
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     history = model.fit(
    ...         x, y, batch_size=4, epochs=9, verbose=0, shuffle=False,
    ...         callbacks=[guard],
    ...     )
    >>> guard.found  # epoch, batch, tensor
    [(0, 1, 'loss')]

    A custom `train_step` is guarded if it makes its updates with `Trainer.update`. With
    a loss scale (`mixed_float16`), the optimizer leaves out updates that overflow, and
    only the loss is checked. With several replicas, the logs are checked.
    """

    batch_hook_freq = "epoch"

    def __init__(
        self,
        action: Literal["stop", "skip", "roll_back"] = "stop",
        *,
        retries: int = 3,
    ) -> None:
        super().__init__()
        self.action = _checks.one_of("action", action, ("stop", "skip", "roll_back"))
        self.retries = _checks.non_negative_int("retries", retries)
        self.found: list[tuple[int, int, str]] = []
        self.request = None
        self._rolled_back = 0

    def get_state(self) -> dict[str, Any]:
        """Return what was found, and how often the run was rolled back."""
        return {"found": self.found, "rolled_back": self._rolled_back}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from there; what was found since is kept."""
        found = [_as_found(item) for item in state["found"]]
        rolled_back = _checks.non_negative_int("rolled_back", state["rolled_back"])
        if len(found) > len(self.found):
            self.found = found
        self._rolled_back = max(self._rolled_back, rolled_back)

    def on_train_begin(self, logs: Any = None) -> None:
        """Make the Trainer, if it is one, check its updates."""
        self.request, self._epoch, self._first = None, 0, 0
        if self.action == "roll_back" and not self.is_resumable:
            raise ValueError(
                "NaNGuard('roll_back') needs a checkpoint to return to. Expected: a "
                "keras_ext.callbacks.Checkpoint as well, in Trainer.fit or Loop."
            )
        self._program: Any = getattr(self.model, "training_program", None)
        self._guard: Any = self._program and self._program.guard_updates(
            go_on=self.action == "skip"
        )
        if self.action == "skip" and self._guard is None:
            raise ValueError(
                "NaNGuard('skip') needs the steps of a keras_ext.Trainer on a single "
                "replica: elsewhere, an update is made before a callback is notified "
                "of it. Wrap the model, `keras_ext.Trainer(model)`, or use "
                "NaNGuard('stop')."
            )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note which epoch begins."""
        self._epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Note the batch, the first of those of one call."""
        self._first = batch
        self.request = None
        if self._guard is not None:
            self._guard.reset()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Check whether something was found."""
        noted = self._guard and self._guard.read()
        if noted:
            step, name, count = noted
            self._act(self._first + step, name, count)
        elif self.action != "skip":
            self._look_at(batch, logs or {})
        elif not self._guard.has_seen_steps():
            raise ValueError(
                f"NaNGuard('skip') has seen no update of {type(self.model).__name__}. "
                "Expected: a `train_step` that makes its updates with "
                "`self.update(loss, gradients)`, and is called by `step` or `steps`."
            )

    def _look_at(self, batch: int, logs: dict[str, Any]) -> None:
        for name, value in logs.items():
            if not all(map(_is_finite, keras.tree.flatten(value))):
                self._act(batch, name, 1)
                return

    def on_train_end(self, logs: Any = None) -> None:
        """Let the Trainer make its updates as before."""
        if self._guard is not None:
            self._program.guard_updates(go_on=None)

    def _act(self, batch: int, name: str, count: int) -> None:
        self.found.append((self._epoch, batch, name))
        more = f", and {count - 1} more of this call" if count > 1 else ""
        where = f"Epoch {self._epoch}, batch {batch}: the {name} is not finite"
        if self.action == "skip":
            warnings.warn(f"{where}{more}. The update was left out.", stacklevel=2)
            return
        if self.action == "roll_back" and self._rolled_back < self.retries:
            self._rolled_back += 1
            self.request = RunRequest.ROLL_BACK
            warnings.warn(
                f"{where}. Returning to the last checkpoint, for time "
                f"{self._rolled_back} of at most {self.retries}.",
                stacklevel=2,
            )
            return
        self.request = RunRequest.DISCARD
        self.model.stop_training = True
        warnings.warn(f"{where}. Training ends.", stacklevel=2)


def _as_found(item: Any) -> tuple[int, int, str]:
    """Return a saved item of `NaNGuard.found`, or raise `ValueError`."""
    epoch, batch, name = item
    if not isinstance(name, str):
        raise ValueError(f"`found` must name tensors. Received: {name!r}")
    check = _checks.non_negative_int
    return check("epoch", epoch), check("batch", batch), name


def _is_finite(value: Any) -> bool:
    """Whether all numbers of a logged value are finite."""
    if isinstance(value, (int, float)):
        return math.isfinite(value)
    return bool(keras.ops.all(keras.ops.isfinite(keras.ops.convert_to_tensor(value))))
