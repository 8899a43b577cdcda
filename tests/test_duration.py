"""Lengths of time as people write them."""

import fractions
import math

import numpy as np
import pytest

from keras_ext import _duration

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("90s", 90.0),
        ("10min", 600.0),
        ("2h", 7200.0),
        ("1d", 86400.0),
        ("1h30min", 5400.0),
        ("1d2h3min4s", 93784.0),
        ("30min1h", 5400.0),
        ("1min1min", 120.0),
        ("1.5h", 5400.0),
        ("0.25s", 0.25),
        ("0h1s", 1.0),
        ("007s", 7.0),
        (" 10 min ", 600.0),
        ("1 h 30 min", 5400.0),
        ("1h\t30min\n", 5400.0),
        (90, 90.0),
        (0.5, 0.5),
        (np.float32(0.5), 0.5),
        (np.float64(2.0), 2.0),
        (np.int64(3), 3.0),
    ],
)
def test_what_is_understood(written, expected):
    found = _duration.seconds("limit", written)
    assert found == expected
    assert type(found) is float


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "s",
        "min",
        "10",
        "10m",
        "10sec",
        "10 minutes",
        "10MIN",
        "1e3s",
        "1,5h",
        ".5h",
        "1.h",
        "1..5h",
        "+5s",
        "-5s",
        "1h-30min",
        "1h 30",
        "1h, 30min",
        "10 5s",
        "for 10s",
        "10s!",
        "0s",
        "0h0min",
        "01:30",
        "inf",
        "nan",
        "epoch",
        0,
        0.0,
        -1,
        -0.5,
        math.nan,
        -math.inf,
        True,
        False,
        None,
        [90],
        (1, "h"),
        {"h": 1},
        b"90s",
        fractions.Fraction(1, 2),
        1j,
    ],
)
def test_what_is_refused(value):
    with pytest.raises(ValueError, match="`limit` must be a length of time") as error:
        _duration.seconds("limit", value)
    assert "'1h30min'" in str(error.value)
    assert str(error.value).endswith(f"Received: limit={value!r}")


def test_the_name_is_that_of_the_argument():
    with pytest.raises(ValueError, match=r"`save_freq` must be .*save_freq='10m'"):
        _duration.seconds("save_freq", "10m")
