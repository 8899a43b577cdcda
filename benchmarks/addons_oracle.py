"""How many of TensorFlow Addons's own tests pass through the bridge, or with natives.

    git clone https://github.com/tensorflow/addons
    python benchmarks/addons_oracle.py addons
    python benchmarks/addons_oracle.py addons --rooms losses metrics
    python benchmarks/addons_oracle.py addons --natives

The tests are those of the checkout. They run with the installed package, imported by
`keras_ext.addons`, which needs `pip install 'keras_ext[addons,test]'` and Python 3.11
at the latest. With `--natives`, they run with what
`docs/reference/where_did_it_go.md` says to write instead (`addons_stand_in.py`), which
needs `pip install typeguard 'keras_ext[test]'`.

Prints, for each room, how many tests have passed, failed and were skipped, and the
reasons. With natives, failures of tests of configs and files are counted by themselves,
as "stored": names of classes and arguments have changed.
"""

import argparse
import collections
import os
import pathlib
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest
import tensorflow as tf

ROOMS = (
    *("activations", "callbacks", "image", "layers", "losses", "metrics"),
    *("optimizers", "rnn", "seq2seq", "text"),
)

# Where natives have the same numbers.
NATIVE_ROOMS = ("activations", "losses", "metrics", "optimizers", "rnn")

COMPILED = "needs an operation that was compiled"

# Tests of what is stored, not of what is computed, by their names.
STORED = re.compile(r"config|serial|save|checkpoint|keras_model_compile")


def _name(report: Any) -> str:
    """Return the name of a test, without its parameters."""
    return report.nodeid.split("::", 1)[-1].split("[")[0]


class Counts:
    """Counts what comes of the tests of each room, and of `apart` by themselves."""

    def __init__(self, apart: re.Pattern[str] | None) -> None:
        self.apart = apart
        self.outcomes: dict[str, collections.Counter[str]]
        self.outcomes = collections.defaultdict(collections.Counter)
        self.reasons: collections.Counter[str] = collections.Counter()

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note a test that has been called, or did not get so far."""
        if report.when != "call" and report.passed:
            return
        room = report.nodeid.split("tensorflow_addons/")[1].split("/")[0]
        if not report.failed:
            self.outcomes[room][report.outcome] += 1
        elif self.apart and self.apart.search(_name(report)):
            self.outcomes[room]["stored"] += 1
        else:
            self.outcomes[room]["failed"] += 1
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


class WithoutLegacy:
    """Hides the `legacy` of Keras 3, whose optimizers only raise errors."""

    def pytest_runtest_setup(self) -> None:
        """Hide it again: an import brings it back."""
        vars(tf.keras.optimizers).pop("legacy", None)


def through_bridge(folder: pathlib.Path, rooms: Sequence[str]) -> None:
    """Let the installed Addons, as the bridge imports it, have the tests of rooms."""
    from keras_ext import addons

    # The tests must be modules of the package, so that they get the same Keras.
    for room in rooms:
        (folder / room / "__init__.py").touch()
        getattr(addons.tfa, room).__path__.append(str(folder / room))


def with_natives(checkout: pathlib.Path, folder: pathlib.Path) -> None:
    """Make a package of what we have; tests of a room may import another."""
    for room in NATIVE_ROOMS:
        (folder / room).mkdir(exist_ok=True)
        namespace = (
            "import addons_stand_in as ours\n\n"
            f"globals().update(ours.ROOMS[{room!r}])\n"
        )
        imports = ""
        for path in (checkout / room).glob("[!_]*.py"):
            (folder / room / path.name).write_text(namespace, encoding="utf-8")
            imports += f"import tensorflow_addons.{room}.{path.stem}\n"
        # After the imports: a module would replace what has its name, as `snake` has.
        package = folder / room / "__init__.py"
        package.write_text(imports + namespace, encoding="utf-8")
    # What the tests use to test.
    for name in ("utils", "testing"):
        shutil.copytree(checkout / name, folder / name)
    for name in ("conftest.py", "options.py", "version.py", "metrics/utils.py"):
        shutil.copy(checkout / name, folder / name)
    sys.path.insert(0, str(folder.parent))


def main() -> None:
    """Run the tests, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=pathlib.Path)
    parser.add_argument("--rooms", nargs="+", choices=ROOMS)
    parser.add_argument("--natives", action="store_true")
    options = parser.parse_args()
    known = NATIVE_ROOMS if options.natives else ROOMS
    rooms = options.rooms or known
    if unknown := sorted(set(rooms) - set(known)):
        parser.error(f"--natives knows {', '.join(known)}. Received: {unknown}")
    checkout = options.checkout / "tensorflow_addons"
    folder = pathlib.Path(tempfile.mkdtemp()) / "tensorflow_addons"
    for room in rooms:
        shutil.copytree(checkout / room / "tests", folder / room / "tests")
    if options.natives:
        with_natives(checkout, folder)
    else:
        through_bridge(folder, rooms)
    (folder / "__init__.py").touch()
    # Or pytest would take the settings of the folder in which this is started.
    (folder.parent / "pytest.ini").touch()
    counts = Counts(STORED if options.natives else None)
    # Its `conftest.py`, once; and no imports but those of the bridge.
    arguments = [
        "-q",
        "--tb=short",
        "--assert=plain",
        "--noconftest",
        "--continue-on-collection-errors",
        "-p",
        "tensorflow_addons.conftest",
        *(str(folder / room) for room in rooms),
    ]
    pytest.main(arguments, [counts, *[WithoutLegacy()] * options.natives])
    columns = ("passed", "failed", "stored", "skipped")
    print("| Room |", " | ".join(columns), "|\n|---|---|---|---|---|")
    for room, each in counts.outcomes.items():
        print(f"| {room} |", " | ".join(str(each[name]) for name in columns), "|")
    for reason, count in sorted(counts.reasons.items()):
        print(f"{count} x {reason}")


if __name__ == "__main__":
    main()
