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

spec = importlib.util.spec_from_file_location(
    "benchmarks_addons", ROOT / "benchmarks" / "addons.py"
)
addons = importlib.util.module_from_spec(spec)
spec.loader.exec_module(addons)

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
