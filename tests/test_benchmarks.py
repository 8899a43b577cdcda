"""The benchmarks start; their figures are not for the suite to judge."""

import json
from pathlib import Path

import pytest

from tests.programs import printed

pytestmark = pytest.mark.once

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
OPTIONS = [
    ("addons", "--save"),
    ("addons_oracle", "--rooms"),
    ("addons_programs", "--save"),
    ("fit_speed", "--data"),
    ("step_profile", "--data"),
    ("checkpoint_cost", "--data"),
    ("kill_test", "--kills"),
    ("layers", "--only"),
    ("metrics", "--only"),
    ("optimizers", "--rows"),
    ("several_devices", "--rounds"),
    ("speed_picture", "--out"),
    ("callbacks", "--only"),
    ("foreign", "--epochs"),
]
# One process, which imports TensorFlow once: calls each as a program with --help.
CODE = """
import contextlib, io, json, pathlib, runpy, sys

texts, before = {}, sys.path[:]
for path in sys.argv[1:]:
    # The folder of a program comes first.
    sys.path[:] = [str(pathlib.Path(path).parent), *before]
    sys.argv = [path, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as text:
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as end:
            assert not end.code, (path, end.code)
    texts[pathlib.Path(path).stem] = text.getvalue()
print(json.dumps(texts))
"""


@pytest.fixture(scope="module")
def helps():
    paths = [str(BENCHMARKS / f"{name}.py") for name, _ in OPTIONS]
    return json.loads(printed("-c", CODE, *paths).splitlines()[-1])


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_help(helps, name, option):
    assert option in helps[name]
