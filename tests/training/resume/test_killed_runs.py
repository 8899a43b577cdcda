"""Runs that are killed at any moment and started again end as if nothing had been."""

import concurrent.futures
import contextlib
import hashlib
import random
import shutil
import signal
import time

import numpy as np
import pytest

from keras_ext.training.resume import folder_lock
from keras_ext.training.resume.store import CheckpointStore
from tests.training import killing
from tests.training.killing import KINDS, Program

pytestmark = [
    pytest.mark.early,
    pytest.mark.skipif(
        not hasattr(signal, "SIGKILL"), reason="signals are those of POSIX"
    ),
]
PLAIN = KINDS[0]
KILLS = {kind: 2 if number % 3 == 1 else 1 for number, kind in enumerate(KINDS)}
NEVER_SAVES = (*PLAIN.slow, "--save-freq", "2h")


class Runs:
    """Runs in the background, started before somebody waits for them."""

    def __init__(self, folder):
        self.seed = random.SystemRandom().randrange(10**6)
        self._folder = folder
        self._pool = concurrent.futures.ThreadPoolExecutor(2)
        self._references = {}
        self._killed = {}

    def start(self, first):
        """Start the runs of a kind, and those of the kinds after it."""
        for kind in KINDS[KINDS.index(first) :]:
            if kind not in self._killed:
                folder = self._folder / kind.name
                draws = random.Random(f"{self.seed} {kind.name}")
                self._references[kind] = self._pool.submit(
                    killing.train, kind, folder / "not killed"
                )
                self._killed[kind] = self._pool.submit(
                    killing.train_and_kill, kind, folder, draws, KILLS[kind]
                )

    def reference(self, kind):
        """Return the folder of the run that nobody has killed."""
        return self._references[kind].result()

    def killed(self, kind):
        """Return what became of the runs that were killed."""
        return self._killed[kind].result()

    def close(self):
        self._pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    with contextlib.closing(Runs(tmp_path_factory.mktemp("runs"))) as runs:
        yield runs


@pytest.fixture(scope="module")
def after_ctrl_c(tmp_path_factory):
    """Return a folder in which a run was interrupted by Ctrl-C, and its status."""
    folder = tmp_path_factory.mktemp("interrupted")
    return folder, _interrupt(folder, signal.SIGINT)


def test_sigterm_saves_and_leaves(runs, tmp_path):
    runs.start(PLAIN)
    assert _interrupt(tmp_path, signal.SIGTERM) == 75
    assert len(killing.checkpoints(tmp_path)) == 1
    killing.train(PLAIN, tmp_path, seed=2)
    assert killing.differences(runs.reference(PLAIN), tmp_path) == []


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[2]], ids=["fit", "loop"])
def test_ended_run_is_left_as_it_is(kind, runs, tmp_path):
    # As if it had been killed after its last checkpoint.
    runs.start(PLAIN)
    shutil.copytree(runs.reference(kind), tmp_path, dirs_exist_ok=True)
    before = _sums(tmp_path / "run")
    (tmp_path / "result.npz").unlink()
    killing.train(kind, tmp_path, seed=2)
    assert killing.differences(runs.reference(kind), tmp_path) == []
    assert _sums(tmp_path / "run") == before


def test_ctrl_c_saves_and_raises(after_ctrl_c):
    folder, status = after_ctrl_c
    assert status in (-signal.SIGINT, 130)
    assert len(killing.checkpoints(folder)) == 1
    errors = (folder / "stderr.txt").read_text()
    assert "KeyboardInterrupt: SIGINT: the run is saved" in errors


def test_second_sigterm_leaves_at_once_and_harms_nothing(after_ctrl_c):
    folder, _ = after_ctrl_c
    before, rows = _sums(folder / "run"), killing.logged_rows(folder)
    with Program(folder, 2, (*NEVER_SAVES, "--slow-files", "60")) as program:
        program.wait_until_logged(rows + 1)
        program.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        assert not program.has_ended
        # A process that is slow to hear may have taken two signals for one.
        program.wait_for(
            lambda: program.process.send_signal(signal.SIGTERM), 30, every=1
        )
        assert program.end() == -signal.SIGTERM, program.errors()
    assert _sums(folder / "run") == before
    assert CheckpointStore(str(folder / "run")).read().state["loop"]["steps_made"] > 0


def test_comparison_is_to_the_bit(tmp_path):
    folders = [tmp_path / name for name in ("one", "same", "sign", "dtype", "log")]
    values = [np.zeros(2), np.zeros(2), -np.zeros(2), np.zeros(2, "int64"), np.zeros(2)]
    for folder, value in zip(folders, values, strict=True):
        folder.mkdir()
        np.savez(folder / "result.npz", weights=value)
        cell = "0.50" if folder.name == "log" else "0.5"
        (folder / "log.csv").write_text(f"seconds,loss\n{folder.name},{cell}\n")
    found = [killing.differences(folders[0], folder) for folder in folders]
    assert found == [[], [], ["weights"], ["weights"], ["log.csv"]]


def test_enough_kills():
    assert sum(KILLS.values()) >= 12


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_killed_run_ends_as_if_nothing_had_been(kind, runs):
    runs.start(kind)
    killed = runs.killed(kind)
    message = f"seed {runs.seed}: {' '.join(killed.story)}"
    assert killed.kills >= KILLS[kind], message
    assert killed.differences(runs.reference(kind)) == [], message


def _interrupt(folder, number):
    """Start a run that only saves if it is asked to, and ask; return its status."""
    with Program(folder, killing.SEED, NEVER_SAVES) as program:
        program.wait_until_logged(rows=2)
        program.process.send_signal(number)
        return program.end()


def _sums(folder):
    """Return what the files of checkpoints hold, by name.

    A process that is ended leaves the file of its lock, which locks nothing any more.
    """
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name != folder_lock.NAME
    }
