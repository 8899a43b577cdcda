"""The cost of saving a run after every epoch, with our and with Keras's callbacks.

    python benchmarks/checkpoint_cost.py
    python benchmarks/checkpoint_cost.py --data mnist.npz --rounds 31

mnist-mlp is trained with and without the callback, alternately, in this one process;
each runs once before it is timed, and saves into a new folder each time. Everything
that happens in `fit` is timed, so background writes count until they are complete. The
percentage is the median over the rounds.
"""

import argparse
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import report
from race import Contestant, Goal, Row, race
from workloads import Workload, mnist_mlp, read_data

import keras_ext

LIMIT = 1.03  # of `Checkpoint`, times an epoch without it
HEADER = ("", "ms/epoch", "without", "costs", "min", "max", "at most", "met")

MakeCallbacks = Callable[[pathlib.Path], list[keras.callbacks.Callback]]


def checkpoint(folder: pathlib.Path) -> list[keras.callbacks.Callback]:
    """Return ours, which saves the whole run."""
    return [keras_ext.callbacks.Checkpoint(folder / "run", save_freq="epoch")]


def backup(folder: pathlib.Path) -> list[keras.callbacks.Callback]:
    """Return Keras's, which saves weights, optimizer and the epoch number."""
    return [keras.callbacks.BackupAndRestore(folder / "backup")]


def model_checkpoint(folder: pathlib.Path) -> list[keras.callbacks.Callback]:
    """Return Keras's, which saves the model."""
    return [keras.callbacks.ModelCheckpoint(folder / "{epoch}.keras")]


class Training:
    """A training run that is repeated, each time in a new folder.

    Args:
        model: A compiled model.
        work: The workload it is trained on.
        epochs: How many epochs it trains each time.
        make: Creates the callbacks, given the folder. Default: none.
    """

    def __init__(
        self,
        model: keras.Model,
        work: Workload,
        epochs: int,
        make: MakeCallbacks = lambda folder: [],
    ) -> None:
        self._model, self._work, self._epochs, self._make = model, work, epochs, make
        self._folder = tempfile.TemporaryDirectory()
        self._callbacks: list[keras.callbacks.Callback] = []

    def prepare(self) -> None:
        """Create the callbacks again."""
        self._folder.cleanup()
        self._folder = tempfile.TemporaryDirectory()
        self._callbacks = self._make(pathlib.Path(self._folder.name))

    def run(self) -> float:
        """Train; return the accuracy."""
        work = self._work
        history = self._model.fit(
            work.x,
            work.y,
            batch_size=work.batch_size,
            epochs=self._epochs,
            verbose=0,
            callbacks=self._callbacks,
        )
        return history.history["accuracy"][-1]


def compare(
    group: str,
    make_model: Callable[[], Any],
    work: Workload,
    epochs: int,
    rounds: int,
    callbacks: dict[str, tuple[MakeCallbacks, Goal]],
) -> list[Row]:
    """Train with each callback and with none, and return a row for each."""
    trainings = {group: Training(make_model(), work, epochs)}
    for name, (make, _) in callbacks.items():
        trainings[name] = Training(make_model(), work, epochs, make)
    scores = race(
        [
            Contestant(name, one.run, epochs, one.prepare)
            for name, one in trainings.items()
        ],
        rounds,
    )
    return [
        Row(group, work.name, scores[name], scores[group], goal, "ms/epoch")
        for name, (_, goal) in callbacks.items()
    ]


def cells(row: Row) -> tuple[str, ...]:
    """Return one row of the table, in the order of `HEADER`."""
    low, high = min(row.ratios), max(row.ratios)
    return (
        f"{row.group}, {row.ours.name}",
        f"{row.ours.median:.1f}",
        f"{row.reference.median:.1f}",
        *(f"{ratio - 1:.1%}" for ratio in (row.ratio, low, high)),
        "" if row.goal.at_most is None else f"{row.goal.at_most - 1:.0%}",
        {True: "yes", False: "NO", None: ""}[row.is_met],
    )


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="file like mnist.npz (default: synthetic)")
    parser.add_argument("--rounds", type=int, default=15, help="default: 15")
    parser.add_argument("--epochs", type=int, default=10, help="per time; default: 10")
    parser.add_argument("--only-ours", action="store_true", help="leave Keras's out")
    return parser.parse_args()


def main() -> None:
    """Time all and print the table."""
    options = parse()
    load = f"load average {os.getloadavg()[0]:.1f}, " if os.name == "posix" else ""
    work = mnist_mlp(read_data(options.data))
    print(f"{load}mnist-mlp, {work.steps} steps per epoch", flush=True)
    rows = compare(
        "Trainer.fit",
        work.trainer,
        work,
        options.epochs,
        options.rounds,
        {"Checkpoint": (checkpoint, Goal(at_most=LIMIT))},
    )
    if not options.only_ours:
        goal = Goal(relative=True)
        rows += compare(
            "Model.fit",
            work.model,
            work,
            max(1, options.epochs // 5),  # its epochs take many times as long
            options.rounds,
            {
                "BackupAndRestore": (backup, goal),
                "ModelCheckpoint": (model_checkpoint, goal),
            },
        )
    print(f"\n{report.as_table([HEADER, *map(cells, rows)])}")


if __name__ == "__main__":
    main()
