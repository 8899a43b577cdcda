"""How many of TensorFlow Addons's own tests pass through the bridge to it.

    git clone https://github.com/tensorflow/addons
    python benchmarks/addons_oracle.py addons
    python benchmarks/addons_oracle.py addons --rooms losses metrics

The tests are those of the checkout, the package is the installed one, imported by
`keras_ext.addons`. Prints, for each room, how many tests have passed, failed and were
skipped, and the reasons. Needs `pip install 'keras_ext[addons,test]'`, Python 3.11 at
the latest.
"""

import argparse
import collections
import os
import pathlib
import shutil
import tempfile
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

ROOMS = (
    *("activations", "callbacks", "image", "layers", "losses", "metrics"),
    *("optimizers", "rnn", "seq2seq", "text"),
)

COMPILED = "needs an operation that was compiled"


class Counts:
    """Counts what comes of the tests of each room."""

    def __init__(self) -> None:
        self.outcomes: dict[str, collections.Counter[str]]
        self.outcomes = collections.defaultdict(collections.Counter)
        self.reasons: collections.Counter[str] = collections.Counter()

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note a test that has been called, or did not get so far."""
        if report.when != "call" and report.passed:
            return
        room = report.nodeid.split("tensorflow_addons/")[1].split("/")[0]
        self.outcomes[room][report.outcome] += 1
        if report.failed:
            self._note(room, report)

    def pytest_collectreport(self, report: Any) -> None:
        """Note a file that cannot be imported."""
        if report.failed:
            room = report.nodeid.split("tensorflow_addons/")[-1].split("/")[0]
            self.outcomes[room]["failed"] += 1
            self._note(room, report)

    def _note(self, room: str, report: Any) -> None:
        lines = str(report.longrepr).strip().splitlines()
        name = report.nodeid.split("/")[-1].split("::")[0]
        if any(COMPILED in line for line in lines):
            self.reasons[f"{room}: {name}: {COMPILED}"] += 1
            return
        errors = [line for line in lines if line.startswith("E ")] or lines[-1:]
        test = report.nodeid.split("/")[-1].split("[")[0]
        self.reasons[f"{room}: {test}: {errors[0][1:].strip()[:110]}"] += 1


def main() -> None:
    """Run the tests, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=pathlib.Path)
    parser.add_argument("--rooms", nargs="+", choices=ROOMS, default=ROOMS)
    options = parser.parse_args()
    from keras_ext import addons

    # The tests must be modules of the package, so that they get the same Keras.
    folder = pathlib.Path(tempfile.mkdtemp()) / "tensorflow_addons"
    for room in options.rooms:
        shutil.copytree(
            options.checkout / "tensorflow_addons" / room / "tests",
            folder / room / "tests",
        )
        (folder / room / "__init__.py").touch()
        getattr(addons.tfa, room).__path__.append(str(folder / room))
    (folder / "__init__.py").touch()
    # Or pytest would take the settings of the folder in which this is started.
    (folder.parent / "pytest.ini").touch()
    counts = Counts()
    # Its `conftest.py`; and no imports but those of the bridge.
    arguments = [
        "-q",
        "--tb=short",
        "--assert=plain",
        "--continue-on-collection-errors",
        "-p",
        "tensorflow_addons.conftest",
        str(folder),
    ]
    pytest.main(arguments, [counts])
    print("| Room | passed | failed | skipped |\n|---|---|---|---|")
    for room, each in counts.outcomes.items():
        print(f"| {room} | {each['passed']} | {each['failed']} | {each['skipped']} |")
    for reason, count in sorted(counts.reasons.items()):
        print(f"{count} x {reason}")


if __name__ == "__main__":
    main()
