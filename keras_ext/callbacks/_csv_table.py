"""A CSV file that grows by rows and, when it must, by columns."""

import csv
import os
from collections.abc import Iterable, Mapping
from typing import IO, Any

MISSING = "NA"


class CSVTable:
    """Rows in a CSV file, every one on disk when `write` returns.

    A row with a new name rewrites the file with one more column, into a file beside
    it that then takes its place, so that at no moment a row is missing.

    Args:
        filename: Path of the file. Missing folders are made.
        separator: One character.
        columns: The columns of a new file.
        append: Whether to keep the rows of a file that is there, adding the columns
            that it lacks.

    Raises:
        OSError: If the path can't be written.
        ValueError: If the file to append to is not a table with the first column.
    """

    def __init__(
        self, filename: str, separator: str, columns: list[str], *, append: bool
    ) -> None:
        self._path = os.path.realpath(filename)
        self._separator = separator
        self.columns: list[str] = []
        if os.path.exists(self._path) and not os.path.isfile(self._path):
            raise OSError("not a regular file")
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        rows: list[dict[str, str]] = []
        if append and os.path.exists(self._path):
            self.columns, rows = self._read()
            self._check_readable(rows, columns[0])
        self.last_row = rows[-1] if rows else {}
        self._add_columns(columns)
        self._rewrite(rows)

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row; names that are no columns yet become columns."""
        if self._add_columns(row):
            self._rewrite([*self._read()[1], row])
            return
        with open(self._path, "a", newline="", encoding="utf-8") as file:
            self._writer(file).writerow(row)
            _sync(file)

    def replace_last(self, row: Mapping[str, Any]) -> None:
        """Write `row` in place of the last one."""
        self._add_columns(row)
        self._rewrite([*self._read()[1][:-1], row])

    def _add_columns(self, names: Iterable[str]) -> bool:
        new = [name for name in names if name not in self.columns]
        self.columns += new
        return bool(new)

    def _read(self) -> tuple[list[str], list[dict[str, str]]]:
        with open(self._path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, delimiter=self._separator, restval=MISSING)
            return list(reader.fieldnames or []), list(reader)

    def _check_readable(self, rows: list[dict[str, str]], expected: str) -> None:
        if self.columns and expected not in self.columns:
            raise ValueError(
                f"{self._path!r} is no log to append to: expected a column "
                f"{expected!r}, separated by {self._separator!r}. Received: columns "
                f"{self.columns}. Choose another file, or append=False."
            )
        for number, row in enumerate(rows, start=2):
            if None in row:
                raise ValueError(
                    f"{self._path!r} can't be appended to: line {number} has more "
                    f"cells than the header, which names {self.columns}. Repair it, "
                    "or choose another file."
                )

    def _rewrite(self, rows: Iterable[Mapping[str, Any]]) -> None:
        beside = f"{self._path}.new"
        with open(beside, "w", newline="", encoding="utf-8") as file:
            writer = self._writer(file)
            writer.writeheader()
            writer.writerows(rows)
            _sync(file)
        os.replace(beside, self._path)

    def _writer(self, file: IO[str]) -> "csv.DictWriter[str]":
        return csv.DictWriter(
            file, self.columns, restval=MISSING, delimiter=self._separator
        )


def _sync(file: IO[str]) -> None:
    file.flush()
    os.fsync(file.fileno())
