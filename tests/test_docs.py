"""The API reference has every public name, once."""

import collections
import functools
import importlib.util
import inspect
import pathlib
import re

import keras
import pytest

import keras_ext
from keras_ext import callbacks, layers, losses, metrics, models, optimizers, schedules

if keras.backend.backend() != "tensorflow":
    pytest.skip("keras_ext.training needs TensorFlow", allow_module_level=True)

from keras_ext import addons, training
from keras_ext.training.trainer import hooks

pytestmark = pytest.mark.once

DOCS = pathlib.Path(__file__).parents[1] / "docs"


def _script(name):
    """Return a module of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class_pages = _script("class_pages")
formulas = _script("formulas")
API = {path.stem: path.read_text(encoding="utf-8") for path in DOCS.glob("api/*.md")}
ROOMS = [
    layers,
    models,
    losses,
    metrics,
    schedules,
    optimizers,
    callbacks,
    training,
    addons,
]


def _directives(page, kinds):
    return re.findall(rf"^ *\.\. (?:{kinds}):: ([\w.]+)", API[page], re.MULTILINE)


def _room_name(room):
    return room.__name__.removeprefix("keras_ext.")


def _public_names(room):
    """Return the names of a room, by the shortest path where a user finds them."""
    return [
        f"keras_ext.{name}" if name in keras_ext.__all__ else f"{room.__name__}.{name}"
        for name in room.__all__
    ]


def _summarized(room):
    """Return the names in the tables at the top of a room's page."""
    tables = re.findall(
        r"\.\. autosummary::\n   :nosignatures:\n\n((?:   .+\n)+)",
        API[_room_name(room)],
    )
    names = [name for table in tables for name in table.split()]
    return [name if "." in name else f"{room.__name__}.{name}" for name in names]


@pytest.mark.parametrize("room", ROOMS, ids=_room_name)
def test_every_public_name_of_a_room_is_in_its_table_once(room):
    assert sorted(_summarized(room)) == sorted(_public_names(room))


@pytest.mark.parametrize("room", ROOMS, ids=_room_name)
def test_every_public_name_of_a_room_is_documented_once(room):
    kinds = "automodule|autoclass|autofunction"
    documented = _directives(_room_name(room), kinds)
    if _room_name(room) in class_pages.ROOMS:
        pages = class_pages.pages(_room_name(room), room.__all__)
        text = "\n".join(pages.values())
        documented += re.findall(rf"^\.\. (?:{kinds}):: ([\w.]+)", text, re.MULTILINE)
    assert sorted(documented) == sorted([room.__name__, *_public_names(room)])


def test_pages_of_classes_follow_the_names(tmp_path):
    folder = tmp_path / "losses"
    class_pages.write(folder, "losses", ["Gone", "Pinball", "pinball"])
    class_pages.write(folder, "losses", ["Pinball", "pinball"])
    assert [page.name for page in folder.iterdir()] == ["Pinball.rst"]
    page = (folder / "Pinball.rst").read_text(encoding="utf-8")
    assert page.startswith("Pinball\n=======\n")
    assert "autofunction:: keras_ext.losses.pinball" in page


def test_a_function_that_has_no_class_has_a_page():
    pages = class_pages.pages("layers", ["Snake", "interpolate_spline", "snake"])
    assert sorted(pages) == ["Snake", "interpolate_spline"]
    assert "autofunction:: keras_ext.layers.interpolate" in pages["interpolate_spline"]


def test_every_formula_is_set_in_latex():
    formula, code, found = set(), set(), 0
    for room in (layers, losses, metrics, schedules, optimizers, callbacks):
        for name in room.__all__:
            text = inspect.getdoc(getattr(room, name)) or ""
            code |= {" ".join(one.split()) for one in re.findall(r"`([^`]+)`", text)}
            for paragraph in text.split("\n\n"):
                whole = re.fullmatch(r"`([^`]+)`[,;.]?", paragraph.strip())
                begun = re.match(r"`([^`]* = [^`]*)`", paragraph.strip())
                if whole or begun:
                    found += 1
                    formula.add(" ".join((whole or begun)[1].split()))
    assert found > 50
    assert formula <= set(formulas.FORMULAS), "set them in docs/formulas.py"
    assert set(formulas.FORMULAS) <= code, "take what is gone out of docs/formulas.py"


def test_every_name_of_the_package_is_documented():
    documented = {"keras_ext.__version__"} & set(re.findall(r"`(.+?)`", API["index"]))
    for room in ROOMS:
        documented |= {room.__name__, *_public_names(room)}
    assert {f"keras_ext.{name}" for name in keras_ext.__all__} <= documented


def test_every_room_has_a_page():
    rooms = {_room_name(room) for room in ROOMS}
    assert set(API) == rooms | {"index"}
    for page in rooms:
        assert f"[]({page}.md)" in API["index"]


def _is_ours(kind):
    return kind.__module__.split(".")[0] == "keras_ext"


