"""Start the workers of a training on this machine: `python -m keras_ext.launch`.

Each worker is the same program, with a `TF_CONFIG` that names all of them, as
`tf.distribute.MultiWorkerMirroredStrategy` expects. What they print is passed on with
the number of the worker before each line. If one fails, the others are ended, and with
`--restarts` all are started again.

```console
python -m keras_ext.launch --workers 2 train.py --epochs 10
```

Where a `TF_CONFIG` is set already, as Kubernetes and Ray do, or this is one of several
tasks of Slurm, the program is simply run: it is one worker of many.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType
from typing import IO, Any

_GRACE = 10.0
"""Seconds between the requests to end and the end by force."""
_POLL = 0.05
"""Seconds."""
_ELSEWHERE = """\
on several machines, something else starts the same program in each of them:
  Slurm       `srun python train.py`, and in the program
              tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=
                  tf.distribute.cluster_resolver.SlurmClusterResolver())
  Kubernetes  an indexed Job that sets TF_CONFIG, or Kubeflow's training operator
  Ray         ray.train.tensorflow.TensorflowTrainer, which sets TF_CONFIG

The page "Train on several devices" of the documentation has a file for each.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit code.

    That of the worker that failed first; of a signal, 128 plus its number.

    Args:
        arguments: Those of the command line. Default: `None`, for `sys.argv`.
    """
    options = _parser().parse_args(arguments)
    if options.workers < 1 or options.restarts < 0:
        _parser().error(
            "Expected --workers of at least 1 and --restarts of at least 0. Received: "
            f"--workers {options.workers} --restarts {options.restarts}"
        )
    module = ["-m"] if options.module else []
    command = [sys.executable, *module, options.program, *options.arguments]
    reason = _why_not_here(os.environ)
    if reason is not None:
        _say(f"{reason}: this is one worker of several, which is run as it is.")
        return _exit_code(subprocess.run(command).returncode)
    with _passed_on() as received:
        for attempt in range(options.restarts + 1):
            code = _Workers(command, options.workers).run(received)
            if code == 0 or received:
                break
            if attempt < options.restarts:
                _say(f"restart {attempt + 1} of {options.restarts}")
    return code


class _Workers:
    """The processes of one attempt."""

    def __init__(self, command: list[str], count: int) -> None:
        addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
        self._processes: list[subprocess.Popen[str]] = []
        self._threads: list[threading.Thread] = []
        for index in range(count):
            config = {
                "cluster": {"worker": addresses},
                "task": {"type": "worker", "index": index},
            }
            process = subprocess.Popen(
                command,
                env={
                    **os.environ,
                    "TF_CONFIG": json.dumps(config),
                    "PYTHONUNBUFFERED": "1",
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
            self._processes.append(process)
            for source, target in zip(
                (process.stdout, process.stderr), (sys.stdout, sys.stderr), strict=True
            ):
                thread = threading.Thread(target=_copy, args=(index, source, target))
                thread.start()
                self._threads.append(thread)

    def run(self, received: list[int]) -> int:
        """Wait for all, and return the exit code of the first that failed, or 0.

        Args:
            received: Signals, as they come; they are passed on to the workers.
        """
        code, passed_on, deadline = 0, 0, float("inf")
        while any(process.poll() is None for process in self._processes):
            failed = [p for p in self._processes if p.poll() not in (None, 0)]
            if failed and not code:
                code = _exit_code(failed[0].returncode)
                _say(f"worker {self._processes.index(failed[0])} ended with {code}")
                self._send(signal.SIGTERM)
                deadline = time.monotonic() + _GRACE
            for number in received[passed_on:]:
                self._send(number)
                passed_on += 1
            if time.monotonic() > deadline:
                self._send(signal.SIGKILL)
            time.sleep(_POLL)
        for thread in self._threads:
            thread.join()
        codes = [_exit_code(process.returncode) for process in self._processes]
        return code or next((one for one in codes if one), 0)

    def _send(self, number: int) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(number)


@contextlib.contextmanager
def _passed_on() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of ending."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = {one: signal.signal(one, note) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _copy(index: int, source: IO[str], target: Any) -> None:
    """Pass on what a worker prints, line by line."""
    with source:
        for line in source:
            text = line.rstrip("\n")
            target.write(f"[{index}] {text}\n")
            target.flush()


def _why_not_here(environment: Mapping[str, str]) -> str | None:
    """Return what has started this process as one of several, or `None`."""
    if "TF_CONFIG" in environment:
        return "TF_CONFIG is set"
    if int(environment.get("SLURM_NTASKS", 1)) > 1 and "SLURM_PROCID" in environment:
        return "Slurm has started several tasks"
    return None


def free_ports(count: int) -> list[int]:
    """Return different ports of this machine that no program uses.

    None of those that the system gives to others (from 32768 on, in Linux): one of
    them could be taken before the workers have imported TensorFlow.

    Args:
        count: How many.
    """
    found: set[int] = set()
    while len(found) < count:
        port = random.SystemRandom().randrange(20000, 32000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.add(port)
    return list(found)


def _exit_code(returned: int) -> int:
    """Return an exit code as a shell does: 128 and the number of a signal."""
    return returned if returned >= 0 else 128 - returned


def _say(text: str) -> None:
    print(f"keras_ext.launch: {text}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m keras_ext.launch",
        description="Start the workers of a training on this machine.",
        epilog=_ELSEWHERE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--workers", type=int, required=True, help="how many processes to start"
    )
    parser.add_argument(
        "--restarts",
        type=int,
        default=0,
        help="how often all are started again after one has failed; default: 0",
    )
    parser.add_argument(
        "-m",
        dest="module",
        action="store_true",
        help="the program is the name of a module, as of `python -m`",
    )
    parser.add_argument("program", help="a Python file")
    parser.add_argument(
        "arguments", nargs=argparse.REMAINDER, help="those of the program"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
