"""Kills a training at random moments, lets it go on, and compares how it ends.

Shared by `test_killed_runs.py` and `benchmarks/kill_test.py`. Imports neither Keras nor
TensorFlow: what is killed is a process of its own, see `resumable_program.py`, forked
from one that has imported them.
"""

import contextlib
import csv
import itertools
import os
import pathlib
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields

import numpy as np

from tests.training.fork_server import ONE_THREAD, ForkServer

ROOT = pathlib.Path(__file__).parents[2]
NO_GPU = {"CUDA_VISIBLE_DEVICES": "-1"}
SEED = 1  # of the run that nobody kills
PATIENCE = 180  # seconds that a process may take, however busy the machine is
WINDOW = 0.5, 3.0  # seconds after "training", between which a process is killed
MOMENT = 0.002  # seconds that a write goes on at most before a process is killed in it
EARLY = 0.1  # share of the kills that do not wait for the first checkpoint

_slots = threading.Semaphore(2)  # more at once only wait for each other


def _server() -> ForkServer:
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning"]
    # What it says without /dev/shm when Keras imports scikit-learn.
    command += ["-W", "ignore::UserWarning:joblib._multiprocessing_helpers"]
    return ForkServer(
        [*command, "-m", "tests.training.resumable_program", "--serve"],
        cwd=ROOT,
        # A GPU adds up in an order of its own each time.
        env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, **NO_GPU, **ONE_THREAD},
    )


# In turns: what differs between programs, as the order of a set, must not matter.
_servers = itertools.cycle([_server(), _server()])


@dataclass(frozen=True)
class Kind:
    """A way to train: the data, who drives, how many steps at once, when it saves.

    Args:
        name: What the tables call it.
        options: Options of the program.
    """

    name: str
    options: tuple[str, ...]

    @property
    def slow(self) -> tuple[str, ...]:
        """The options with which it takes long enough to be killed on the way."""
        seconds = "0.05" if "--every-step" in self.options else "0.07"
        return (*self.options, "--slow", seconds, "--slow-files", "0.1")


def _kind(data: str, driver: str, steps: str, save_freq: str, *more: str) -> Kind:
    every = ("--every-step",) if steps == "every step" else ()
    name = ", ".join([data, driver, steps, f"save {save_freq}", *more])
    more = tuple(f"--{one}" for one in more)
    options = ("--data", data, "--driver", driver, "--save-freq", save_freq)
    return Kind(name, (*options, *every, *more))


KINDS = (
    _kind("arrays", "fit", "many steps", "epoch"),
    _kind("arrays", "fit", "every step", "7"),
    _kind("arrays", "loop", "many steps", "7"),
    _kind("arrays", "loop", "every step", "epoch"),
    _kind("dataset", "fit", "many steps", "7"),
    _kind("dataset", "fit", "every step", "epoch"),
    _kind("dataset", "loop", "many steps", "epoch"),
    _kind("dataset", "loop", "every step", "7"),
    _kind("arrays", "fit", "many steps", "7", "xla"),
    _kind("arrays", "fit", "many steps", "epoch", "averaged"),
)


class Program:
    """A process that trains in a folder; used as a context, it leaves nothing running.

    Args:
        folder: Where it keeps its checkpoints, its log and its result.
        seed: The seed of everything that is random.
        options: Further options of the program.
    """

    def __init__(
        self, folder: pathlib.Path, seed: int, options: tuple[str, ...]
    ) -> None:
        _slots.acquire()
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._begin_ns = time.time_ns()
        arguments = [str(folder), "--seed", str(seed), *options]
        self.process = next(_servers).start(arguments, folder / "stderr.txt")

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *reason: object) -> None:
        self.process.kill()
        self.process.wait()
        _slots.release()

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self.process.poll() is not None

    def wait_for(
        self, condition: Callable[[], bool], seconds: float, *, every: float = 0.01
    ) -> bool:
        """Return whether the condition came true in time, and before the end."""
        until = time.monotonic() + seconds
        while not self.has_ended and time.monotonic() < until:
            if condition():
                return True
            time.sleep(every)
        return False

    def wait_until_ready(self) -> None:
        """Return when it says that it begins to train."""
        assert self.process.first_line() == "training\n", self.errors()

    def wait_until_logged(self, rows: int) -> None:
        """Return when training has gone so far that the log has some rows."""

        def is_logged() -> bool:
            return logged_rows(self.folder) >= rows

        assert self.wait_for(is_logged, PATIENCE), self.errors()

    def end(self) -> int:
        """Wait for the end, and return the exit status."""
        return self.process.wait(PATIENCE)

    def errors(self) -> str:
        """Return the end of what it has said on stderr."""
        return (self.folder / "stderr.txt").read_text()[-3000:]

    def is_writing(self) -> bool:
        """Whether it has begun a checkpoint that is not whole."""
        run = self.folder / "run"
        names = os.listdir(run) if run.exists() else []
        for name in names:
            if name.endswith("_temp"):
                begun = [*(run / name).glob("*")]
            elif ".data-" in name and f"{name.split('.data-')[0]}.index" not in names:
                begun = [run / name]
            else:
                continue
            # What the process before this one has left behind is older.
            with contextlib.suppress(FileNotFoundError):
                if any(path.stat().st_mtime_ns > self._begin_ns for path in begun):
                    return True
        return False


