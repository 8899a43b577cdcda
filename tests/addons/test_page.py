"""The page about the bridge runs, as it cannot where the other pages are tested."""

import pathlib
import re

import keras

from tests.addons.both_keras import largest_difference

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "how-to" / "tensorflow_addons.md"


def test_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    blocks = re.findall(r"(?ms)^```py$\n(.*?)^```$", PAGE.read_text(encoding="utf-8"))
    for block in blocks:
        exec(block, names)
    assert len(blocks) == 1
    again = keras.saving.load_model("model.keras")
    x = names["x"]
    assert largest_difference([again(x)], [names["model"](x)]) == 0
