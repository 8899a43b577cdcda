"""The short examples: each learns, leaves a picture, and says what is wrong."""

import argparse
import importlib.util
import pathlib
import re
import sys

import keras
import matplotlib.image
import numpy as np
import pytest

from tests.markers import needs_tensorflow

pytestmark = [pytest.mark.early, pytest.mark.once, needs_tensorflow]

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"
# tests/test_examples.py runs train_digits, tests/test_export.py serve_model.
ELSEWHERE = ("serve_model", "train_digits")
NAMES = sorted(
    path.stem for path in EXAMPLES.glob("*.py") if path.stem not in ELSEWHERE
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
        ("inception_network", 3, "accuracy", 0.3, 0.9),
        ("metric_learning", 40, "recall", 0.5, 0.9),
        ("image_folder", 3, "accuracy", 0.3, 0.85),
        ("segmentation", 2, "iou", 0.3, 0.5),
        ("detection", 5, "map", 0.05, 0.3),
    ],
)
def test_learns(load, tmp_path, capsys, name, epochs, figure, before, after):
    result = load(name).main(["--epochs", str(epochs), "--out", str(tmp_path)])
    assert result["before"] < before < after < result[figure] <= 1
    assert f"{result[figure]:.3f}, before training" in capsys.readouterr().out
    check_picture(tmp_path / f"{name}.png")


def test_advanced_classifier(load, tmp_path):
    program = load("advanced_classifier")
    result = program.main(["--epochs", "2", "--out", str(tmp_path)])
    assert result["before"] < 0.3
    assert result["accuracy"] > 0.6
    check_picture(tmp_path / "advanced_classifier.png")


def test_advanced_classifier_is_the_same_eagerly(load):
    program = load("advanced_classifier")
    x, _, y, _ = program.load_data(None, 0)
    data, losses = (x[:96], y[:96]), []
    for eager in (False, True):
        keras.utils.set_random_seed(1)
        model = program.build_model()
        assert model.count_params() == 430_102
        options = argparse.Namespace(epochs=2, eager=eager)
        losses.append(program.train(model, data, data, options)["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-3)
    assert losses[0][1] < losses[0][0]


@pytest.mark.parametrize(
    ("name", "shape", "labels"),
    [
        ("advanced_classifier", (32, 32, 3), (9, 1)),  # as CIFAR-10's
        ("inception_network", (28, 28), (9,)),  # as MNIST's
    ],
)
def test_data_of_a_file(load, tmp_path, name, shape, labels):
    images = np.random.default_rng(0).integers(0, 256, (9, *shape), dtype="uint8")
    images[0] = 255
    arrays = {"x_train": images, "y_train": np.arange(9).reshape(labels)}
    arrays |= {"x_test": images[::-1], "y_test": np.arange(9)[::-1].reshape(labels)}
    np.savez(tmp_path / "data.npz", **arrays)
    x, x_test, y, y_test = load(name).load_data(tmp_path / "data.npz", 0)
    np.testing.assert_allclose(x.reshape(images.shape), images / 255, rtol=1e-6)
    np.testing.assert_array_equal(x_test, x[::-1])
    assert x.dtype == "float32"
    assert y.tolist() == y_test[::-1].tolist() == list(range(9))


def test_mobilenet_v2(load, tmp_path):
    result = load("mobilenet_v2").main(["--epochs", "3", "--out", str(tmp_path)])
    assert result["before"] < 0.3
    assert 0.3 < result["frozen"] < result["thawed"]
    assert result["thawed"] > 0.7
    check_picture(tmp_path / "mobilenet_v2.png")


@pytest.mark.long
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
    result = load("gan").main(["--epochs", "15", "--out", str(tmp_path)])
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