def checkpoints(folder: pathlib.Path) -> list[str]:
    """Return the names of the whole checkpoints in the folder of a program."""
    return sorted(path.stem for path in (folder / "run").glob("ckpt-*.index"))


def logged_rows(folder: pathlib.Path) -> int:
    """Return how many rows the log of a program has."""
    log = folder / "log.csv"
    return len(log.read_text().splitlines()) - 1 if log.exists() else 0


def train(kind: Kind, folder: pathlib.Path, seed: int = SEED) -> pathlib.Path:
    """Train to the end, undisturbed and fast; return the folder."""
    with Program(folder, seed, kind.options) as program:
        assert program.end() == 0, program.errors()
    return folder


def differences(first: pathlib.Path, second: pathlib.Path) -> list[str]:
    """Return what differs between the results of two runs, to the bit."""
    names = []
    with np.load(first / "result.npz") as ours, np.load(second / "result.npz") as other:
        if ours.files != other.files:
            return ["which variables there are"]
        for name in ours.files:
            one, another = ours[name], other[name]
            same_type = (one.dtype, one.shape) == (another.dtype, another.shape)
            if not same_type or one.tobytes() != another.tobytes():
                names.append(name)
    return names + (["log.csv"] if _rows(first) != _rows(second) else [])


def _rows(folder: pathlib.Path) -> list[list[tuple[str, str]]]:
    """Return the cells of the log, without those that hang on the clock."""
    with (folder / "log.csv").open(newline="") as file:
        return [
            [(name, cell) for name, cell in row.items() if name != "seconds"]
            for row in csv.DictReader(file)
        ]


@dataclass
class Killed:
    """What was done to the runs of one kind.

    Args:
        kills: How often a run was killed that had a checkpoint.
        early: How often one was killed before its first checkpoint was whole.
        in_write: How many of both were killed in the middle of writing a checkpoint.
        restarts: How often a run was started again.
        folders: The results of the runs, each of them killed at least once.
        story: What was done, in words.
    """

    kills: int = 0
    early: int = 0
    in_write: int = 0
    restarts: int = 0
    folders: list[pathlib.Path] = field(default_factory=list)
    story: list[str] = field(default_factory=list)

    def __add__(self, other: "Killed") -> "Killed":
        """Return what was done to both."""
        names = [one.name for one in fields(self)]
        both = {name: getattr(self, name) + getattr(other, name) for name in names}
        return Killed(**both)

    def differences(self, reference: pathlib.Path) -> list[str]:
        """Return what differs from the result of the run that nobody killed."""
        return [
            f"{folder.name}: {name}"
            for folder in self.folders
            for name in differences(reference, folder)
        ]


def train_and_kill(
    kind: Kind, folder: pathlib.Path, draws: random.Random, kills: int
) -> Killed:
    """Train, be killed, go on, and train again, until there were `kills` kills.

    Half of the kills wait for the next checkpoint to be written. A run that was too
    fast to be killed does not count, and the next one is killed sooner.
    """
    killed = Killed()
    pace = 1.0
    for number in range(kills + 5):
        if killed.kills >= kills:
            return killed
        run = folder / f"run {number}"
        killed.story.append(f"{run.name}:")
        disturbances = killed.kills + killed.early
        while True:
            # Before there is a checkpoint, a run can only begin as it began before.
            seed = draws.randrange(2, 10**6) if checkpoints(run) else SEED
            killed.story.append(f"seed {seed},")
            options = kind.options if killed.kills >= kills else kind.slow
            with Program(run, seed, options) as program:
                delay = None
                if killed.kills < kills:
                    delay = pace * draws.uniform(*WINDOW)
                if not _kill(program, delay, draws, killed):
                    break
            killed.restarts += 1
        if killed.kills + killed.early > disturbances:
            killed.folders.append(run)
        else:
            pace *= 0.6
    raise AssertionError(f"the runs end before they are killed: {killed.story}")


def _kill(
    program: Program, delay: float | None, draws: random.Random, killed: Killed
) -> bool:
    """Kill a program after some seconds, `None` for not at all; False: it had ended."""
    program.wait_until_ready()
    begin = time.monotonic()
    in_write, early = draws.random() < 0.5, draws.random() < EARLY
    rest = draws.uniform(0, MOMENT)
    try:
        program.process.wait(PATIENCE if delay is None else delay)
    except subprocess.TimeoutExpired:
        if not early:
            program.wait_for(lambda: bool(checkpoints(program.folder)), PATIENCE)
        if in_write and program.wait_for(program.is_writing, WINDOW[1], every=5e-4):
            time.sleep(rest)
        program.process.kill()
    status = program.end()
    if status == 0:
        killed.story.append("ended.")
        return False
    assert status == -9, f"{killed.story}, exit status {status}: {program.errors()}"
    in_write = program.is_writing()
    killed.in_write += in_write
    if checkpoints(program.folder):
        killed.kills += 1
    else:
        killed.early += 1
    last = (checkpoints(program.folder) or ["none"])[-1]
    killed.story.append(
        f"killed after {time.monotonic() - begin:.3f} s"
        f"{' in a write' if in_write else ''}, whole: {last};"
    )
    return True
