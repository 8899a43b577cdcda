"""The callback that saves everything a run depends on."""

import os
import signal
import time
import warnings
from collections.abc import Sequence
from typing import Any, Literal

from keras_ext import _checks, _duration
from keras_ext.callbacks._batches import batches_done
from keras_ext.callbacks.training_callback import TrainingCallback
from keras_ext.training.base import host_random
from keras_ext.training.resume.schema import check_stock
from keras_ext.training.resume.signals import SignalListener
from keras_ext.training.resume.store import CheckpointStore
from keras_ext.training.resume.variables import Restoration, run_variables


class Checkpoint(TrainingCallback):
    """Saves a run, so that it can be killed at any time and continued to the bit.

    Also pass `resume=` to `Trainer.fit` or `Loop`, and run the same program again: it
    continues from the last complete checkpoint, and ends with the same weights,
    optimizer state, History and log as one that was never interrupted. A run that has
    ended is recognized; with more `epochs`, it is continued.

    A checkpoint holds all variables of model, optimizer, metrics and random
    generators, the position in the data and its order, the state of the other
    callbacks, the History, and the random numbers of Python and NumPy. It consists of
    the files of a `tf.train.Checkpoint`, is written during training, and counts only
    once it is complete. Existing files are never overwritten.

    On the first of the `signals`, the current call is finished, the run is saved, and
    the process exits: by `Preempted`, exit code 75, or by `KeyboardInterrupt` after
    Ctrl-C. A second signal exits immediately.

    Under `tf.distribute.MultiWorkerMirroredStrategy`, the first worker writes, and all
    read, from a folder that they share; a signal to any of them has all save and exit.
    Another number of workers may continue: with the same batches, rounded otherwise.

    Args:
        directory: The folder for the checkpoints of this one run, created if necessary.
            A relative path is resolved immediately: a later `os.chdir` does not move
            it.
        save_freq: When to save. `"epoch"`: after every epoch. A positive integer: after
            that many steps. A duration, `"90s"`, `"10min"`, `"2h"`: when that much time
            has passed. Default: `"epoch"`.
        max_to_keep: Positive integer, how many of the newest to keep, or `None` for
            all. Default: 3.
        signals: Numbers of the signals that request an end. Default: SIGTERM, SIGINT.

    Raises:
        ValueError: If an argument is out of range, or `directory` is the name of a file
            of weights, as `keras.callbacks.ModelCheckpoint` takes it.
        FileExistsError: When training begins, if the folder holds the checkpoints of an
            earlier run and `resume` was not passed.
        BlockingIOError: When training begins, if another process, or another training
            run of this one, is being saved in the folder.
        OSError: When training begins, if the folder cannot be written to; during
            training, if a checkpoint cannot be written. Earlier ones are left
            unchanged.

    Example:

    >>> import pathlib, tempfile
    >>> import keras
    >>> import numpy as np
    >>> import keras_ext
    >>> directory = pathlib.Path(tempfile.mkdtemp(), "run")
    >>> def train(epochs):
    ...     model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    ...     trainer = keras_ext.Trainer(model, seed=0)
    ...     trainer.compile("sgd", loss="mse")
    ...     checkpoint = keras_ext.callbacks.Checkpoint(directory)
    ...     return trainer.fit(
    ...         np.ones((64, 2)), np.ones((64, 1)), epochs=epochs, verbose=0,
    ...         callbacks=[checkpoint], resume=True,
    ...     )
    >>> train(epochs=2).epoch
    [0, 1]
    >>> train(epochs=3).epoch  # the first two are not made again
    [0, 1, 2]

    In `keras.Model.fit`, where a callback has no access to the data and the other
    callbacks, weights, optimizer, random generators and metrics are saved and, if the
    folder has a checkpoint, restored. Pass `initial_epoch=checkpoint.next_epoch`.
    """

    batch_hook_freq: Literal["epoch"] | int = "epoch"

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        save_freq: Literal["epoch"] | int | str = "epoch",
        max_to_keep: int | None = 3,
        signals: Sequence[int] = (signal.SIGTERM, signal.SIGINT),
    ) -> None:
        super().__init__()
        self.directory = _directory(directory)
        self.save_freq = save_freq
        self.max_to_keep = _checks.optional(
            _checks.positive_int, "max_to_keep", max_to_keep
        )
        self.signals = _signals(signals)
        self.files = CheckpointStore(self.directory, self.max_to_keep)
        self._seconds: float | None = None
        if isinstance(save_freq, str) and save_freq != "epoch":
            self._seconds = _duration.seconds("save_freq", save_freq)
        elif save_freq != "epoch":
            self.save_freq = _checks.positive_int("save_freq", save_freq)
        if isinstance(self.save_freq, int):
            self.batch_hook_freq = self.save_freq
        self.signal_listener = SignalListener(self.signals)
        self._driven = False
        self._saved_at = time.monotonic()
        self._steps = self._epoch = self._epoch_start = 0

    @property
    def next_epoch(self) -> int:
        """The epoch to continue with: 0 if there is no checkpoint yet."""
        saved = self.files.read()
        if saved is None:
            return 0
        check_stock(saved)
        return int(saved.state["loop"]["epoch"])

    def get_state(self) -> dict[str, Any]:
        """Return nothing: the state of this callback is not part of the run."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Set nothing."""

    def drive(self, *, writes: bool = True) -> None:
        """Leave saving to a `Loop`, which knows more than a callback does.

        Args:
            writes: Whether this process writes the checkpoints.

        Raises:
            OSError: If the folder cannot be written to, or another run uses it.
        """
        if writes:
            self.files.begin(lasting=True)
        self._driven = True

    def release(self) -> None:
        """Become an ordinary callback again.

        Raises:
            OSError: If pending data could not be written.
        """
        self._driven = False
        self.files.close()

    @property
    def is_timed(self) -> bool:
        """Whether it saves by the clock."""
        return self._seconds is not None

    def is_time(self) -> bool:
        """Whether the time after which it saves has passed, if there is one."""
        passed = time.monotonic() - self._saved_at
        return self._seconds is not None and passed >= self._seconds

    def is_due(self, steps: int, *, at_epoch_end: bool) -> bool:
        """Whether to save now.

        Args:
            steps: The number of steps made so far.
            at_epoch_end: Whether an epoch has ended.
        """
        if self._seconds is not None:
            return self.is_time()
        if self.save_freq == "epoch":
            return at_epoch_end
        # A Loop ends its calls at multiples of `batch_hook_freq`, so none is missed.
        return not at_epoch_end and steps % int(self.save_freq) == 0

    def saved(self) -> None:
        """Record that the run has just been saved."""
        self._saved_at = time.monotonic()

    def on_train_begin(self, logs: Any = None) -> None:
        """Restore what can be restored in `keras.Model.fit`."""
        self._saved_at = time.monotonic()
        if self._driven:
            return
        self._steps = self._epoch = self._epoch_start = 0
        # `keras.Model.fit` does not notify callbacks when an error ends it.
        self.files.begin(lasting=False)
        saved = self.files.read()
        if saved is not None:
            self._restore(saved)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Record which epoch begins."""
        self._epoch = epoch
        self._epoch_start = self._steps

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Save, if it is due."""
        if self._driven:
            return
        before = self._steps
        self._steps = self._epoch_start + batches_done(self, batch)
        frequency = self.batch_hook_freq
        if frequency == "epoch":
            due = self.is_due(self._steps, at_epoch_end=False)
        else:
            # Several steps per call may pass a multiple without hitting it.
            due = self._steps // frequency > before // frequency
        if due:
            self._save(self._epoch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Save, if it is due."""
        if not self._driven and self.is_due(self._steps, at_epoch_end=True):
            self._save(epoch + 1)

    def on_train_end(self, logs: Any = None) -> None:
        """Wait until everything is written."""
        self.files.close()

    def _save(self, epoch: int) -> None:
        variables = run_variables(self.model, self.model.optimizer, {})
        state = {
            "loop": {"epoch": epoch},
            "random": host_random.get_state(),
            "variables": [list(one.description) for one in variables],
        }
        self.files.write([one.variable for one in variables], state)
        self.saved()

    def _restore(self, saved: Any) -> None:
        check_stock(saved)
        optimizer = self.model.optimizer
        # Otherwise, most of its variables would be created in the first step.
        if self.model.built and not optimizer.built:
            optimizer.build(self.model.trainable_variables)
        restoration = Restoration(saved.path, saved.state["variables"], saved.variables)
        restoration.begin(run_variables(self.model, optimizer, {}))
        missing = restoration.missing(may_lack="metrics")
        if missing:
            restoration.undo()
            raise ValueError(
                f"The checkpoint {saved.path!r} has {missing}, which the model does "
                "not have yet. Build it before `fit`: `model.build(input_shape)`."
            )
        host_random.set_state(saved.state["random"])
        warnings.warn(
            f"Restored the variables of {saved.path!r}. keras.Model.fit lets a "
            "callback restore neither the order of the data nor the state of other "
            "callbacks, nor choose the epoch to begin with: pass "
            f"`initial_epoch={saved.state['loop']['epoch']}`. keras_ext.Trainer.fit "
            "with `resume=True` continues a run exactly.",
            stacklevel=2,
        )


def _directory(directory: str | os.PathLike[str]) -> str:
    """Return the path of a folder, else raise."""
    path = _checks.path("directory", directory)
    # A run that was saved under such a name can be continued.
    if path.endswith((".keras", ".h5")) and not os.path.isdir(path):
        raise ValueError(
            "`directory` must be a folder, for a whole run: weights, optimizer, and "
            f"where it is. Received: directory={path!r}, the name of a file. "
            "keras.callbacks.ModelCheckpoint saves a model in a file."
        )
    return path


def _signals(signals: Sequence[int]) -> tuple[int, ...]:
    """Return the numbers of signals that a process can handle, else raise."""
    deaf = {getattr(signal, name, None) for name in ("SIGKILL", "SIGSTOP")}
    try:
        numbers = tuple(signal.Signals(number) for number in signals)
        if deaf & set(numbers):
            raise ValueError(numbers)
        return numbers
    except (TypeError, ValueError):
        raise ValueError(
            "`signals` must be a sequence of signals that can be handled, such as "
            f"(signal.SIGTERM,). Received: signals={signals!r}"
        ) from None
