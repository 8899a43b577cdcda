"""Contestants that take turns, and the ratios of their times."""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


def _nothing() -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Contestant:
    """Something that makes training steps, or other work counted in steps.

    Args:
        name: Its name in the table.
        run: Does the work; may return an accuracy, which shows that it was done.
        steps: How many steps `run` makes.
        prepare: Called before every `run`, and not timed.
        warm_ups: How often to run it before the first round.
    """

    name: str
    run: Callable[[], float | None]
    steps: int
    prepare: Callable[[], None] = _nothing
    warm_ups: int = 1


@dataclass(frozen=True)
class Score:
    """The results of one contestant: a value per round, and the last accuracy."""

    name: str
    values: list[float]
    accuracy: float | None = None

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.values)


@dataclass(frozen=True)
class Goal:
    """The goal for a ratio.

    Args:
        at_least: Lower limit of `reference / ours`.
        at_most: Upper limit of `ours / reference`.
        aim: Value to aim for beyond the limit.
        relative: Whether the ratio is `ours / reference`. Default: with `at_most`.
    """

    at_least: float | None = None
    at_most: float | None = None
    aim: float | None = None
    relative: bool | None = None

    @property
    def ours_first(self) -> bool:
        """Whether the ratio is `ours / reference`."""
        return self.at_most is not None if self.relative is None else self.relative

    def is_met(self, ratio: float) -> bool | None:
        """Whether `ratio` is within the limit; `None` if there is no limit."""
        if self.at_least is not None:
            return ratio >= self.at_least
        return None if self.at_most is None else ratio <= self.at_most


@dataclass(frozen=True)
class Row:
    """One line of the table: ours against a reference."""

    group: str
    workload: str
    ours: Score
    reference: Score
    goal: Goal
    unit: str = "ms/step"

    @property
    def speedups(self) -> list[float]:
        """`reference / ours` in each round."""
        pairs = zip(self.ours.values, self.reference.values, strict=True)
        return [reference / ours for ours, reference in pairs]

    @property
    def ratios(self) -> list[float]:
        """The ratio of each round, in the direction of the goal."""
        if self.goal.ours_first:
            return [1 / speedup for speedup in self.speedups]
        return self.speedups

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios."""
        return statistics.median(self.ratios)

    @property
    def is_met(self) -> bool | None:
        """Whether the requirement is met; `None` if there is none."""
        return self.goal.is_met(self.ratio)


def race(contestants: Sequence[Contestant], rounds: int) -> dict[str, Score]:
    """Let all warm up, then take turns; return ms per step, by name.

    Every other round is run in reverse order, so that none always follows the same one.
    """
    for contestant in contestants:
        for _ in range(contestant.warm_ups):
            contestant.prepare()
            contestant.run()
    values: dict[str, list[float]] = {each.name: [] for each in contestants}
    accuracies: dict[str, float | None] = {}
    for number in range(rounds):
        for contestant in contestants if number % 2 == 0 else contestants[::-1]:
            seconds, accuracy = _timed(contestant)
            values[contestant.name].append(1e3 * seconds / contestant.steps)
            accuracies[contestant.name] = accuracy
    return {name: Score(name, values[name], accuracies[name]) for name in values}


def _timed(contestant: Contestant) -> tuple[float, float | None]:
    """Run a contestant once; return the seconds and its accuracy."""
    contestant.prepare()
    gc.collect()
    begin = time.perf_counter()
    accuracy = contestant.run()
    return time.perf_counter() - begin, accuracy
