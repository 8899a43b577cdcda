"""README promises what the package and the other pages hold."""

import json
import pathlib
import re

import pytest
from PIL import Image

import keras_ext

pytestmark = pytest.mark.once

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PACKAGES = ["layers", "models", "losses", "metrics", "schedules", "optimizers"]
HELPERS = {"load_applications_weights", "plot_schedule", "viterbi_decode"}


def _components(package):
    """Return the classes of a package, and the functions that build models."""
    room = getattr(keras_ext, package)
    return {
        name
        for name in room.__all__
        if name not in HELPERS and (package == "models" or name[0].isupper())
    }


def _table():
    lines = README.split("## Components")[1].split("\n## ")[0].splitlines()
    return set(re.findall(r"`(\w+)`", "\n".join(lines)))


@pytest.mark.parametrize("package", [*PACKAGES, "callbacks"])
def test_the_table_names_every_component(package):
    assert _components(package) <= _table()


def test_the_table_names_what_the_package_has_itself():
    own = {name for name in keras_ext.__all__ if name[0].isupper()}
    assert own <= _table()


def test_the_table_names_nothing_else():
    known = {name for name in keras_ext.__all__ if name[0].isupper()}
    for package in [*PACKAGES, "callbacks"]:
        known |= {package, *getattr(keras_ext, package).__all__}
    assert _table() <= {*known, "keras_ext"}


def test_the_number_of_components():
    promised = int(re.search(r"(\d+) components", README)[1])
    assert promised == sum(len(_components(package)) for package in PACKAGES)


def test_it_is_short():
    assert len(README.splitlines()) <= 130


def test_speeds_are_those_of_the_page_about_speed():
    page = (ROOT / "docs" / "explanation" / "speed.md").read_text(encoding="utf-8")
    measured = {float(ratio) for ratio in re.findall(r"([\d.]+)x faster", page)}
    promised = re.findall(r"([\d.]+) times", README.split("\n## ")[0])
    assert len(promised) == 3
    assert {float(ratio) for ratio in promised} <= measured


def test_the_picture_shows_what_the_page_about_speed_says(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import speed_picture

    bars = speed_picture.read_bars(speed_picture.PAGE.read_text(encoding="utf-8"))
    with Image.open(speed_picture.PICTURE) as picture:
        shown = json.loads(picture.info["Description"])
    assert [tuple(bar) for bar in shown] == bars, "run benchmarks/speed_picture.py"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", text)
    if page == "README.md":
        assert len(targets) > 5
    for target in targets:
        assert (ROOT / target).exists(), target


def test_versions_are_those_of_the_metadata():
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    needed = dict(re.findall(r"(?m)^    (keras|tensorflow)>=([\d.]+)$", setup))
    assert f"Keras {needed['keras']} or newer" in README
    assert f"TensorFlow {needed['tensorflow']} or newer" in README
    pythons = re.findall(r"Python :: (3\.\d+)$", setup, re.MULTILINE)
    assert f"Python {pythons[0]} to {pythons[-1]}" in README
