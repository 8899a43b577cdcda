"""A program that has imported what it needs, and forks where it would be started.

TensorFlow takes seconds to import; a training that is killed and started again some
forty times would spend most of its time on that. The program calls `serve`; those who
would start it ask a `ForkServer`, for something like a `subprocess.Popen`.
"""

import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading

# A fork has one thread: nothing that is imported may have started another one.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
TASKS = pathlib.Path("/proc/self/task")


def serve(address: str) -> None:
    """Return in a fork for every client, with its arguments in `sys.argv`.

    What the fork prints reaches the client, and then how it has ended. The server
    itself ends with its stdin.
    """
    threads = len(list(TASKS.iterdir())) if TASKS.exists() else 1
    assert threads == 1, f"A program with {threads} threads must not fork."
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen()
    print("ready", flush=True)
    waiting = []
    while True:
        if sys.stdin in select.select([server, sys.stdin], [], [])[0]:
            os._exit(0)
        client, _ = server.accept()
        waiting = [one for one in waiting if os.waitpid(one, os.WNOHANG) == (0, 0)]
        between = os.fork()
        if not between:
            break
        waiting.append(between)
        client.close()
    server.close()
    _fork_the_program(client)


def _fork_the_program(client: socket.socket) -> None:
    """Return in a fork; the process itself reports how that ends, and ends."""
    with client.makefile("rw") as stream:
        request = json.loads(stream.readline())
        program = os.fork()
        if program:
            _, status = os.waitpid(program, 0)
            print("ended", os.waitstatus_to_exitcode(status), file=stream, flush=True)
            os._exit(0)
        print("pid", os.getpid(), file=stream, flush=True)
        errors = os.open(request["stderr"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(client.fileno(), 1)
        os.dup2(errors, 2)
    client.close()
    sys.argv[1:] = request["arguments"]


class ForkServer:
    """A program that waits to be forked; it is started when it is first needed.

    Args:
        command: What starts it; the address to serve at is added.
        **options: Those of `subprocess.Popen`.
    """

    def __init__(self, command: list[str], **options: object) -> None:
        self._command = command
        self._options = options
        self._lock = threading.Lock()
        self._address: str | None = None

    def start(self, arguments: list[str], stderr: pathlib.Path) -> "Forked":
        """Return a fork of the program that gets these arguments."""
        with self._lock:
            if self._address is None:
                self._address = self._serve()
        return Forked(self._address, arguments, stderr)

    def _serve(self) -> str:
        # The path of a socket must be short.
        self._folder = tempfile.TemporaryDirectory()
        address = f"{self._folder.name}/socket"
        self._server = subprocess.Popen(
            [*self._command, address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **self._options,
        )
        assert self._server.stdout.readline() == "ready\n", "see its errors above"
        return address


class Forked:
    """A process that a `ForkServer` has forked, as `subprocess.Popen` would show it."""

    def __init__(
        self, address: str, arguments: list[str], stderr: pathlib.Path
    ) -> None:
        self._client = socket.socket(socket.AF_UNIX)
        self._client.connect(address)
        self._stream = self._client.makefile("rw")
        request = {"arguments": arguments, "stderr": str(stderr)}
        print(json.dumps(request), file=self._stream, flush=True)
        self.pid = int(self._stream.readline().split()[1])
        self.returncode: int | None = None
        self._printed = threading.Event()
        self._ended = threading.Event()
        self._first_line = ""
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with self._client, self._stream:
            for line in self._stream:
                if line.startswith("ended "):
                    self.returncode = int(line.split()[1])
                elif not self._first_line:
                    self._first_line = line
                    self._printed.set()
        self._ended.set()
        self._printed.set()

    def first_line(self) -> str:
        """Return the first line that it prints, or "" if it ends without one."""
        self._printed.wait()
        return self._first_line

    def poll(self) -> int | None:
        """Return how it has ended, `None` if it has not."""
        return self.returncode if self._ended.is_set() else None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, and return the exit status; minus the signal, if any."""
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        assert self.returncode is not None, "the server has ended before it"
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        self.send_signal(signal.SIGKILL)
