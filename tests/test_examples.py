"""The examples run as a user would run them, and keep their promises."""

import csv
import importlib.util
import pathlib
import sys

import keras
import numpy as np
import pytest

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"


@pytest.fixture
def train_digits():
    path = EXAMPLES / "train_digits.py"
    spec = importlib.util.spec_from_file_location("train_digits", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["train_digits"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.long
def test_train_digits_keeps_its_promises(train_digits, tmp_path, capsys):
    results = train_digits.main(["--out", str(tmp_path)])
    assert [result.name for result in results] == ["Model.fit", "Trainer.fit", "Loop"]
    assert all(result.accuracy >= 0.97 for result in results)
    columns = set()
    for result in results:
        with open(result.log, newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 20
        columns.add(tuple(rows[0]))
    assert len(columns) == 1, "all three write the same columns"
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert keras.models.load_model(tmp_path / "model.keras").name == "digits"
    output = capsys.readouterr().out
    assert "Epoch 20/20" in output
    assert "test accuracy" in output


def test_train_digits_on_a_file(train_digits, tmp_path):
    rng = np.random.default_rng(0)
    names = {"train": 80, "test": 40}
    arrays = {
        f"{letter}_{part}": array
        for part, size in names.items()
        for letter, array in [
            ("x", rng.integers(0, 256, size=(size, 10, 12), dtype="uint8")),
            ("y", np.arange(size) % 4),
        ]
    }
    np.savez(tmp_path / "data.npz", **arrays)
    results = train_digits.main(
        ["--data", str(tmp_path / "data.npz"), "--out", str(tmp_path), "--epochs", "1"]
    )
    assert len(results) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "0"], "--epochs must be at least 1"),
        (["--data", "missing.npz"], "--data must name an .npz file"),
        (["--data", __file__], "--data must name an .npz file"),
        (["--out", __file__], "--out must name a folder"),
        (["--seed", "-1"], "--seed must not be negative"),
    ],
)
def test_train_digits_wrong_arguments(train_digits, capsys, arguments, message):
    with pytest.raises(SystemExit):
        train_digits.main(arguments)
    assert message in capsys.readouterr().err


def test_train_digits_wrong_file(train_digits, tmp_path):
    np.savez(tmp_path / "data.npz", x_train=np.zeros(3))
    with pytest.raises(SystemExit, match="Missing: x_test, y_test, y_train"):
        train_digits.main(
            ["--data", str(tmp_path / "data.npz"), "--out", str(tmp_path)]
        )


def test_train_digits_wrong_shapes(train_digits, tmp_path):
    images, labels = np.zeros((9, 4, 4, 3)), np.zeros(9)
    np.savez(
        tmp_path / "data.npz",
        x_train=images,
        y_train=labels,
        x_test=images,
        y_test=labels,
    )
    with pytest.raises(SystemExit, match=r"expected x_train of shape \(samples, h"):
        train_digits.main(
            ["--data", str(tmp_path / "data.npz"), "--out", str(tmp_path)]
        )


def test_train_digits_help(train_digits, capsys):
    with pytest.raises(SystemExit):
        train_digits.main(["--help"])
    output = capsys.readouterr().out
    for option in ("--epochs", "--seed", "--out", "--data"):
        assert option in output
