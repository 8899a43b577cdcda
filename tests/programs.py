"""Programs that tests run in a process of their own."""

import os
import subprocess
import sys


def printed(*arguments: str, **environment: str) -> str:
    """Return what Python prints when called with `arguments`; it must not fail."""
    path = os.pathsep.join(sys.path)
    result = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout
