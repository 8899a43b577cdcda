"""Trains in several processes, kills one of them, and starts all again."""

import csv
import json
import os
import random
import signal
import time

from tests.training.workers import Cluster

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


def killed_and_continued(folder, kills, count=2, **environment):
    """Kill at these moments, continue, and return the results."""
    for kill in kills:
        codes, printed = run(folder, kill=kill, count=count, **environment)
        worker, number, _ = kill
        if number == signal.SIGKILL:
            assert codes[worker] == -number
        else:
            assert codes == [75] * count
            saved = [
                line for each in printed for line in each if "SIGTERM: the" in line
            ]
            assert len(saved) == count
    return whole(folder, count, **environment)


def whole(folder, count=2, **environment):
    """Return the results of a run that is left alone, or of the rest of one."""
    return results(folder, run(folder, count=count, **environment)[1])


def random_kills(rng, kills, count=2):
    """Return workers, signals, and after how many lines of their output to send them.

    A run that saves after every step is often killed while it writes.
    """
    signals = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]
    return [
        (rng.randrange(count), rng.choice(signals), rng.randrange(5, 25))
        for _ in range(kills)
    ]
