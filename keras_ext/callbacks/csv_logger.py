"""A log of the training as a CSV file that is right at every moment."""

import os
import time
from collections.abc import Iterable
from typing import Any, Literal

import keras
import numpy as np

from keras_ext import _checks
from keras_ext.callbacks._csv_table import MISSING, CSVTable
from keras_ext.callbacks._learning_rate import read_learning_rate

_COLUMNS = ["epoch", "step", "seconds", "learning_rate"]


class CSVLogger(keras.callbacks.Callback):
    """Writes epochs, or every so many steps, as rows of a CSV file.

    A drop-in for `keras.callbacks.CSVLogger` whose columns are always right: what is
    logged gets a column, also when it first appears in a later epoch or on
    `append=True`, and nothing else does. The file is on disk after every row.

    Columns: `epoch` (from 0); `step`, the number of steps made so far; `seconds` since
    training began; `learning_rate` of the optimizer; then everything in the logs,
    training before validation, each in alphabetical order, and what comes later behind.
    A cell without a value holds `NA`. A logged quantity that is itself called `epoch`,
    `step` or `seconds` gets the column `logged_epoch` and so on.

    Args:
        filename: Path of the file; missing folders are made.
        separator: One character between the cells. Default: `","`.
        append: `True` continues a file that exists, its `step` and `seconds` included;
            `False` replaces it. Default: `False`.
        update_freq: `"epoch"` writes one row per epoch. A positive integer writes one
            every so many steps as well, with the running values; the row of the
            epoch's last step is the epoch's own. Default: `"epoch"`.

    Raises:
        ValueError: If an argument is out of range; when training begins, if the file
            to append to is not such a log.
        OSError: When training begins, if the file can't be written.

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

    With `steps_per_execution > 1` in `Model.fit`, a row comes with the first call that
    reaches or passes a multiple of `update_freq`. An optimizer that holds a schedule
    reports the rate of the step to come.
    """

    def __init__(
        self,
        filename: str | os.PathLike[str],
        separator: str = ",",
        append: bool = False,
        *,
        update_freq: Literal["epoch"] | int = "epoch",
    ) -> None:
        super().__init__()
        if not isinstance(separator, str) or len(separator) != 1:
            raise ValueError(
                f"`separator` must be one character. Received: separator={separator!r}"
            )
        if update_freq != "epoch":
            update_freq = _checks.positive_int("update_freq", update_freq)
        self.filename = os.fspath(filename)
        self.separator = separator
        self.append = append
        self.update_freq = update_freq

    def on_train_begin(self, logs: Any = None) -> None:
        """Open the file, so that a path that can't be written is known at once."""
        try:
            self._table = CSVTable(
                self.filename, self.separator, _COLUMNS, append=self.append
            )
        except OSError as error:
            raise OSError(
                f"CSVLogger cannot write {self.filename!r}: {error}. Expected the path "
                "of a file that may be created or replaced."
            ) from error
        last = self._table.last_row
        self._step = self._epoch_start = int(_number(last.get("step")))
        self._begin = time.perf_counter() - _number(last.get("seconds"))
        self._epoch = 0
        self._written: int | None = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note where the epoch begins."""
        self._epoch = epoch
        self._epoch_start = self._step

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count the steps, and write a row if one is due."""
        done = batch + 1
        steps = (self.params or {}).get("steps")
        if steps is not None:
            # Keras numbers the last call of an epoch beyond the epoch's end.
            done = min(done, steps)
        before, self._step = self._step, self._epoch_start + done
        if self.update_freq == "epoch":
            return
        if self._step // self.update_freq > before // self.update_freq:
            self._table.write(self._row(logs))
            self._written = self._step

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write the epoch's row."""
        if self._written == self._step:
            self._table.replace_last(self._row(logs))
        else:
            self._table.write(self._row(logs))
        self._written = self._step

    def _row(self, logs: Any) -> dict[str, Any]:
        logs = dict(logs or {})
        rate = logs.pop("learning_rate", None)
        row = {
            "epoch": self._epoch,
            "step": self._step,
            "seconds": f"{time.perf_counter() - self._begin:.3f}",
            "learning_rate": self._learning_rate() if rate is None else _cell(rate),
        }
        for name in sorted(logs, key=lambda name: (name.startswith("val_"), name)):
            column = f"logged_{name}" if name in row else name
            row[column] = _cell(logs[name])
        return row

    def _learning_rate(self) -> Any:
        optimizer = getattr(self.model, "optimizer", None)
        if getattr(optimizer, "learning_rate", None) is None:
            return MISSING
        return read_learning_rate(optimizer)


def _number(cell: str | None) -> float:
    """Return the number in a cell of an earlier row, 0 where there is none."""
    try:
        return float(cell or 0)
    except ValueError:
        return 0.0


def _cell(value: Any) -> Any:
    """Return a number as it is and an array as `[a, b, ...]`."""
    if isinstance(value, np.ndarray) and value.ndim:
        value = value.tolist()
    if isinstance(value, Iterable) and not isinstance(value, (str, np.ndarray)):
        return f"[{', '.join(map(str, value))}]"
    return value
