"""Stock Keras and Trainer, compared on every row of the table of situations."""

import pytest

from tests.training.keras_situations import SITUATIONS
from tests.training.keras_situations.running import run
from tests.training.keras_situations.table import SAME, STOCK, assert_same

_stocks = {}


def _stock(row, folder):
    """What stock Keras gives, worked out once for all ways to compare with it."""
    if row.name not in _stocks:
        _stocks[row.name] = run(row, STOCK, folder)
    return _stocks[row.name]


def _marks(number, row, way):
    if way is not row.ways[0]:
        return pytest.mark.long
    # For other versions, a third of the rows: neighbors in the table are alike.
    return pytest.mark.once if number % 3 else []


@pytest.mark.parametrize(
    ("row", "way"),
    [
        pytest.param(
            row, way, id=f"{row.name}-{way.name}", marks=_marks(number, row, way)
        )
        for number, row in enumerate(SITUATIONS)
        for way in row.ways
    ],
)
def test_row(row, way, tmp_path):
    if row.needs:
        pytest.importorskip(row.needs)
    expected = _stock(row, tmp_path / "stock") if row.ours is SAME else row.ours
    assert_same(run(row, way, tmp_path / way.name), expected)


@pytest.mark.parametrize(
    "row", [row for row in SITUATIONS if row.ours is not SAME], ids=lambda row: row.name
)
def test_stock_differs_where_the_table_says_so(row, tmp_path):
    assert row.because
    stock = _stock(row, tmp_path / "stock")
    with pytest.raises(AssertionError):
        assert_same(stock, row.ours)


def test_names_are_unique_and_every_situation_is_described():
    names = [row.name for row in SITUATIONS]
    assert len(names) == len(set(names))
    assert all(row.run.__doc__ for row in SITUATIONS)
