"""The results of a benchmark, as a table, as CSV and as a picture."""

import csv
import pathlib
from collections.abc import Sequence

from race import Row

HEADER = (
    "group",
    "workload",
    "ours",
    "reference",
    "unit",
    "our median",
    "reference median",
    "ratio of",
    "ratio",
    "min",
    "max",
    "at least",
    "at most",
    "aim",
    "met",
    "our accuracy",
    "reference accuracy",
)
CSV_ONLY = ("group", "our accuracy", "reference accuracy")


def cells(row: Row) -> tuple[str, ...]:
    """Return one row of the results as text, in the order of `HEADER`."""
    goal = row.goal
    return (
        row.group,
        row.workload,
        row.ours.name,
        row.reference.name,
        row.unit,
        _number(row.ours.median),
        _number(row.reference.median),
        "ours/reference" if goal.ours_first else "reference/ours",
        _number(row.ratio),
        _number(min(row.ratios)),
        _number(max(row.ratios)),
        _number(goal.at_least),
        _number(goal.at_most),
        _number(goal.aim),
        {True: "yes", False: "NO", None: ""}[row.is_met],
        _number(row.ours.accuracy),
        _number(row.reference.accuracy),
    )


def in_short(row: Row) -> str:
    """Return one row of the results as a line, for when it is measured."""
    low, high = min(row.ratios), max(row.ratios)
    return (
        f"{row.workload}: {row.ours.name} vs {row.reference.name}: "
        f"{_number(row.ratio)} ({_number(low)} to {_number(high)})"
    )


def for_screen(lines: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return lines of all cells except those that only the CSV has."""
    return [
        [
            cell
            for cell, column in zip(line, HEADER, strict=True)
            if column not in CSV_ONLY
        ]
        for line in lines
    ]


def as_table(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of cells in columns as wide as needed; the first is the header."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines = [lines[0], ["-" * width for width in widths], *lines[1:]]
    return "\n".join(
        "  ".join(
            cell.ljust(width) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def write_csv(path: pathlib.Path, lines: Sequence[Sequence[str]]) -> None:
    """Write lines of cells, the first of them the names of the columns."""
    beside = path.with_name(f"new-{path.name}")
    with beside.open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    beside.replace(path)


def draw(path: pathlib.Path, rows: Sequence[Row], title: str) -> bool:
    """Draw how many times as fast ours is, and limits; False without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 1.5 + 0.35 * len(rows)))
    for at, row in enumerate(rows):
        low, high = min(row.speedups), max(row.speedups)
        middle = 1 / row.ratio if row.goal.ours_first else row.ratio
        color = "tab:red" if row.is_met is False else "tab:blue"
        axes.barh(at, middle, color=color, alpha=0.6)
        axes.plot([low, high], [at, at], color="black", linewidth=1)
        for value, mark in ((_limit(row), "|"), (_aim(row), ".")):
            if value is not None:
                axes.plot(value, at, mark, color="black", markersize=14)
    names = [f"{row.workload}: {row.ours.name} vs {row.reference.name}" for row in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=8)
    axes.invert_yaxis()
    axes.axvline(1, color="gray", linewidth=0.5)
    axes.set_xscale("log")
    axes.set_xlabel("reference / ours (| required, dot: aim, line: min to max)")
    axes.set_title(title, fontsize=8)
    figure.tight_layout()
    beside = path.with_name(f"new-{path.name}")
    figure.savefig(beside, dpi=120)
    beside.replace(path)
    pyplot.close(figure)
    return True


def _limit(row: Row) -> float | None:
    """Return the requirement as `reference / ours`."""
    return 1 / row.goal.at_most if row.goal.at_most else row.goal.at_least


def _aim(row: Row) -> float | None:
    """Return the aim as `reference / ours`."""
    return 1 / row.goal.aim if row.goal.aim and row.goal.ours_first else row.goal.aim


def _number(value: float | None) -> str:
    """Return a number with at least three digits; nothing if None."""
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
