"""The API reference has every public name, once."""

import collections
import inspect
import pathlib
import re

import keras
import pytest

import keras_ext
from keras_ext import callbacks, layers, losses, metrics, models, optimizers, schedules

if keras.backend.backend() != "tensorflow":
    pytest.skip("keras_ext.training needs TensorFlow", allow_module_level=True)

from keras_ext import training
from keras_ext.training.trainer import hooks
from keras_ext.training.trainer.wrapper import WrappedModel

DOCS = pathlib.Path(__file__).parents[1] / "docs"
API = {path.stem: path.read_text(encoding="utf-8") for path in DOCS.glob("api/*.md")}
ROOMS = [layers, models, losses, metrics, schedules, optimizers, callbacks, training]


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


@pytest.mark.parametrize("room", ROOMS, ids=_room_name)
def test_every_public_name_of_a_room_is_documented_once(room):
    documented = _directives(_room_name(room), "automodule|autoclass|autofunction")
    assert sorted(documented) == sorted([room.__name__, *_public_names(room)])


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


def test_what_makes_a_trainer_of_a_model_is_documented():
    added = set(vars(WrappedModel)) - set(dir(keras.Model))
    # What Keras calls, and nobody else.
    for_keras = {"get_config", "get_compile_config", "compile_from_config"}
    for_keras |= {f"make_{step}_function" for step in ("train", "test", "predict")}
    own = added.union(vars(keras_ext.Trainer)) - for_keras
    public = {name for name in own if not name.startswith("_")}
    members = _directives("training", "automethod|autoproperty|py:method")
    members = collections.Counter(member.split("(")[0] for member in members)
    assert {*hooks.HOOKS, *public} <= set(members)
    assert set(members.values()) == {1}


def test_the_guide_names_every_hook():
    guide = (DOCS / "training.md").read_text(encoding="utf-8")
    for hook in hooks.HOOKS:
        assert f"| `{hook}(" in guide


@pytest.mark.parametrize("room", [losses, metrics, schedules], ids=_room_name)
def test_the_gallery_shows_every_class(room):
    gallery = (DOCS / "gallery.md").read_text(encoding="utf-8")
    classes = {name for name in room.__all__ if inspect.isclass(getattr(room, name))}
    shown = re.findall(rf"{{class}}`~{room.__name__}\.(\w+)`", gallery)
    assert classes <= set(shown)
