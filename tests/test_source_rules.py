"""The borders and habits of the house, read off the source."""

import ast
import enum
import graphlib
import inspect
import pathlib
import re

import keras
import pytest

import keras_ext

pytestmark = pytest.mark.once

PACKAGE = pathlib.Path(keras_ext.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
LOADED_LATE = "callbacks/__init__.py: keras_ext.training.resume.checkpoint.Checkpoint"
ROOMS = [
    "callbacks",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "schedules",
]
SECTIONS = [
    "Reference:",
    "Args:",
    "Attributes:",
    "Call arguments:",
    "Input shape:",
    "Output shape:",
    "Returns:",
    "Raises:",
    "Example:",
]


def _trees(room=""):
    for file in FILES:
        if room in ("", file.relative_to(PACKAGE).parts[0]):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            yield file.relative_to(PACKAGE), tree


def _imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _own_names():
    """Every private name that the package itself defines."""
    names = set()
    for _, tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                names.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                names.add(node.attr)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
    return names


def _public(room):
    loaded_late = LOADED_LATE.rsplit(".", 1)[1]
    return [
        (name, getattr(room, name))
        for name in room.__all__
        if name != loaded_late or keras.backend.backend() == "tensorflow"
    ]


PUBLIC = [
    pytest.param(thing, id=f"{room}.{name}")
    for room in ROOMS
    for name, thing in _public(getattr(keras_ext, room))
]


def test_only_public_keras():
    for file, tree in _trees():
        for name in _imports(tree):
            assert not name.startswith("keras.src"), (
                f"{file} imports {name}: use what `keras` exports"
            )
        assert "keras.src" not in ast.unparse(tree).replace('"', ""), file


def test_no_private_names_of_others():
    own = _own_names()
    for file, tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and re.match(r"_[^_]", node.attr):
                assert node.attr in own, (
                    f"{file}:{node.lineno} uses `{node.attr}`, which keras_ext does "
                    "not define: find a public way"
                )


@pytest.mark.parametrize("room", ROOMS)
def test_components_know_neither_tensorflow_nor_the_training_room(room):
    for file, tree in _trees(room):
        for name in _imports(tree):
            assert name.split(".")[0] != "tensorflow", (
                f"{file}: use keras.ops, or move what needs TensorFlow to training/"
            )
            # `callbacks.Checkpoint` lives there, and is loaded on first use.
            assert (
                not name.startswith("keras_ext.training")
                or f"{file}: {name}" == LOADED_LATE
            ), f"{file}: components never import training/"


WITH_TENSORFLOW = {
    "training": {"tensorflow"},
    # It lends Keras 3 the variables of Keras 2: `keras.ops` cannot.
    "addons": {"tensorflow", "tf_keras", "tensorflow_addons"},
}


def test_only_two_rooms_know_tensorflow_and_nothing_knows_the_bridge():
    for file, tree in _trees():
        room = file.parts[0]
        for name in _imports(tree):
            root = name.split(".")[0]
            if root in ("tensorflow", "tf_keras", "tensorflow_addons"):
                assert root in WITH_TENSORFLOW.get(room, ()), f"{file}: {name}"
            # The package itself loads it on first use.
            assert (
                room == "addons"
                or not name.startswith("keras_ext.addons")
                or (str(file) == "__init__.py")
            ), f"{file}: nothing may depend on the bridge, which has an end"


LAYERS = {
    "base": set(),
    "data": {"base"},
    "step": {"base", "data"},
    "resume": {"base", "data"},
    "loop": {"base", "data", "resume"},
    "trainer": {"base", "data", "step", "resume", "loop"},
}


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_of_the_training_room_know_only_those_below(layer):
    """Imports for types only count, too: `training/README.md` has the reasons."""
    for file, tree in _trees("training"):
        if file.parts[1] != layer:
            continue
        for name in _imports(tree):
            parts = name.split(".")
            if parts[:2] == ["keras_ext", "training"]:
                assert parts[2] in {layer, *LAYERS[layer]}, (
                    f"{file} imports {name}: `{layer}` knows {sorted(LAYERS[layer])}. "
                    "Declare what is needed as a protocol in `training/base`"
                )


def test_every_file_of_the_training_room_is_in_a_layer():
    found = {file.parts[1] for file, _ in _trees("training")}
    assert found == {"__init__.py", *LAYERS}


def test_no_circle_of_imports():
    modules = {}
    for file, tree in _trees():
        name = ".".join(("keras_ext", *file.with_suffix("").parts))
        modules[name.removesuffix(".__init__")] = set(_imports(tree))
    graph = {
        name: {
            # `from module import thing`, or `from package import module`.
            found if found in modules else found.rsplit(".", 1)[0]
            for found in imports
            if f"{file_of(name)}: {found}" != LOADED_LATE
        }
        & set(modules)
        for name, imports in modules.items()
    }
    order = graphlib.TopologicalSorter(graph)
    try:
        order.prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"these modules import each other in a circle: {error.args[1]}")


