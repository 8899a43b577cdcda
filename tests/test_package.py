"""What is installed, and what importing it does."""

import pathlib
import subprocess
import sys
import tarfile
import zipfile

import keras
import pytest

import keras_ext
from tests.markers import needs_tensorflow
from tests.programs import printed

ROOT = pathlib.Path(__file__).parent.parent


def run(code, **environment):
    """Run Python code in a process of its own and return what it prints."""
    return printed("-c", code, **environment)


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    source = tmp_path_factory.mktemp("source") / "keras_ext"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("needs the git checkout, to build from what is in it")
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source],
        check=True,
        capture_output=True,
    )
    return next(out.glob("*.whl")), next(out.glob("*.tar.gz"))


def test_wheel_contains_only_the_package(distributions):
    with zipfile.ZipFile(distributions[0]) as wheel:
        names = wheel.namelist()
    assert {name.split("/")[0] for name in names} == {
        "keras_ext",
        f"keras_ext-{keras_ext.__version__}.dist-info",
    }
    assert "keras_ext/py.typed" in names
    modules = {str(f.relative_to(ROOT)) for f in (ROOT / "keras_ext").rglob("*.py")}
    assert modules <= set(names)


def test_sdist_contains_only_the_package_and_what_builds_it(distributions):
    with tarfile.open(distributions[1]) as sdist:
        names = {name.split("/", 1)[-1] for name in sdist.getnames()}
    others = {n for n in names if n and not n.startswith("keras_ext")}
    assert others == {
        "LICENSE",
        "PKG-INFO",
        "MANIFEST.in",
        "README.md",
        "pyproject.toml",
        "setup.cfg",
    }


def test_wheel_installs_into_an_empty_folder_and_imports(distributions, tmp_path):
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--quiet"]
    subprocess.run([*command, "--target", target, distributions[0]], check=True)
    code = "import keras_ext; print(keras_ext.__file__); keras_ext.Trainer()"
    path = f"import sys; sys.path.insert(0, {str(target)!r}); "
    output = run(path + code, KERAS_BACKEND="tensorflow")
    assert output.strip() == str(target / "keras_ext" / "__init__.py")


def test_version_is_stated_once_more_in_the_metadata():
    text = (ROOT / "setup.cfg").read_text()
    assert f"version = {keras_ext.__version__}\n" in text


def test_import_loads_keras_and_nothing_else_that_is_large():
    output = run(
        "import sys, keras; before = set(sys.modules); import keras_ext\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    new = {name.split(".")[0] for name in output.split()}
    assert new - set(sys.stdlib_module_names) == {"keras_ext"}
    assert not {"keras_ext.training", "keras_ext.addons"} & set(output.split())


@needs_tensorflow
def test_saved_trainers_need_no_other_import(tmp_path):
    files = []
    for kind in (keras_ext.Trainer, keras_ext.SharpnessAwareTrainer):
        trainer = kind(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
        trainer.compile("adam", "mse")
        files.append(str(tmp_path / f"{kind.__name__}.keras"))
        trainer.save(files[-1])
    output = run(
        "import sys, keras, keras_ext\n"
        "assert 'keras_ext.training' not in sys.modules\n"
        f"for file in {files}:\n"
        "    trainer = keras.saving.load_model(file)\n"
        "    print(type(trainer) is getattr(keras_ext, type(trainer).__name__),\n"
        "        trainer.loss, trainer.optimizer.built)"
    )
    assert output.split("\n") == ["True mse True"] * 2 + [""]


def test_import_has_no_side_effects():
    output = run(
        "import keras; before = (keras.config.floatx(), keras.config.dtype_policy(),\n"
        "    keras.config.image_data_format())\n"
        "import random; random.seed(0); state = random.getstate()\n"
        "import keras_ext\n"
        "assert before == (keras.config.floatx(), keras.config.dtype_policy(),\n"
        "    keras.config.image_data_format())\n"
        "assert random.getstate() == state"
    )
    assert output == ""


def test_another_backend_does_without_tensorflow():
    pytest.importorskip("jax", reason="needs JAX, whose lane in .ci/run has it")
    output = run(
        "import sys, keras_ext\n"
        "assert 'tensorflow' not in sys.modules\n"
        "try:\n"
        "    keras_ext.Trainer\n"
        "except ImportError as error:\n"
        "    print(error)\n"
        "import keras\n"
        "saved = {'class_name': 'Trainer', 'registered_name': 'keras_ext>Trainer',\n"
        "    'module': 'keras_ext.training', 'config': {}}\n"
        "try:\n"
        "    keras.saving.deserialize_keras_object(saved)\n"
        "except ImportError as error:\n"
        "    print(error)\n"
        "try:\n"
        "    keras_ext.addons\n"
        "except ImportError as error:\n"
        "    print(error)\n"
        "assert 'tensorflow' not in sys.modules\n",
        KERAS_BACKEND="jax",
    )
    assert output.count("Keras's TensorFlow backend. Received: backend 'jax'") == 3


@needs_tensorflow
def test_public_names():
    assert set(keras_ext.__all__) <= set(dir(keras_ext))
    for name in keras_ext.__all__:
        assert getattr(keras_ext, name) is not None
