"""The benchmarks start; their figures are not for the suite to judge."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("fit_speed", "--data"),
        ("step_profile", "--data"),
        ("checkpoint_cost", "--data"),
        ("kill_test", "--kills"),
        ("layers", "--only"),
        ("metrics", "--only"),
    ],
)
def test_help(name, option):
    result = subprocess.run(
        [sys.executable, BENCHMARKS / f"{name}.py", "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert option in result.stdout