def _own_names(public_class):
    """Return the public methods and properties that Keras's base classes don't have.

    They may be defined in any base class that is ours, whatever file that is in.
    """
    ours = [kind for kind in public_class.__mro__ if _is_ours(kind)]
    others = [kind for kind in public_class.__mro__ if not _is_ours(kind)]
    inherited = {name for kind in others for name in vars(kind)}
    return {
        name
        for kind in ours
        for name, value in vars(kind).items()
        if not name.startswith("_") and name not in inherited and _is_member(value)
    }


def _is_member(value):
    kinds = (classmethod, staticmethod, property, functools.cached_property)
    return inspect.isroutine(value) or isinstance(value, kinds)


def _members(page):
    """Return the members that a page names, and the classes it shows with all."""
    names = _directives(page, "automethod|autoproperty|py:method")
    whole = re.findall(r"autoclass:: ([\w.]+)\n +:members:", API[page])
    return [name.split("(")[0] for name in names], whole


CLASSES = [
    pytest.param(room, name, id=name)
    for room in ROOMS
    for name in room.__all__
    if inspect.isclass(getattr(room, name))
]
GUIDES = "\n".join(
    path.read_text(encoding="utf-8")
    for path in DOCS.rglob("*.md")
    if path.parent.name not in ("api", "_build")
)
FOR_OTHER_ROOMS = {
    "add": "the metrics that derive from WeightedMean",
    "drive": "Trainer and Loop, of Checkpoint",
    "is_due": "Trainer and Loop, of Checkpoint",
    "is_time": "Trainer and Loop, of Checkpoint",
    "is_timed": "Trainer and Loop, of Checkpoint",
    "matrix": "the metrics that derive from ConfusionMetric",
    "next_epoch": "Trainer and Loop, of Checkpoint",
    "release": "Trainer and Loop, of Checkpoint",
    "saved": "Trainer and Loop, of Checkpoint",
}
"""What other rooms call of a public class, and no user: the name, and who calls it."""


@pytest.mark.parametrize(("room", "name"), CLASSES)
def test_every_public_method_is_documented(room, name):
    public_class = getattr(room, name)
    pages, whole = _members(_room_name(room))
    in_docstring = r"(?m)^ *{}:|`(?:\w+\.)?{}\b"
    missing = {
        own
        for own in _own_names(public_class) - set(pages) - set(FOR_OTHER_ROOMS)
        if not any(one.endswith(f".{name}") for one in whole)
        and not re.search(in_docstring.format(own, own), inspect.getdoc(public_class))
        and not re.search(rf"`(?:\w+\.)?{own}\b", GUIDES)
    }
    assert not missing, (
        f"{name} has public methods or properties that neither docs/api/, nor a guide, "
        "nor the docstring of the class mentions. Document them, or start their names "
        "with an underscore."
    )


@pytest.mark.parametrize(("room", "name"), CLASSES)
def test_every_public_method_has_a_docstring(room, name):
    public_class = getattr(room, name)
    for kind in filter(_is_ours, public_class.__mro__):
        for own, value in vars(kind).items():
            if not own.startswith("_") and _is_member(value):
                assert inspect.getdoc(getattr(public_class, own)), own


def test_what_is_for_other_rooms_is_there():
    owned = set().union(*(_own_names(getattr(*case.values)) for case in CLASSES))
    assert set(FOR_OTHER_ROOMS) <= owned, "take what is gone out of FOR_OTHER_ROOMS"


def test_what_makes_a_trainer_of_a_model_is_documented():
    # In docs/api/training.md, each once: what is new, and what it does in its own way.
    # What Keras calls, and nobody else, is not.
    for_keras = {"get_config", "get_compile_config", "compile_from_config"}
    for_keras |= {f"make_{step}_function" for step in ("train", "test", "predict")}
    changed = set(vars(keras_ext.Trainer)) - for_keras
    own = _own_names(keras_ext.Trainer) | changed
    public = {name for name in own if not name.startswith("_")} - set(FOR_OTHER_ROOMS)
    members = collections.Counter(_members("training")[0])
    assert {*hooks.HOOKS, *public} <= set(members)
    assert set(members.values()) == {1}


def test_the_reference_names_every_hook():
    page = (DOCS / "reference" / "trainer.md").read_text(encoding="utf-8")
    for hook in hooks.HOOKS:
        assert f"| `{hook}(" in page


@pytest.mark.parametrize("room", [losses, metrics, schedules], ids=_room_name)
def test_the_gallery_shows_every_class(room):
    gallery = (DOCS / "reference" / "gallery.md").read_text(encoding="utf-8")
    classes = {name for name in room.__all__ if inspect.isclass(getattr(room, name))}
    shown = re.findall(rf"{{class}}`~{room.__name__}\.(\w+)`", gallery)
    assert classes <= set(shown)


def test_programs_that_are_named_exist():
    root = DOCS.parent
    named = set()
    for page in [*DOCS.rglob("*.md"), *root.glob("*.md"), root / "examples/README.md"]:
        text = page.read_text("utf-8")
        named.update(re.findall(r"\b((?:examples|benchmarks|tests)/\w+\.py)", text))
    assert len(named) > 15
    assert {name for name in named if not (root / name).exists()} == set()