def file_of(module):
    """Return the path of a package, as messages have it."""
    return f"{module.split('.', 1)[-1].replace('.', '/')}/__init__.py"


def test_no_object_reads_what_is_private_to_another_module():
    for file, tree in _trees():
        own = set()
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                own.add(node.name)
            elif isinstance(node, ast.Attribute) and _is_self(node.value):
                own.add(node.attr)
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Attribute)
                and re.match(r"_[^_]", node.attr)
                and not _is_self(node.value)
            ):
                assert node.attr in own, (
                    f"{file}:{node.lineno} reads `{ast.unparse(node)}`, which is "
                    "private to another module: give it a public name there"
                )


def _is_self(node):
    return ast.unparse(node) in ("self", "cls", "super()")


def test_no_assert_and_nothing_postponed():
    for file, tree in _trees():
        for node in ast.walk(tree):
            assert not isinstance(node, ast.Assert), f"{file}:{node.lineno}: raise"
        text = (PACKAGE / file).read_text(encoding="utf-8")
        assert not re.search(r"\b(TODO|FIXME|XXX)\b", text), file


@pytest.mark.parametrize("room", ROOMS)
def test_one_public_class_per_file_named_after_it(room):
    for name, thing in _public(getattr(keras_ext, room)):
        file = pathlib.Path(inspect.getfile(inspect.unwrap(thing))).stem
        expected = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
        if inspect.isclass(thing):
            expected = expected.lower().replace("na_n", "nan").replace("2_d", "2d")
            expected = expected.replace("io_u", "iou")
            assert file == expected
        elif room == "models" and name != file:
            # Sizes of one network share a file, as in keras.applications.
            assert expected.lower().replace("_", "").startswith(file.replace("_", ""))
        else:
            assert file == name, "a function stands in the file of its class"


@pytest.mark.parametrize(
    "thing",
    [
        *PUBLIC,
        keras_ext.Trainer,
        keras_ext.SharpnessAwareTrainer,
        keras_ext.Loop,
        keras_ext.training.Epoch,
    ],
)
def test_docstring_has_its_sections_in_order(thing):
    lines = [line.strip() for line in inspect.getdoc(thing).splitlines()]
    assert lines[0].endswith("."), "the summary is one line and a sentence"
    assert lines[1] == ""
    found = [
        section
        for line in lines
        for section in SECTIONS
        if line == section or (section == "Reference:" and line.startswith(section))
    ]
    assert found == sorted(found, key=SECTIONS.index)
    assert ("Args:" in found) == bool(_parameters(thing))
    assert "Example:" in found
    assert any(line.startswith(">>>") for line in lines)
    if inspect.isclass(thing):
        assert thing.__init__.__doc__ is None or "__init__" not in vars(thing)


def _parameters(thing):
    """Return what a class or function is called with; nobody makes an enum."""
    if inspect.isclass(thing) and issubclass(thing, enum.Enum):
        return []
    return list(inspect.signature(thing).parameters.values())


@pytest.mark.parametrize("thing", PUBLIC)
def test_every_argument_is_documented(thing):
    documentation = inspect.getdoc(thing)
    for parameter in _parameters(thing):
        name = parameter.name
        if parameter.kind is parameter.VAR_KEYWORD:
            name = f"**{name}"
        assert re.search(rf"^ +(\w+, )*{re.escape(name)}[:,]", documentation, re.M), (
            name
        )
