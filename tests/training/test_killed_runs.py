"""Runs that are killed at any moment and started again end as if nothing had been."""

import concurrent.futures
import contextlib
import hashlib
import random
import signal
import time

import pytest

from keras_ext.training.checkpoint_files import CheckpointFiles
from tests.training import killing
from tests.training.killing import KINDS, Program

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "SIGKILL"), reason="signals are those of POSIX"
)
PLAIN = KINDS[0]
KILLS = {kind: 2 if number % 2 else 1 for number, kind in enumerate(KINDS)}
NEVER_SAVES = (*PLAIN.slow, "--save-freq", "2h")


class Runs:
    """Runs, two at a time, started before somebody waits for them."""

    def __init__(self, folder):
        self.folder = folder
        self.seed = random.SystemRandom().randrange(10**6)
        self._pool = concurrent.futures.ThreadPoolExecutor(2)
        self._references = {}
        self._killed = {}

    def reference(self, kind):
        """Return the folder of the run that nobody has killed."""
        return self._reference(kind).result()

    def killed(self, kind):
        """Return what became of the runs that were killed."""
        for one in KINDS[KINDS.index(kind) :]:
            if one not in self._killed:
                self._reference(one)
                self._killed[one] = self._pool.submit(
                    killing.train_and_kill,
                    one,
                    self.folder / f"{one.name}, killed",
                    random.Random(f"{self.seed} {one.name}"),
                    KILLS[one],
                )
        return self._killed[kind].result()

    def close(self):
        self._pool.shutdown(cancel_futures=True)

    def _reference(self, kind):
        if kind not in self._references:
            folder = self.folder / kind.name
            self._references[kind] = self._pool.submit(killing.train, kind, folder)
        return self._references[kind]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    with contextlib.closing(Runs(tmp_path_factory.mktemp("runs"))) as runs:
        yield runs


def test_enough_kills():
    assert sum(KILLS.values()) >= 12


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_killed_run_ends_as_if_nothing_had_been(kind, runs):
    killed = runs.killed(kind)
    message = f"seed {runs.seed}: {' '.join(killed.story)}"
    assert killed.kills >= KILLS[kind], message
    assert killed.differences(runs.reference(kind)) == [], message


def test_sigterm_saves_and_leaves(runs, tmp_path):
    assert _interrupt(tmp_path, signal.SIGTERM) == 75
    assert len(killing.checkpoints(tmp_path)) == 1
    killing.train(PLAIN, tmp_path, seed=2)
    assert killing.differences(runs.reference(PLAIN), tmp_path) == []


def test_ctrl_c_saves_and_raises(tmp_path):
    assert _interrupt(tmp_path, signal.SIGINT) in (-signal.SIGINT, 130)
    assert len(killing.checkpoints(tmp_path)) == 1
    assert "KeyboardInterrupt: SIGINT: the run is saved" in _errors(tmp_path)


def test_second_sigterm_leaves_at_once_and_harms_nothing(tmp_path):
    assert _interrupt(tmp_path, signal.SIGTERM) == 75
    before, rows = _sums(tmp_path / "run"), killing.logged_rows(tmp_path)
    with Program(tmp_path, 2, (*NEVER_SAVES, "--slow-files", "60")) as program:
        program.wait_until_logged(rows + 1)
        program.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        assert not program.has_ended
        program.process.send_signal(signal.SIGTERM)
        begin = time.monotonic()
        assert program.end() == -signal.SIGTERM, program.errors()
        assert time.monotonic() - begin < 20
    assert _sums(tmp_path / "run") == before
    assert CheckpointFiles(str(tmp_path / "run")).read().state["loop"]["epoch"] == 0


def _interrupt(folder, number):
    """Start a run that only saves if it is asked to, and ask; return its status."""
    with Program(folder, killing.SEED, NEVER_SAVES) as program:
        program.wait_until_logged(rows=2)
        program.process.send_signal(number)
        return program.end()


def _errors(folder):
    return (folder / "stderr.txt").read_text()


def _sums(folder):
    """Return what the files hold, by name."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
    }
