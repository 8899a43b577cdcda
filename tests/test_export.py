"""What leaves for production gives the same numbers in the real runtimes.

The lane `export` of `.ci/run` installs the extra `export`, the converter of
TensorFlow.js in an environment of its own (`TFJS_CONVERTER`, the program), its runtime
from npm (`TFJS`, the file `tf.min.js`), Chromium and Selenium.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import keras
import numpy as np
import pytest

from tests.browser import chromium, served
from tests.layers.rows import LAYERS
from tests.layers.weights import randomize
from tests.markers import needs_tensorflow, rows_of
from tests.models.networks import BUILDERS, NARROW, enliven, pixels, side

pytestmark = [
    needs_tensorflow,
    pytest.mark.once,
    # Of the converters and runtimes themselves.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*np.object:FutureWarning"),
]
ROOT = pathlib.Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "how-to" / "exporting.md").read_text("utf-8")
BLOCKS = re.findall(r"^```py(?:thon)?\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
LOCAL = "http://127.0.0.1:8501"
CANNOT = {
    # The row's id and the format: what stands in the table of the page.
    ("ViterbiDecoder", "onnx"): "ViterbiDecoder",
    ("ViterbiDecoder", "litert"): "ViterbiDecoder",
    ("WeightStandardizedConv2D-groups", "onnx"): "groups",
    ("SparseImageWarp", "onnx"): "SparseImageWarp",
    ("SparseImageWarp", "litert"): "SparseImageWarp",
    ("SparseImageWarp-flow", "onnx"): "SparseImageWarp",
    ("SparseImageWarp-flow", "litert"): "SparseImageWarp",
}
FORMATS = ["onnx", "litert"]
FAST = ["GoogLeNet", "MobileNetV3Small"]

for _package in ("ai_edge_litert", "kserve", "onnxruntime", "tf2onnx"):
    pytest.importorskip(_package, reason="needs pip install 'keras_ext[export]'")


class Page:
    """The blocks of the page, run one by one in one folder with the same names."""

    def __init__(self, folder):
        self.folder, self.names, self.server, self._done = folder, {}, None, 0

    def run(self, until):
        """Run the next blocks, up to the one that has the words `until`."""
        (last,) = [index for index, block in enumerate(BLOCKS) if until in block]
        before = pathlib.Path.cwd()
        os.chdir(self.folder)
        try:
            for block in BLOCKS[self._done : last + 1]:
                code = block.replace(LOCAL, self.server or LOCAL)
                exec(compile(code, "exporting.md", "exec"), self.names)
        finally:
            os.chdir(before)
        self._done = max(self._done, last + 1)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page, after its SavedModel was written, and while its server runs."""
    page = Page(tmp_path_factory.mktemp("page"))
    page.run('tf.saved_model.load("digits/1")')
    server = subprocess.Popen(
        [
            *(sys.executable, ROOT / "examples/serve_model.py", "digits/1"),
            *("--name", "digits", "--port", "0"),
        ],
        cwd=page.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    timer = threading.Timer(120, server.kill)
    timer.start()
    try:
        lines = iter(server.stdout.readline, "")
        address = next((line for line in lines if line.startswith("http:")), None)
        timer.cancel()
        assert address is not None, "The server did not start."
        page.server = address.split("/v1")[0]
        yield page
    finally:
        timer.cancel()
        server.kill()
        server.communicate()


def test_a_server_answers_over_http(page):
    page.run("v2/models/digits/infer")


@pytest.mark.parametrize(
    "message",
    [
        {"instances": [[1, 2]]},
        {"instances": []},
        {"instances": "a"},
        {"instances": [[1], [1, 2]]},
        {"images": [1]},
    ],
    ids=str,
)
def test_a_wrong_request_does_not_end_the_server(page, message):
    page.run("v2/models/digits/infer")
    with pytest.raises(urllib.error.HTTPError) as error:
        page.names["post"](f"{page.server}/v1/models/digits:predict", message)
    assert error.value.code == 400
    assert "(None, 8, 8, 1)" in error.value.read().decode()
    with urllib.request.urlopen(f"{page.server}/v2/health/ready", timeout=30) as answer:
        assert json.load(answer) == {"ready": True}


def test_onnx_litert_and_int8_of_the_page(page):
    page.run("digits_int8.tflite")
    sizes = {
        file.stem: file.stat().st_size for file in page.folder.glob("digits*.tflite")
    }
    assert sizes["digits_int8"] < sizes["digits"] / 2


def test_tags_of_the_page(page):
    page.run("ViterbiDecoder(unroll=True)")


RUN = """
const [path, data, shape, dtype, done] = arguments;
(async () => {
    const model = await tf.loadGraphModel(path);
    const output = await model.executeAsync(tf.tensor(data, shape, dtype));
    done({data: Array.from(await output.data()), shape: output.shape});
})().catch(error => done({error: String(error)}));
"""


@pytest.mark.skipif(
    "TFJS" not in os.environ, reason="needs TFJS and TFJS_CONVERTER, see above"
)
def test_tensorflow_js_in_a_browser(page):
    page.run("ViterbiDecoder(unroll=True)")
    folder, names = page.folder, page.names
    (folder / "tf.min.js").write_bytes(pathlib.Path(os.environ["TFJS"]).read_bytes())
    (folder / "index.html").write_text("<script src='tf.min.js'></script>")
    with served(folder) as address, chromium() as browser:
        browser.get(f"{address}/index.html")
        for name, x, expected in [
            ("digits", names["images"][names["test"]], names["expected"]),
            ("tagger", names["sentences"], names["expected_tags"]),
        ]:
            subprocess.run(
                [
                    *(os.environ["TFJS_CONVERTER"], "--input_format=tf_saved_model"),
                    *(folder / name / "1", folder / f"{name}_js"),
                ],
                check=True,
                capture_output=True,
                timeout=300,
            )
            output = browser.execute_async_script(
                RUN, f"{name}_js/model.json", x.ravel().tolist(), x.shape, str(x.dtype)
            )
            assert "error" not in output, output
            output = np.reshape(output["data"], output["shape"])
            np.testing.assert_allclose(output, expected, atol=1e-5)


def _run(file, arrays):
    """Return what the runtime for `file` computes."""
    if file.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(file)
        inputs = [one.name for one in session.get_inputs()]
        return session.run(None, dict(zip(inputs, arrays, strict=True)))
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(file)).get_signature_runner()
    inputs = dict(zip(sorted(runner.get_input_details()), arrays, strict=True))
    return [output for _, output in sorted(runner(**inputs).items())]


