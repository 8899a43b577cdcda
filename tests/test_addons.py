"""What has the numbers of TensorFlow Addons has them, as it computed them itself."""

import importlib.util
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_ext

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "where_did_it_go.md"
SAVED = np.load(ROOT / "tests" / "addons.npz")

PROGRAMS = np.load(ROOT / "tests" / "addons_programs.npz")


def _benchmark(name):
    path = ROOT / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


addons, programs = _benchmark("addons"), _benchmark("addons_programs")

ROWS = [row for room in addons.ROOMS for row in room()]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_equals_addons(row):
    now = addons.flat(row.now(keras, keras_ext))
    np.testing.assert_allclose(now, SAVED[row.name], rtol=1e-5, atol=1e-5)


def test_every_row_was_computed_and_is_in_the_table_of_the_page():
    text = PAGE.read_text(encoding="utf-8")
    table = text.partition(addons.HEADER)[2].partition("\n\n")[0]
    assert [row.name for row in ROWS] == SAVED.files
    assert [
        line.split(" | ")[0].strip("| ").replace("`", "")
        for line in table.splitlines()[1:]
    ] == SAVED.files


@pytest.mark.parametrize("name", programs.PROGRAMS)
def test_a_program_has_the_curves_that_it_had(name):
    """From the same weights, written by the page alone."""
    for curve, (then, now) in programs.compared(PROGRAMS, name).items():
        assert len(then) == len(now), curve
        np.testing.assert_allclose(now, then, rtol=0, atol=1e-4, err_msg=curve)
