"""A CSV file that grows by rows and, if necessary, by columns."""

import contextlib
import csv
import io
import math
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

MISSING = "NA"


class CSVTable:
    """Rows in a CSV file, each on disk when `write` returns.

    A row with a new name rewrites the file with one more column, into a temporary file
    that then replaces it, so that no row is missing at any time. A file to be replaced
    stays unchanged until the first row is written or `keep` is called. If another
    program has changed the file since the last row, it is read again, and rewritten
    with the next row.

    Args:
        filename: Path of the file. Missing folders are created.
        separator: One character.
        columns: The columns of a new file.
        append: Whether to keep the rows of an existing file, adding the columns that it
            lacks.

    Raises:
        OSError: If the path cannot be written.
        ValueError: If the file to append to is not a table with the first column, or
            could not be preserved cell by cell.
    """

    def __init__(
        self, filename: str, separator: str, columns: list[str], *, append: bool
    ) -> None:
        self._path = os.path.realpath(filename)
        self._separator = separator
        self._key = columns[0]
        self.columns: list[str] = []
        _check_writable(self._path)
        self._replaces = os.path.exists(self._path) and not append
        self.num_rows = 0
        # The last row and its columns, its position, and the end of the file.
        self._last: tuple[bytes, list[str]] = b"", []
        self._last_begin = self._end = 0
        rows: list[dict[str, str]] = []
        if append:
            self.columns, rows = self._read_table(
                "Choose another file, or append=False to replace it."
            )
        self._add_columns(columns)
        if self._replaces:
            self._try_to_write()
        else:
            self._rewrite(rows)

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row; new names become columns."""
        if self._replaces:
            self._add_columns(row)
            self._rewrite([row])
        elif self._add_columns(row) or self._was_changed():
            self._rewrite([*self._read_again(), row])
        else:
            self._put(row, self._end)
            self.num_rows += 1

    def keep(self, num_rows: int, columns: list[str]) -> bool:
        """Keep the first rows of the existing file, and drop the others.

        Args:
            num_rows: How many rows to keep.
            columns: The columns to keep.

        Returns:
            Whether there were that many.

        Raises:
            ValueError: If the file is not a table with the first column.
        """
        rows = self._read_table(
            "It was changed since the run was saved: restore it, or remove it."
        )[1][:num_rows]
        self.columns = list(columns)
        self._rewrite(
            {name: row.get(name, MISSING) for name in columns} for row in rows
        )
        return self.num_rows == num_rows

    def replace_last(self, row: Mapping[str, Any]) -> None:
        """Write `row` in place of the last row."""
        if not (self._add_columns(row) or self._was_changed()):
            self._put(row, self._last_begin)
            return
        (last, columns), rows = self._last, self._read_again()
        if rows and self._encoded(rows[-1], columns) == last:
            del rows[-1]
        self._rewrite([*rows, row])

    def largest(self, column: str) -> float:
        """Return the largest number in a column, or 0 if there is none."""
        if self._replaces:
            return 0.0
        return max((_number(row.get(column)) for row in self._read()[1]), default=0.0)

    def _add_columns(self, names: Iterable[str]) -> bool:
        new = [name for name in names if name not in self.columns]
        self.columns += new
        return bool(new)

    def _was_changed(self) -> bool:
        """Whether another program has changed the file's length or header."""
        try:
            with open(self._path, "rb") as file:
                header = self._encoded({name: name for name in self.columns})
                length = os.fstat(file.fileno()).st_size
                return length != self._end or file.read(len(header)) != header
        except FileNotFoundError:
            return True

    def _read_again(self) -> list[dict[str, str]]:
        """Return the current rows, and adopt columns that others added."""
        columns, rows = self._read_table(
            "Another program has changed it during training: prevent it from writing "
            "to the file."
        )
        self._add_columns(columns)
        return rows

    def _put(self, row: Mapping[str, Any], begin: int) -> None:
        """Write the last row in one piece, so that no row is missing at any time."""
        line, replaced = self._encoded(row), self._end - begin
        with open(self._path, "r+b") as file:
            file.seek(begin)
            # A longer old row is first replaced by empty lines, which all readers skip.
            file.write(line.ljust(replaced, b"\n"))
            file.flush()
            if len(line) < replaced:
                file.truncate(begin + len(line))
            _sync(file)
        self._note_last(line, begin + len(line))

    def _note_last(self, line: bytes, end: int) -> None:
        """Note the last row and its position."""
        self._last = line, list(self.columns)
        self._last_begin, self._end = end - len(line), end

    def _encoded(
        self, row: Mapping[str, Any], columns: list[str] | None = None
    ) -> bytes:
        text = io.StringIO(newline="")
        self._writer(text, columns).writerow(row)
        return text.getvalue().encode()

    def _read(self) -> tuple[list[str], list[dict[str, str]]]:
        """Return columns and rows; none if the file does not exist."""
        if not os.path.exists(self._path):
            return [], []
        # Spreadsheets prepend a byte order mark, which is not part of a name.
        with open(self._path, newline="", encoding="utf-8-sig") as file, _long_cells():
            reader = csv.DictReader(file, delimiter=self._separator, restval=MISSING)
            return list(reader.fieldnames or []), list(reader)

    def _read_table(self, advice: str) -> tuple[list[str], list[dict[str, str]]]:
        """Read a file of unknown origin without losing any cell.

        Args:
            advice: What to do if that is not possible.
        """
        try:
            columns, rows = self._read()
            problem = self._problem(columns, rows)
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(
                f"{self._path!r} is not a log to append to: {error}. {advice}"
            ) from error
        if problem:
            raise ValueError(
                f"{self._path!r} is not a log to append to: {problem}. {advice}"
            )
        return columns, rows

    def _problem(self, columns: list[str], rows: list[dict[str, str]]) -> str | None:
        """Return what was expected and what was found, if the file is not a log."""
        if columns and self._key not in columns:
            return (
                f"expected a column {self._key!r}, separated by {self._separator!r}. "
                f"Received: columns {columns}"
            )
        if len(set(columns)) < len(columns):
            return (
                "expected a header that names every column once. "
                f"Received: columns {columns}"
            )
        for number, row in enumerate(rows, start=2):
            if None in row:
                return (
                    "expected no more cells than the header names. Received: line "
                    f"{number} with more, below the columns {columns}"
                )
        return None

    def _try_to_write(self) -> None:
        """Raise unless the file can be replaced."""
        beside = f"{self._path}.{secrets.token_hex(4)}.new"
        with open(beside, "x", encoding="utf-8"):
            os.remove(beside)

    def _rewrite(self, rows: Iterable[Mapping[str, Any]]) -> None:
        rows = list(rows)
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        beside = f"{self._path}.{secrets.token_hex(4)}.new"
        try:
            with open(beside, "x", newline="", encoding="utf-8") as file:
                writer = self._writer(file)
                writer.writeheader()
                writer.writerows(rows)
                _sync(file)
            if os.path.exists(self._path):
                shutil.copymode(self._path, beside)
            end = os.path.getsize(beside)
            os.replace(beside, self._path)
            self.num_rows, self._replaces = len(rows), False
            self._note_last(self._encoded(rows[-1]) if rows else b"", end)
        except BaseException:
            with contextlib.suppress(OSError):
                os.remove(beside)
            raise

    def _writer(
        self, file: IO[str], columns: list[str] | None = None
    ) -> "csv.DictWriter[str]":
        return csv.DictWriter(
            file,
            columns or self.columns,
            restval=MISSING,
            extrasaction="ignore",
            delimiter=self._separator,
        )


@contextlib.contextmanager
def _long_cells() -> Iterator[None]:
    """Allow cells of any length: an array may exceed Python's limit."""
    limit = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _check_writable(path: str) -> None:
    """Raise unless the file at `path` does not exist or can be replaced."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError("not a regular file")
    if os.path.exists(path) and not os.access(path, os.W_OK):
        raise PermissionError("the file is write-protected")


def _number(cell: str | None) -> float:
    """Return the number in a cell, or 0 if there is none."""
    try:
        number = float(cell or 0)
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0


def _sync(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())
