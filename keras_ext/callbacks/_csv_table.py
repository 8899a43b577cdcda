"""A CSV file that grows by rows and, when it must, by columns."""

import contextlib
import csv
import math
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping
from typing import IO, Any

MISSING = "NA"


class CSVTable:
    """Rows in a CSV file, every one on disk when `write` returns.

    A row with a new name rewrites the file with one more column, into a file beside
    it that then takes its place, so that at no moment a row is missing. A file that is
    to be replaced stays as it is until the first row comes, or `keep` is called.

    Args:
        filename: Path of the file. Missing folders are made.
        separator: One character.
        columns: The columns of a new file.
        append: Whether to keep the rows of a file that is there, adding the columns
            that it lacks.

    Raises:
        OSError: If the path can't be written.
        ValueError: If the file to append to is no table with the first column, or could
            not be kept cell by cell.
    """

    def __init__(
        self, filename: str, separator: str, columns: list[str], *, append: bool
    ) -> None:
        self._path = os.path.realpath(filename)
        self._separator = separator
        self.columns: list[str] = []
        _check_writable(self._path)
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        self._replaces = os.path.exists(self._path) and not append
        self.num_rows = 0
        rows: list[dict[str, str]] = []
        if append:
            self.columns, rows = self._read_table(columns[0])
        self._add_columns(columns)
        if self._replaces:
            self._try_to_write()
        else:
            self._rewrite(rows)

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row; names that are no columns yet become columns."""
        new = self._add_columns(row)
        if self._replaces:
            self._rewrite([row])
        elif new or not os.path.exists(self._path):
            self._rewrite([*self._read()[1], row])
        else:
            with open(self._path, "a", newline="", encoding="utf-8") as file:
                self._writer(file).writerow(row)
                _sync(file)
            self.num_rows += 1

    def keep(self, num_rows: int, columns: list[str]) -> bool:
        """Keep the first rows of the file that is there, and drop what follows them.

        Args:
            num_rows: How many rows to keep.
            columns: The columns to keep.

        Returns:
            Whether there were as many.
        """
        rows = self._read()[1][:num_rows]
        self.columns = list(columns)
        self._rewrite(
            {name: row.get(name, MISSING) for name in columns} for row in rows
        )
        return self.num_rows == num_rows

    def replace_last(self, row: Mapping[str, Any]) -> None:
        """Write `row` in place of the last one."""
        self._add_columns(row)
        self._rewrite([*self._read()[1][:-1], row])

    def largest(self, column: str) -> float:
        """Return the largest number in a column, 0 if there is none."""
        if self._replaces:
            return 0.0
        return max((_number(row.get(column)) for row in self._read()[1]), default=0.0)

    def _add_columns(self, names: Iterable[str]) -> bool:
        new = [name for name in names if name not in self.columns]
        self.columns += new
        return bool(new)

    def _read(self) -> tuple[list[str], list[dict[str, str]]]:
        """Return columns and rows; none if the file is not, or no longer, there."""
        if not os.path.exists(self._path):
            return [], []
        # Spreadsheets put a byte order mark in front, which is no part of a name.
        with open(self._path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter=self._separator, restval=MISSING)
            return list(reader.fieldnames or []), list(reader)

    def _read_table(self, expected: str) -> tuple[list[str], list[dict[str, str]]]:
        """Read a file of unknown origin, of which no cell may get lost."""
        try:
            columns, rows = self._read()
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(
                f"{self._path!r} is no log to append to: {error}. Choose another "
                "file, or append=False to replace it."
            ) from error
        if columns and expected not in columns:
            raise ValueError(
                f"{self._path!r} is no log to append to: expected a column "
                f"{expected!r}, separated by {self._separator!r}. Received: columns "
                f"{columns}. Choose another file, or append=False to replace it."
            )
        if len(set(columns)) < len(columns):
            raise ValueError(
                f"{self._path!r} can't be appended to: expected a header that names "
                f"every column once. Received: {columns}. Repair it, or choose another "
                "file."
            )
        for number, row in enumerate(rows, start=2):
            if None in row:
                raise ValueError(
                    f"{self._path!r} can't be appended to: line {number} has more "
                    f"cells than the header, which names {columns}. Repair it, or "
                    "choose another file."
                )
        return columns, rows

    def _try_to_write(self) -> None:
        """Raise unless the file could be replaced."""
        beside = f"{self._path}.{secrets.token_hex(4)}.new"
        with open(beside, "x", encoding="utf-8"):
            os.remove(beside)

    def _rewrite(self, rows: Iterable[Mapping[str, Any]]) -> None:
        rows = list(rows)
        beside = f"{self._path}.{secrets.token_hex(4)}.new"
        try:
            with open(beside, "x", newline="", encoding="utf-8") as file:
                writer = self._writer(file)
                writer.writeheader()
                writer.writerows(rows)
                _sync(file)
            if os.path.exists(self._path):
                shutil.copymode(self._path, beside)
            os.replace(beside, self._path)
            self.num_rows, self._replaces = len(rows), False
        except BaseException:
            with contextlib.suppress(OSError):
                os.remove(beside)
            raise

    def _writer(self, file: IO[str]) -> "csv.DictWriter[str]":
        return csv.DictWriter(
            file, self.columns, restval=MISSING, delimiter=self._separator
        )


def _check_writable(path: str) -> None:
    """Raise unless a file can be, or need not be, replaced at `path`."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError("not a regular file")
    if os.path.exists(path) and not os.access(path, os.W_OK):
        raise PermissionError("the file is write-protected")


def _number(cell: str | None) -> float:
    """Return the number in a cell, 0 where there is none."""
    try:
        number = float(cell or 0)
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0


def _sync(file: IO[str]) -> None:
    file.flush()
    os.fsync(file.fileno())
