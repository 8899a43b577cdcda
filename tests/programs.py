"""Programs that tests run in a process of their own."""

import os
import subprocess
import sys


def printed(*arguments: str, timeout: float | None = None, **environment: str) -> str:
    """Return what Python prints when called with `arguments`; it must not fail.

    Nor must it take longer than `timeout` seconds.
    """
    path = os.pathsep.join(sys.path)
    result = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout
