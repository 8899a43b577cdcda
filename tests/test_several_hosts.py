"""What the page on several devices says is done here, with processes on one machine."""

import csv
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from keras_ext.launch import free_ports
from tests.markers import needs_semaphores, needs_tensorflow

pytestmark = [needs_tensorflow, pytest.mark.early, pytest.mark.once]
PAGE = pathlib.Path(__file__).parents[1] / "docs/how-to/several_devices.md"
SECONDS = 240
SLURM = {
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_STEP_NODELIST": "127.0.0.1",
    "SLURM_STEP_TASKS_PER_NODE": "2",
}


def blocks(language):
    """Return the blocks of the page that are not run as tests of their own."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


PROGRAM, SAVED, RESOLVER, _ = blocks("py")
_, RESTARTED, BY_HAND = blocks("console")


def command(text):
    """Return a command of the page, run by this interpreter."""
    first, *rest = shlex.split(text)
    assert first == "python"
    return [sys.executable, *rest]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return an empty folder, in which commands run, outside of any scheduler."""
    for name in list(os.environ):
        if name.startswith(("SLURM_", "TF_CONFIG")):
            monkeypatch.delenv(name)
    path = os.pathsep.join([str(PAGE.parents[2]), *sys.path])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def started(folder, name, arguments, **environment):
    """Start a program that writes to a file, and return both."""
    output = folder / name
    with output.open("w") as file:
        process = subprocess.Popen(
            arguments,
            env={**os.environ, **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    return process, output


def wait_for(pattern, output, process):
    """Wait until a program has printed this, and return the match."""
    end = time.monotonic() + SECONDS
    while not (found := re.search(pattern, output.read_text(), re.DOTALL)):
        assert process.poll() is None, output.read_text()
        assert time.monotonic() < end, output.read_text()
        time.sleep(0.02)
    return found


def pids(process):
    """Return the numbers of the processes that one has started."""
    path = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(number) for number in path.read_text().split()]


def epochs_of(log):
    with open(log) as file:
        return [int(row["epoch"]) for row in csv.DictReader(file)]


@pytest.mark.long
@needs_semaphores
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs Linux's /proc")
def test_launched_killed_restarted_and_interrupted(folder):
    """By the page's commands; more epochs than there, so that there is time for it."""
    program = PROGRAM[: PROGRAM.index("trainer.fit(")] + SAVED
    program = program.replace("epochs=10", "epochs=300")
    # The page saves every ten minutes: after an epoch, here.
    program = program.replace('save_freq="10min"', 'save_freq="epoch"')
    (folder / "train.py").write_text(program)
    process, output = started(folder, "first", command(RESTARTED))
    try:
        wait_for(r"\[1\] Epoch 4/", output, process)
        os.kill(pids(process)[1], signal.SIGKILL)
        epoch = wait_for(r"restart 1 of 3.*?\[0\] Epoch (\d+)/", output, process)[1]
        # The checkpoint that is kept of those before was whole.
        assert int(epoch) >= 3
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 128 + signal.SIGINT, output.read_text()
    finally:
        process.kill()
    text = output.read_text()
    assert "worker 1 ended with 137" in text
    assert "restart 2" not in text
    for index in range(2):
        assert f"[{index}] KeyboardInterrupt: SIGINT: the run" in text
    done = len(epochs_of(folder / "log.csv"))
    assert 2 <= done < 300
    program = program.replace("epochs=300", f"epochs={done + 2}")
    (folder / "train.py").write_text(program)
    process, output = started(folder, "second", command(RESTARTED))
    try:
        assert process.wait(SECONDS) == 0, output.read_text()
    finally:
        process.kill()
    assert epochs_of(folder / "log.csv") == list(range(done + 2))


@pytest.mark.long
@needs_semaphores
def test_under_slurm(folder):
    """Both programs of a job, with the variables that Slurm sets."""
    (port,) = free_ports(1)
    # On one machine without GPUs, as the page says: one for each of the two tasks.
    pretend = f"port_base={port}, gpus_per_node=2, gpus_per_task=1, auto_set_gpu=False"
    resolver = RESOLVER.replace("Resolver()", f"Resolver({pretend})")
    plain = "strategy = tf.distribute.MultiWorkerMirroredStrategy()\n"
    assert plain in PROGRAM
    assert pretend in resolver
    (folder / "train.py").write_text(PROGRAM.replace(plain, resolver))
    *_, last = blocks("bash")[0].splitlines()
    assert last == "srun python train.py"
    workers = [
        started(folder, str(index), command(last[5:]), SLURM_PROCID=str(index), **SLURM)
        for index in range(2)
    ]
    try:
        for process, output in workers:
            assert process.wait(SECONDS) == 0, output.read_text()
    finally:
        for process, _ in workers:
            process.kill()
    ends = [
        re.findall(r"Epoch 10/10.*?loss: (\S+)", o.read_text(), re.DOTALL)
        for _, o in workers
    ]
    assert ends[0] == ends[1]
    assert len(ends[0]) == 1


def test_what_sets_tf_config(folder):
    """The command for a machine, and that of the Job for Kubernetes."""
    (folder / "train.py").write_text("import os; print(os.environ['TF_CONFIG'])")
    python = f'python() {{ {shlex.quote(sys.executable)} "$@"; }}\n'
    job = re.search(r"args:\n +- \|\n(.*)", blocks("yaml")[0], re.DOTALL)[1]
    # A function cannot be run by `exec`.
    job = textwrap.dedent(job).replace("exec python", "python")
    for code, names in (
        (BY_HAND, ["host0", "host1"]),
        (job, ["train-0.train", "train-1.train"]),
    ):
        printed = subprocess.run(
            ["sh", "-c", python + code],
            env={**os.environ, "JOB_COMPLETION_INDEX": "1"},
            capture_output=True,
            text=True,
            check=True,
            timeout=SECONDS,
        ).stdout
        config = json.loads(printed)
        assert config["cluster"] == {"worker": [f"{name}:2222" for name in names]}
        assert config["task"] == {"type": "worker", "index": int(code is job)}