def _assert_exports(model, arrays, file, tolerance):
    expected = model.predict([*arrays] if len(arrays) > 1 else arrays[0], verbose=0)
    expected = expected if isinstance(expected, list) else [expected]
    kind = {".onnx": "onnx", ".tflite": "litert"}[file.suffix]
    model.export(file, format=kind, verbose=False)
    for output, other in zip(_run(file, arrays), expected, strict=True):
        np.testing.assert_allclose(output, other, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("row", rows_of(LAYERS))
def test_each_layer(row, kind, tmp_path):
    inputs = [keras.Input(array.shape[1:], dtype=array.dtype) for array in row.arrays]
    model = keras.Model(inputs, row.call(row.make(), inputs))
    randomize(model)
    file = tmp_path / f"model.{'onnx' if kind == 'onnx' else 'tflite'}"
    if (row.id, kind) in CANNOT:
        cannot = r"while|Select TensorFlow op|Partitioned|SelfAdjointEigV2"
        with pytest.raises(Exception, match=cannot):
            _assert_exports(model, row.arrays, file, 1e-5)
        assert CANNOT[row.id, kind] in PAGE.split("## What cannot be exported")[1]
    else:
        _assert_exports(model, row.arrays, file, 1e-5)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in FAST else pytest.mark.long)
        for name in BUILDERS
    ],
)
def test_each_network(name, kind, tmp_path):
    options = {"include_preprocessing": False} if "Efficient" in name else {}
    options.update(NARROW.get(name, {}), classes=10, classifier_activation=None)
    shape = (side(name), side(name), 3)
    model = BUILDERS[name](weights=None, input_shape=shape, **options)
    enliven(model, name)
    file = tmp_path / f"model.{'onnx' if kind == 'onnx' else 'tflite'}"
    _assert_exports(model, [pixels((4, *shape)) / 64], file, 3e-4)
