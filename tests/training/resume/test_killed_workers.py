"""Two processes that train together, killed and started again: to the bit."""

import csv
import json
import os
import random
import signal
import time

import numpy as np
import pytest

from tests.markers import needs_semaphores
from tests.training.workers import Cluster

pytestmark = [
    pytest.mark.once,
    needs_semaphores,  # for the threads in which TensorFlow reduces over workers
]
PROGRAM = "from tests.training.resume_program import main; main()"
SECONDS = 240


def lines(cluster, index):
    return cluster.output(index).splitlines()


def run(folder, *, kill=None, count=2, **environment):
    """Train in processes; return their exit codes and what they have printed.

    Args:
        folder: Their folder.
        kill: A worker, a signal for it, and after how many lines to send it.
        count: How many processes.
        environment: How they train.
    """
    # Once there is a checkpoint, the seed of a process must not matter.
    seed = random.randrange(2, 100) if list(folder.glob("run/*.index")) else 1
    environment = {"DRIVER": "fit", "DATA": "arrays", "EPOCHS": "3"} | environment
    environment |= {"FOLDER": str(folder), "SEED": str(seed)}
    with Cluster(PROGRAM, count, environment) as cluster:
        if kill is not None:
            worker, number, after = kill
            end = time.monotonic() + SECONDS
            while len(lines(cluster, worker)) < after:
                assert cluster.processes[worker].poll() is None, cluster.output(0, True)
                assert time.monotonic() < end, cluster.output(worker, True)
                time.sleep(0.01)
            os.kill(cluster.processes[worker].pid, number)
            if number == signal.SIGKILL:
                # As `keras_ext.launch` does; TensorFlow would take ten seconds.
                for process in cluster.processes:
                    process.kill()
        codes = cluster.wait(SECONDS)
        if kill is None:
            assert codes == [0] * count, cluster.output(0, True)
        return codes, [lines(cluster, index) for index in range(count)]


def results(folder, printed):
    """Return what must be the same: weights, optimizer, History and the log."""
    with open(folder / "log.csv") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["seconds"]
    return [json.loads(each[-1]) for each in printed], rows


def killed_and_continued(folder, kills, **environment):
    for kill in kills:
        codes, printed = run(folder, kill=kill, **environment)
        worker, number, _ = kill
        if number == signal.SIGKILL:
            assert codes[worker] == -number
        else:
            assert codes == [75, 75]
            saved = [
                line for each in printed for line in each if "SIGTERM: the" in line
            ]
            assert len(saved) == 2
    return results(folder, run(folder, **environment)[1])


def whole(folder, **environment):
    return results(folder, run(folder, **environment)[1])


def test_any_worker_may_be_killed(tmp_path):
    kills = [(1, signal.SIGKILL, 12), (0, signal.SIGTERM, 18)]
    continued = killed_and_continued(tmp_path / "killed", kills)
    expected = whole(tmp_path / "whole")
    assert continued == expected
    first, second = continued[0]
    assert first == second
    assert len(continued[1]) == 3


@pytest.mark.long
def test_another_number_of_workers_continues(tmp_path):
    """With the same batches: no random numbers of a replica's own."""
    options = {"DROPOUT": "0"}
    run(tmp_path / "killed", kill=(1, signal.SIGTERM, 30), **options)
    _, printed = run(tmp_path / "killed", count=1, **options)
    assert "It was saved with 2 and is continued with 1 workers" in "".join(printed[0])
    (alone,), rows = results(tmp_path / "killed", printed)
    (both, _), expected = whole(tmp_path / "whole", **options)
    for name, values in both["history"].items():
        np.testing.assert_allclose(alone["history"][name], values, atol=1e-6)
    assert len(rows) == len(expected) == 3


@pytest.mark.long
@pytest.mark.parametrize("driver", ["fit", "Loop"])
@pytest.mark.parametrize("data", ["arrays", "dataset"])
def test_at_random_moments(driver, data, tmp_path):
    """While it computes, evaluates or writes a checkpoint."""
    environment = {"DRIVER": driver, "DATA": data, "SAVE_FREQ": "1", "SLEEP": "0.002"}
    rng = random.Random(f"{driver} {data}")
    kills = [
        (rng.randrange(2), rng.choice([signal.SIGKILL, signal.SIGTERM]), after)
        for after in (rng.randrange(5, 25) for _ in range(3))
    ]
    continued = killed_and_continued(tmp_path / "killed", kills, **environment)
    assert continued == whole(tmp_path / "whole", **environment)
