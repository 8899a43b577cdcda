"""Print the table: `python -m tests.training.keras_situations [name of a row ...]`."""

import pathlib
import sys
import tempfile
import textwrap

import numpy as np

from tests.training.keras_situations import SITUATIONS
from tests.training.keras_situations.running import run
from tests.training.keras_situations.table import SAME, STOCK, assert_same


def _result(row, way):
    with tempfile.TemporaryDirectory() as folder:
        try:
            return run(row, way, pathlib.Path(folder) / "run")
        except Exception as error:
            return f"{type(error).__name__}: {error}"


def _verdict(actual, expected):
    try:
        assert_same(actual, expected)
    except Exception as error:
        return "DIFFERENT in " + str(error).strip().splitlines()[0]
    return "the same"


def main(names):
    np.set_printoptions(precision=4, threshold=20)
    for row in SITUATIONS:
        if names and row.name not in names:
            continue
        stock = _result(row, STOCK)
        print(f"{row.name}: {' '.join(row.run.__doc__.split())}")
        print(textwrap.shorten(f"    stock    {stock}", 900))
        expected = stock if row.ours is SAME else row.ours
        for way in row.ways:
            ours = _result(row, way)
            print(textwrap.shorten(f"    {way.name:8} {ours}", 900))
            print(f"    {way.name:8} {_verdict(ours, expected)} {row.because}")


if __name__ == "__main__":
    main(sys.argv[1:])
