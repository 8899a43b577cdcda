"""The short examples: each learns, leaves a picture, and says what is wrong."""

import importlib.util
import pathlib
import re
import sys

import keras
import matplotlib.image
import numpy as np
import pytest

from tests.markers import needs_tensorflow

pytestmark = [pytest.mark.once, needs_tensorflow]

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"
NAMES = sorted(
    path.stem for path in EXAMPLES.glob("*.py") if path.stem != "train_digits"
)


@pytest.fixture
def load(monkeypatch):
    """Return a function that imports a program of `examples/`."""

    def load(name):
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return load


def check_picture(file):
    """The file is a PNG of a size to be looked at, and has something on it."""
    assert file.read_bytes().startswith(b"\x89PNG")
    pixels = matplotlib.image.imread(file)[..., :3]
    assert min(pixels.shape[:2]) >= 300
    assert pixels.std() > 0.05


@pytest.mark.parametrize(
    ("name", "epochs", "figure", "before", "after"),
    [
        ("inception_network", 5, "accuracy", 0.3, 0.95),
        ("metric_learning", 20, "recall", 0.5, 0.93),
        ("image_folder", 3, "accuracy", 0.3, 0.85),
        ("segmentation", 8, "iou", 0.3, 0.6),
        ("detection", 12, "map", 0.05, 0.4),
    ],
)
def test_learns(load, tmp_path, capsys, name, epochs, figure, before, after):
    result = load(name).main(["--epochs", str(epochs), "--out", str(tmp_path)])
    assert result["before"] < before < after < result[figure] <= 1
    assert f"{result[figure]:.3f}, before training" in capsys.readouterr().out
    check_picture(tmp_path / f"{name}.png")


def test_advanced_classifier(load, tmp_path):
    program = load("advanced_classifier")
    assert program.build_model().count_params() == 430_102
    graph = program.main(["--epochs", "3", "--out", str(tmp_path)])
    assert graph["before"] < 0.3
    assert graph["accuracy"] > 0.8
    check_picture(tmp_path / "advanced_classifier.png")
    eager = program.main(["--epochs", "1", "--eager", "--out", str(tmp_path)])
    np.testing.assert_allclose(eager["loss"], graph["loss"][:1], rtol=1e-3)


def test_advanced_classifier_on_a_file(load, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {}
    for part, size in {"train": 80, "test": 40}.items():
        arrays[f"x_{part}"] = rng.integers(0, 256, (size, 32, 32, 3), dtype="uint8")
        arrays[f"y_{part}"] = rng.integers(0, 10, (size, 1))
    np.savez(tmp_path / "data.npz", **arrays)
    arguments = ["--data", str(tmp_path / "data.npz"), "--out", str(tmp_path)]
    result = load("advanced_classifier").main([*arguments, "--epochs", "1"])
    assert 0 <= result["accuracy"] <= 1


def test_inception_network_on_a_file(load, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {}
    for part, size in {"train": 80, "test": 40}.items():
        arrays[f"x_{part}"] = rng.integers(0, 256, (size, 12, 12), dtype="uint8")
        arrays[f"y_{part}"] = np.arange(size) % 4
    np.savez(tmp_path / "data.npz", **arrays)
    arguments = ["--data", str(tmp_path / "data.npz"), "--out", str(tmp_path)]
    result = load("inception_network").main([*arguments, "--epochs", "1"])
    assert 0 <= result["accuracy"] <= 1


def test_mobilenet_v2(load, tmp_path):
    result = load("mobilenet_v2").main(["--epochs", "3", "--out", str(tmp_path)])
    assert result["before"] < 0.3
    assert 0.3 < result["frozen"] < result["thawed"]
    assert result["thawed"] > 0.7
    check_picture(tmp_path / "mobilenet_v2.png")


def test_mobilenet_v2_with_a_file_of_weights(load, tmp_path):
    program = load("mobilenet_v2")
    twin = keras.applications.MobileNetV2(
        program.SHAPE, alpha=0.35, include_top=False, weights=None
    )
    twin.save_weights(tmp_path / "twin.weights.h5")
    x = np.random.default_rng(0).uniform(-1, 1, (2, *program.SHAPE)).astype("float32")
    network = program.carry_over(tmp_path / "twin.weights.h5", x)
    np.testing.assert_allclose(network(x), twin(x), rtol=1e-4, atol=1e-5)


def test_fit_callbacks(load, tmp_path, capsys):
    program = load("fit_callbacks")
    result = program.main(["--epochs", "9", "--out", str(tmp_path)])
    assert list(result) == ["fit", "loop"]
    assert min(result.values()) > 0.9
    output = capsys.readouterr().out
    for rate in ("0.01", "0.001", "0.0001"):
        assert output.count(f"Learning rate: {rate}\n") >= 2
    for way in result:
        log = np.genfromtxt(tmp_path / way / "log.csv", delimiter=",", names=True)
        rates = [program.decay(epoch) for epoch in range(len(log))]
        np.testing.assert_allclose(log["learning_rate"], rates, rtol=1e-6)
        for part in ("train", "validation"):
            assert list((tmp_path / way / "tensorboard" / part).glob("events.*"))
    check_picture(tmp_path / "fit_callbacks.png")


def test_gan(load, tmp_path):
    result = load("gan").main(["--epochs", "40", "--out", str(tmp_path)])
    assert result["distance"] < result["before"] / 2
    check_picture(tmp_path / "gan.png")


def test_crf_tagging(load, tmp_path):
    result = load("crf_tagging").main(["--epochs", "8", "--out", str(tmp_path)])
    assert result["before"] < 0.5
    assert result["crf"] > result["alone"] + 0.05
    check_picture(tmp_path / "crf_tagging.png")


def test_preemptible(load, tmp_path):
    result = load("preemptible").main(["--epochs", "6", "--out", str(tmp_path)])
    assert result["equal"]
    undisturbed, continued = result["logs"]
    np.testing.assert_array_equal(continued, undisturbed)
    assert 0 < result["killed"][-1, 0] < undisturbed[-1, 0], "in the middle of the run"
    assert undisturbed[-1, 1] < undisturbed[0, 1] / 4, "the run learns"
    check_picture(tmp_path / "preemptible.png")


@pytest.mark.parametrize("name", NAMES)
def test_help_and_wrong_arguments(load, capsys, name):
    program = load(name)
    with pytest.raises(SystemExit) as caught:
        program.main(["--help"])
    assert caught.value.code == 0
    output = capsys.readouterr().out
    for option in ("--epochs", "--seed", "--out"):
        assert option in output
    wrong = [["--epochs", "0"], ["--seed", "-1"], ["--out", __file__]]
    wrong += [
        [option, "no-file"] for option in re.findall("--(?:data|weights)", output)
    ]
    for arguments in wrong:
        with pytest.raises(SystemExit) as caught:
            program.main(arguments)
        assert caught.value.code == 2
        assert re.search(
            r"error: (expected epochs|--\w+ must name)", capsys.readouterr().err
        )


@pytest.mark.parametrize("name", NAMES)
def test_is_short_and_shares_no_helper(name):
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 120
    assert not re.search(
        rf"^(?:from|import) (?:{'|'.join(NAMES)})\b", text, re.MULTILINE
    )


def test_every_example_is_listed():
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[`(\w+)\.py`\]\(\1\.py\)", page, re.MULTILINE)
    assert sorted(listed) == sorted([*NAMES, "train_digits"])
