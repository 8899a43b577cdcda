"""Programs in several processes that train together, each wait bounded."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from keras_ext.launch import free_ports

ROOT = pathlib.Path(__file__).parents[2]
# What every program begins with: the stacks of all threads upon SIGUSR1.
BEGIN = "import faulthandler, signal; faulthandler.register(signal.SIGUSR1)\n"


def _file():
    return tempfile.TemporaryFile("w+")


class Cluster:
    """The same program in several processes, as `TF_CONFIG` names them.

    Args:
        program: Python code; it prints what it has to say.
        count: The number of processes.
        environment: Further variables of the environment.
    """

    def __init__(self, program, count=2, environment=None):
        cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(count)]}
        self.processes, self._files = [], []
        self._stack = contextlib.ExitStack()
        for index in range(count):
            config = {"cluster": cluster, "task": {"type": "worker", "index": index}}
            own = {"TF_CONFIG": json.dumps(config), "PYTHONPATH": str(ROOT)}
            # Files, since a pipe fills up if it is not read.
            files = [self._stack.enter_context(_file()) for _ in range(2)]
            self._files.append(files)
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-c", BEGIN + program],
                    env={**os.environ, **own, **(environment or {})},
                    stdout=files[0],
                    stderr=files[1],
                )
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()
        self._stack.close()

    def output(self, index, errors=False):
        """Return what a process has printed so far."""
        file = self._files[index][errors].fileno()
        # Not by `seek`: the process writes where this file stands.
        return os.pread(file, os.fstat(file).st_size, 0).decode(errors="replace")

    def wait(self, seconds=300):
        """Wait for all, and return their exit codes; a hang fails with all stacks."""
        end = time.monotonic() + seconds
        for process in self.processes:
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise AssertionError(self._stacks(seconds)) from None
        return [process.returncode for process in self.processes]

    def _stacks(self, seconds):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGUSR1)
        time.sleep(1)
        return f"Not ended after {seconds} s:\n" + "\n".join(
            f"---- worker {index}\n{self.output(index)}\n{self.output(index, True)}"
            for index in range(len(self.processes))
        )
