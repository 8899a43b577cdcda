"""`python -m keras_ext.launch`: workers start, print, fail and end together."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from keras_ext import launch

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    for name in ("TF_CONFIG", "SLURM_PROCID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def program(tmp_path):
    """Return a function that writes a program, and returns its path."""

    def write(code):
        path = tmp_path / "program.py"
        path.write_text(
            "import json, os, signal, sys, time\n"
            "task = json.loads(os.environ['TF_CONFIG'])['task']\n"
            "index = task['index']\n" + code
        )
        return str(path)

    return write


def test_each_worker_gets_its_place_and_the_arguments(program, capfd):
    file = program("print(os.environ['TF_CONFIG'], sys.argv[1:])")
    assert launch.main(["--workers", "3", file, "--epochs", "2"]) == 0
    lines = sorted(capfd.readouterr().out.splitlines())
    configs = []
    for index, line in enumerate(lines):
        assert line.startswith(f"[{index}] ")
        config, arguments = line[4:].rsplit(" [", 1)
        assert arguments == "'--epochs', '2']"
        configs.append(json.loads(config))
    assert [one["task"] for one in configs] == [
        {"type": "worker", "index": index} for index in range(3)
    ]
    (addresses,) = {tuple(one["cluster"]["worker"]) for one in configs}
    assert len(set(addresses)) == 3
    assert all(one.startswith("127.0.0.1:") for one in addresses)


def test_output_and_errors_stay_apart(program, capfd):
    file = program("print('out'); print('no line end', end='', file=sys.stderr)")
    assert launch.main(["--workers", "1", file]) == 0
    captured = capfd.readouterr()
    assert captured.out == "[0] out\n"
    assert captured.err == "[0] no line end\n"


def test_a_worker_that_fails_ends_the_others(program, capfd):
    file = program("sys.exit(7) if index == 1 else time.sleep(60)")
    begin = time.monotonic()
    assert launch.main(["--workers", "3", file]) == 7
    assert time.monotonic() - begin < 30
    assert "worker 1 ended with 7" in capfd.readouterr().err


def test_who_does_not_end_is_ended(program, monkeypatch):
    monkeypatch.setattr(launch, "_GRACE", 0.3)
    file = program(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "if index: time.sleep(0.5); os.kill(os.getpid(), signal.SIGKILL)\n"
        "time.sleep(60)"
    )
    begin = time.monotonic()
    assert launch.main(["--workers", "2", file]) == 128 + signal.SIGKILL
    assert time.monotonic() - begin < 30


def test_restarts_until_all_end_well(program, tmp_path, capfd):
    file = program(
        "attempts = len(os.listdir(sys.argv[1]))\n"
        "if index == 0:\n"
        "    open(f'{sys.argv[1]}/{attempts}', 'w').close()\n"
        "    sys.exit(3 if attempts < 2 else 0)"
    )
    folder = tmp_path / "attempts"
    folder.mkdir()
    arguments = ["--workers", "2", "--restarts", "1", file, str(folder)]
    assert launch.main(arguments) == 3
    assert len(list(folder.iterdir())) == 2
    assert launch.main(arguments) == 0
    assert "restart 1 of 1" in capfd.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_and_not_followed_by_a_restart(program, number, capfd):
    file = program(
        "def leave(number, frame):\n"
        "    print('got', signal.Signals(number).name, flush=True)\n"
        "    sys.exit(75)\n"
        "for one in (signal.SIGTERM, signal.SIGINT): signal.signal(one, leave)\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    timer = threading.Timer(2.0, os.kill, (os.getpid(), number))
    timer.start()
    before = signal.getsignal(number)
    assert launch.main(["--workers", "2", "--restarts", "5", file]) == 75
    assert signal.getsignal(number) is before
    output = capfd.readouterr().out
    for index in range(2):
        assert f"[{index}] got {signal.Signals(number).name}" in output


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"TF_CONFIG": '{"task": {"index": 5}}'}, "TF_CONFIG is set"),
        (
            {"SLURM_PROCID": "1", "SLURM_NTASKS": "2"},
            "Slurm has started several tasks",
        ),
    ],
)
def test_one_of_several_workers_is_run_as_it_is(
    tmp_path, monkeypatch, capfd, variables, reason
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "program.py"
    file.write_text("import os, sys; print(os.environ.get('TF_CONFIG')); sys.exit(4)")
    assert launch.main(["--workers", "2", str(file)]) == 4
    captured = capfd.readouterr()
    assert captured.out == f"{variables.get('TF_CONFIG')}\n"
    assert reason in captured.err


@pytest.mark.parametrize(
    "wrong", [["--workers", "0"], ["--workers", "2", "--restarts", "-1"]]
)
def test_wrong_numbers(wrong, capsys):
    with pytest.raises(SystemExit):
        launch.main([*wrong, "train.py"])
    assert "Expected --workers of at least 1" in capsys.readouterr().err


def test_as_a_program_of_a_module():
    command = [sys.executable, "-m", "keras_ext.launch", "--workers", "2"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [*command, "-m", "platform"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert {line[:4] for line in done.stdout.splitlines()} == {"[0] ", "[1] "}
