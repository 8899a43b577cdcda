"""A log of training as a CSV file that is correct at any time."""

import contextlib
import os
import pathlib
import time
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import keras
import numpy as np

from keras_ext import _checks
from keras_ext.callbacks._batches import batches_done
from keras_ext.callbacks._csv_table import MISSING, CSVTable
from keras_ext.callbacks._learning_rate import read_learning_rates
from keras_ext.callbacks.training_callback import TrainingCallback

_COLUMNS = ["epoch", "step", "seconds", "learning_rate"]


class CSVLogger(TrainingCallback):
    """Writes epochs, or the logs every few steps, as rows of a CSV file.

    A drop-in replacement for `keras.callbacks.CSVLogger` whose columns are always
    right: whatever is logged gets a column, even if it first appears in a later epoch
    or with `append=True`, and nothing else does. The file is on disk after every row.

    Columns: `epoch` (from 0); `step`, the number of steps made so far; `seconds` since
    training began; `learning_rate` of the optimizer; then everything in the logs,
    training before validation, each in alphabetical order, followed by later additions.
    A cell without a value holds `NA`. A logged quantity that is itself called `epoch`,
    `step` or `seconds` gets the column `logged_epoch` and so on. A `MultiOptimizer` has
    a column `learning_rate_<name>` for each of its optimizers.

    Args:
        filename: Path of a local file; missing folders are created. A relative path is
            resolved immediately: a later `os.chdir` does not move the log.
        separator: One character between the cells, not a quotation mark or line break.
            Default: `","`.
        append: `True` continues an existing file, including its `step` and `seconds`;
            `False` replaces it when the first row is written. Default: `False`. A run
            that is continued (`resume=`) continues its file in either case.
        update_freq: `"epoch"` writes one row per epoch. A positive integer `n` also
            writes one every `n` steps of this training, with the running values; the
            row of the epoch's last step is the epoch's own. Default: `"epoch"`.

    Raises:
        ValueError: If an argument is out of range; when training begins, if the file to
            append to is not such a log; during training, if another program has turned
            it into something else.
        OSError: If the file cannot be written; raised when training begins.

    Example:

    >>> import pathlib, tempfile
    >>> import keras
    >>> import numpy as np
    >>> from keras_ext.callbacks import CSVLogger
    >>> filename = pathlib.Path(tempfile.mkdtemp(), "log.csv")
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(keras.optimizers.SGD(0.5), loss="mse")
    >>> history = model.fit(
    ...     np.zeros((40, 2)), np.zeros((40, 1)), epochs=2, verbose=0,
    ...     callbacks=[CSVLogger(filename)],
    ... )
    >>> print(filename.read_text())
    epoch,step,seconds,learning_rate,loss
    0,2,...,0.5,0.0
    1,4,...,0.5,0.0

    With `steps_per_execution > 1` in `Model.fit`, a row is written after the first call
    that reaches or passes a multiple of `update_freq`; if the number of batches per
    epoch is unknown (a generator), its last call counts as a full one. An optimizer
    that holds a schedule reports the rate of the next step.

    If another program changes the file during training, the rows that it left are kept
    and the next ones follow, below a matching header; a file that was removed or
    emptied is started again. Two training runs need two files.
    """

    chief_only = True

    def __init__(
        self,
        filename: str | os.PathLike[str],
        separator: str = ",",
        append: bool = False,
        *,
        update_freq: Literal["epoch"] | int = "epoch",
    ) -> None:
        super().__init__()
        self.filename = _local_path(filename)
        # A relative path keeps its meaning after a change of the working directory.
        self._path = str(pathlib.Path(self.filename).absolute())
        self.separator = _one_character(separator)
        self.append = append
        self.update_freq = self.batch_hook_freq = _epoch_or_steps(update_freq)
        self._appended_to = 0
        self._written: int | None = None
        self._kept: dict[str, Any] | None = None

    def get_state(self) -> dict[str, Any]:
        """Return what the file contains, for a run that is continued from here."""
        if self._kept is not None:
            return self._kept
        return {
            "rows": self._table.num_rows,
            "columns": self._table.columns,
            "seconds": time.perf_counter() - self._begin,
            "appended_to": self._appended_to,
            "epoch": self._epoch,
            "epoch_start": self._epoch_start,
            "step": self._step,
            "written": self._written,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue the saved file: later rows are dropped, earlier ones kept.

        This happens when training continues; until then the file is unchanged.

        Raises:
            ValueError: If `state` is not one that `get_state` returns.
        """
        for name in ("rows", "appended_to", "epoch", "epoch_start", "step"):
            _checks.non_negative_int(name, state[name])
        _checks.optional(_checks.non_negative_int, "written", state["written"])
        _checks.number("seconds", state["seconds"], low=0)
        columns = state["columns"]
        if not isinstance(columns, list) or not all(
            isinstance(name, str) for name in columns
        ):
            raise ValueError(f"`columns` must be names. Received: {columns!r}")
        self._kept = state
        self._begin = time.perf_counter() - state["seconds"]
        self._appended_to = state["appended_to"]
        self._epoch = state["epoch"]
        self._epoch_start = state["epoch_start"]
        self._step = state["step"]
        self._written = state["written"]

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Name the file that cannot be written."""
        try:
            yield
        except OSError as error:
            raise OSError(
                f"CSVLogger cannot write {self._path!r}: {error}. Expected the path of "
                "a file that may be created or replaced."
            ) from error

    def _drop_later_rows(self) -> None:
        """Drop the rows that were written after the run was saved."""
        kept, self._kept = self._kept, None
        if kept is not None and not self._table.keep(kept["rows"], kept["columns"]):
            warnings.warn(
                f"The log {self._path!r} has {self._table.num_rows} rows; there "
                f"were {kept['rows']} when the run was saved. The missing rows cannot "
                "be restored.",
                stacklevel=3,
            )

    def on_train_begin(self, logs: Any = None) -> None:
        """Open the file, so that a path that cannot be written raises immediately."""
        with self._writing():
            self._table = CSVTable(
                self._path, self.separator, _COLUMNS, append=self.append
            )
        self._appended_to = int(self._table.largest("step"))
        self._step = self._epoch_start = self._appended_to
        self._begin = time.perf_counter() - self._table.largest("seconds")
        self._epoch = 0
        self._written = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note where the epoch begins."""
        self._epoch = epoch
        self._epoch_start = self._step
        self._written = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count the steps, and write a row if one is due."""
        with self._writing():
            self._drop_later_rows()
        before = self._step
        self._step = self._epoch_start + batches_done(self, batch)
        if self.update_freq == "epoch":
            return
        # Only those of this training count: the file may have any number from before.
        first, every = self._appended_to, self.update_freq
        if (self._step - first) // every > (before - first) // every:
            with self._writing():
                self._table.write(self._row(logs))
            self._written = self._step

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write the epoch's row."""
        with self._writing():
            self._drop_later_rows()
            if self._written == self._step:
                self._table.replace_last(self._row(logs))
            else:
                self._table.write(self._row(logs))

    def _row(self, logs: Any) -> dict[str, Any]:
        rates = read_learning_rates(getattr(self.model, "optimizer", None))
        values = {**rates, **(logs or {})}
        row = {
            "epoch": self._epoch,
            "step": self._step,
            "seconds": f"{time.perf_counter() - self._begin:.3f}",
            "learning_rate": _cell(values.pop("learning_rate", MISSING)),
        }
        for name in sorted(values, key=lambda name: (name.startswith("val_"), name)):
            column = name
            while column in row:
                column = f"logged_{column}"
            row[column] = _cell(values[name])
        return row


def _local_path(filename: str | os.PathLike[str]) -> str:
    """Return `filename` as a string, or raise if it is a URL."""
    path = _checks.path("filename", filename)
    if "://" in path:
        raise ValueError(
            "`filename` must be a path in the local file system, where rows can be "
            f"appended one by one. Received: filename={path!r}. Log to a local file "
            "and copy it."
        )
    return path


def _one_character(separator: str) -> str:
    """Return `separator` if it can separate cells, else raise."""
    valid = isinstance(separator, str) and len(separator) == 1
    if not valid or separator in '"\r\n\0':
        raise ValueError(
            "`separator` must be one character, not a quotation mark or line break. "
            f"Received: separator={separator!r}"
        )
    return separator


def _epoch_or_steps(update_freq: Any) -> Any:
    """Return `update_freq` if it is `"epoch"` or a number of steps, else raise."""
    if isinstance(update_freq, str) and update_freq == "epoch":
        return update_freq
    try:
        return _checks.positive_int("update_freq", update_freq)
    except ValueError:
        raise ValueError(
            "`update_freq` must be 'epoch' or a positive integer, the number of steps "
            f"between two rows. Received: update_freq={update_freq!r}"
        ) from None


def _cell(value: Any) -> Any:
    """Return a number unchanged and an array as `[a, b, ...]`."""
    if keras.ops.is_tensor(value):
        value = keras.ops.convert_to_numpy(value)
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, Iterable) and not isinstance(value, str):
        return f"[{', '.join(map(str, value))}]"
    return value
