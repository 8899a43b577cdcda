"""Quantized models with layers of ours are saved and loaded."""

import keras
import numpy as np
import pytest

from keras_ext.layers import CBAM, InvertedResidual, SqueezeExcite

# Keras says of every convolution and normalization that it stays as it is.
pytestmark = pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`")

MAKE = {
    "SqueezeExcite": lambda: SqueezeExcite(filters=2),
    "CBAM": lambda: CBAM(0.5),
    "squeeze_excite=": lambda: InvertedResidual(
        4, expansion=2, squeeze_excite=SqueezeExcite(filters=4)
    ),
}


def int8_kernels(model):
    return [v.path for v in model.variables if v.dtype == "int8"]


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_loaded_and_saved_once_more(make, tmp_path):
    images = np.random.default_rng(0).normal(size=(2, 5, 5, 4)).astype("float32")
    model = keras.Sequential([keras.Input((5, 5, 4)), make()])
    model.quantize("int8")
    expected = np.asarray(model(images))
    assert len(int8_kernels(model)) == 2
    for _ in range(2):
        model.save(tmp_path / "a.keras")
        model = keras.saving.load_model(tmp_path / "a.keras")
        np.testing.assert_array_equal(model(images), expected)
        assert len(int8_kernels(model)) == 2
    layer = model.layers[-1]
    assert (layer.compute_dtype, layer.variable_dtype) == ("float32", "float32")
