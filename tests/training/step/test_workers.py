"""Two processes that train together: as one alone, and neither waits for ever."""

import csv
import json
import os
import re
import signal
import time

import numpy as np
import pytest

from tests.markers import needs_semaphores
from tests.training import workers_program
from tests.training.workers import Cluster

pytestmark = [
    pytest.mark.early,
    pytest.mark.once,
    needs_semaphores,  # for the threads in which TensorFlow reduces over workers
]
PROGRAM = "from tests.training.workers_program import main; main()"
ALIKE = [
    "arrays",
    "quick_dataset",
    "slow_dataset",
    "odd_batches",
    "generator",
    "called_after_each_batch_on_the_first_only",
    "replayed_on_the_second_only",
    "files",
    "interrupted_by_the_second",
    "rolled_back_by_the_second",
    "discarded_by_the_second",
    "saved_by_the_clock_of_the_second",
    "trained_after_all_that",
]
"""Scenarios in which the workers do not change what is trained."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("workers")


@pytest.fixture(scope="module")
def results(folder):
    """Return what came of each scenario in each worker."""
    with Cluster(PROGRAM, environment={"FOLDER": str(folder)}) as cluster:
        codes = cluster.wait(400)
        assert codes == [0, 0], cluster.output(0, True) + cluster.output(1, True)
        lines = [cluster.output(index).splitlines() for index in range(2)]
    workers = [
        {line[0]: line[1:] for line in map(json.loads, rows) if isinstance(line, list)}
        for rows in lines
    ]
    return {
        name: [worker[name][0] for worker in workers]
        for name in (one.__name__ for one in workers_program.SCENARIOS)
    }


def flat(structure):
    if isinstance(structure, dict):
        structure = [structure[name] for name in sorted(structure)]
    if not isinstance(structure, list):
        return [structure]
    return [value for item in structure for value in flat(item)]


def trained(result):
    return {name: result[name] for name in ("history", "weights")}


@pytest.mark.parametrize("name", ALIKE)
def test_both_end_alike(results, name):
    first, second = results[name]
    assert trained(first) == trained(second)


@pytest.mark.parametrize("name", ["arrays", "odd_batches", "generator"])
def test_two_workers_compute_what_one_process_does(results, name):
    alone = getattr(workers_program, name)()
    np.testing.assert_allclose(flat(results[name][0]), flat(alone), atol=1e-6)


def test_they_evaluate_and_predict_what_one_process_does(results):
    first, second = results["evaluated_and_predicted"]
    assert first["all"] == second["all"]
    # One of them has stopped after batch 20, the other with it.
    assert first["stopped"] == second["stopped"] != first["all"]
    assert (first["calls"], second["calls"]) == (0, 21)
    assert first["predicted"] == second["predicted"]
    alone = workers_program.evaluated_and_predicted()
    for part in ("all", "predicted"):
        np.testing.assert_allclose(flat(first[part]), flat(alone[part]), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("called_after_each_batch_on_the_first_only", [60, 0]),
        ("replayed_on_the_second_only", [0, 60]),
        ("files", [60, 0]),
    ],
)
def test_a_callback_of_one_worker_is_called_there(results, name, calls):
    assert [result["calls"] for result in results[name]] == calls


@pytest.mark.parametrize(
    "name",
    [
        "stopped_by_the_second",
        "stopped_by_the_second_at_the_end_of_an_epoch",
        "a_loop_by_hand",
    ],
)
def test_one_worker_stops_both(results, name):
    first, second = results[name]
    assert first == second
    assert len(first["history"]["loss"]) == 1
    assert first.get("steps", 3) == 3


def test_one_worker_interrupts_both_and_they_continue(results):
    for result in results["interrupted_by_the_second"]:
        assert result["first"] == {}
        assert trained(result) == result["whole"]


def test_a_run_that_has_ended_is_left_as_it_is(results):
    for ended, before in zip(
        results["a_finished_run"], results["interrupted_by_the_second"], strict=True
    ):
        assert trained(ended) == trained(before)
        assert ended["left"] == 3


def test_the_run_of_another_model_is_refused(results):
    first, second = results["the_run_of_another_model"]
    assert first["error"] == second["error"]
    assert first["error"].startswith("ValueError: The checkpoint")
    assert "is that of another run" in first["error"]


def test_one_worker_has_both_roll_back(results):
    rolled_back, whole = (
        results[name][0]
        for name in ("rolled_back_by_the_second", "interrupted_by_the_second")
    )
    assert len(rolled_back["history"]["loss"]) == 2
    # In another order.
    assert rolled_back["weights"] != whole["weights"]


def test_one_worker_keeps_both_from_saving(results):
    for result in results["discarded_by_the_second"]:
        numbers = [int(name[5:-6]) for name in result["left"] if name.endswith("index")]
        # Of 60 steps, those after the 20th or the next call are not saved.
        assert numbers in ([1, 2], [1, 2, 3])


def test_the_clock_of_one_worker_saves(results):
    first, _ = results["saved_by_the_clock_of_the_second"]
    # The chief alone, which writes, would save in the end only.
    assert sum(name.endswith(".index") for name in first["left"]) >= 2


def test_workers_without_a_seed_agree_on_one(results):
    first, second = results["no_seed"]
    assert first == second


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("other_seeds", "worker 0 has the seed 0; worker 1 has the seed 1"),
        ("other_lengths", "worker 0 has the next .* batches after"),
        ("other_folders", "worker 0 has read checkpoint .*; worker 1 has read none"),
        ("other_lengths_of_a_dataset", "worker 1 has .* batches after .* of training"),
    ],
)
def test_workers_that_do_not_do_the_same_raise(results, name, message):
    for result in results[name]:
        assert result["error"].startswith("WorkerError: All workers must be given the")
        assert re.search(message, result["error"])


@pytest.mark.parametrize(
    ("name", "worker", "error"),
    [
        ("raised_in_a_callback_of_the_second", 1, "the disk of this worker is full"),
        ("raised_in_an_evaluation_of_the_first", 0, "no evaluation"),
        ("refused_by_the_first", 0, "`batch_size` must be a positive integer"),
    ],
)
def test_an_error_is_raised_in_both(results, name, worker, error):
    own, other = results[name][worker]["error"], results[name][1 - worker]["error"]
    assert error in own
    assert not own.startswith("WorkerError")
    assert other == f"WorkerError: Worker {worker} has raised {own}"


def test_an_error_in_the_data_is_raised_in_both(results):
    # If the batches before it are of a call of their own, the second raises it itself.
    first, second = results["raised_in_the_data_of_the_second"]
    error = "OSError: a file of this worker is missing"
    assert f"Worker 1 has raised {error}" in first["error"]
    assert error in second["error"]


def test_only_the_chief_writes(results, folder):
    for name in ("ours.csv", "keras.csv"):
        with open(folder / name) as file:
            rows = list(csv.DictReader(file))
        assert [int(row["epoch"]) for row in rows] == [0, 1]
        losses = results["files"][0]["history"]["loss"]
        np.testing.assert_allclose([float(row["loss"]) for row in rows], losses, 1e-6)
    written = {"1.keras", "2.keras", "1.weights.h5", "2.weights.h5"}
    assert written <= {path.name for path in folder.iterdir()}
    for part in ("train", "validation"):
        files = [path.name for path in (folder / "board" / part).iterdir()]
        # events.out.tfevents.<time>.<host>.<process>.<number>.v2
        assert len({name.split(".")[-3] for name in files}) == 1


ENDLESS = """
from tests.training import workers_program as program

class Begun(program.keras.callbacks.Callback):
    batch_hook_freq = "epoch"
    def on_train_batch_end(self, batch, logs=None):
        print("begun", flush=True)

program.fit(program.make(), program.X, program.Y, epochs=10**6, callbacks=[Begun()])
"""


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("worker", [0, 1])
def test_a_worker_that_is_killed_ends_the_other(worker, number):
    with Cluster(ENDLESS) as cluster:
        end = time.monotonic() + 120
        while "begun" not in cluster.output(worker):
            assert time.monotonic() < end, cluster.output(worker, True)
            time.sleep(0.2)
        os.kill(cluster.processes[worker].pid, number)
        begin = time.monotonic()
        codes = cluster.wait(60)
        seconds = time.monotonic() - begin
        other = cluster.output(1 - worker, True)
    if number == signal.SIGTERM:
        # It raises in both; of the other signal, only TensorFlow takes notice.
        assert codes == [1 if one != worker else 128 + number for one in range(2)]
        assert f"WorkerError: Worker {worker} has raised SystemExit: 143" in other
        assert seconds < 30
    else:
        assert codes[worker] == -number
        assert codes[1 - worker] != 0
