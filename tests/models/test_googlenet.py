"""GoogLeNet, layer by layer against table 1 of the paper."""

import numpy as np
import pytest

from keras_ext.models import GoogLeNet
from tests.models.networks import pixels
from tests.reference import blocks

# Table 1 below the modules: the layer, its output size, and its weights and biases.
ENDS = [
    ("conv_1", (112, 112, 64), 7 * 7 * 3 * 64 + 64),
    ("pool_1", (56, 56, 64), 0),
    ("reduce_2", (56, 56, 64), 64 * 64 + 64),
    ("conv_2", (56, 56, 192), 3 * 3 * 64 * 192 + 192),
    ("pool_2", (28, 28, 192), 0),
    ("pool_3", (14, 14, 480), 0),
    ("pool_4", (7, 7, 832), 0),
    ("avg_pool", (1024,), 0),
    ("dropout", (1024,), 0),
    ("predictions", (1000,), 1024 * 1000 + 1000),
]


@pytest.fixture(scope="module")
def model():
    return GoogLeNet()


@pytest.mark.parametrize(("name", "size", "parameters"), ENDS)
def test_ends_of_table_1(model, name, size, parameters):
    layer = model.get_layer(name)
    assert layer.output.shape == (None, *size)
    assert layer.count_params() == parameters


@pytest.mark.parametrize("row", blocks.GOOGLENET_TABLE_1, ids=lambda row: row["name"])
def test_modules_of_table_1(model, row):
    layer = model.get_layer(f"inception_{row['name']}")
    assert layer.input.shape == (None, *row["input"])
    assert layer.output.shape == (None, *row["output"])
    parameters = blocks.inception_parameters(
        row["input"][-1],
        row["1x1"],
        (row["3x3_reduce"], row["3x3"]),
        (row["5x5_reduce"], row["5x5"]),
        row["pool_proj"],
    )
    assert layer.count_params() == parameters


def test_there_is_nothing_else(model):
    names = {layer.name for layer in model.layers} - {model.layers[0].name}
    modules = {f"inception_{row['name']}" for row in blocks.GOOGLENET_TABLE_1}
    assert names == modules | {name for name, *_ in ENDS}
    assert model.get_layer("dropout").rate == 0.4
    # What the authors' published Caffe model has.
    assert model.count_params() == 6_998_552


def test_auxiliary_classifiers():
    model = GoogLeNet(auxiliary=True)
    # Section 5: 4x4x512 and 4x4x528 after the pooling, 128 filters, 1024 units.
    for row, channels in (("4a", 512), ("4d", 528)):
        pool = model.get_layer(f"auxiliary_{row}_pool")
        assert pool.output.shape == (None, 4, 4, channels)
        assert model.get_layer(f"auxiliary_{row}_conv").filters == 128
        assert model.get_layer(f"auxiliary_{row}_dense").units == 1024
        assert model.get_layer(f"auxiliary_{row}_dropout").rate == 0.7


def test_auxiliary_classifiers_train_with_weighted_losses():
    model = GoogLeNet((65, 65, 3), classes=3, auxiliary=True, normalization="batch")
    weights = {"predictions": 1.0, "auxiliary_4a": 0.3, "auxiliary_4d": 0.3}
    losses = dict.fromkeys(weights, "sparse_categorical_crossentropy")
    model.compile("sgd", loss=losses, loss_weights=weights)
    y = dict.fromkeys(weights, np.array([0, 2]))
    history = model.fit(pixels((2, 65, 65, 3)) / 255, y, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"auxiliary": True, "include_top": False}, r"need include_top=True"),
        ({"auxiliary": True, "input_shape": (None, 96, 3)}, r"`input_shape` of known"),
        ({"auxiliary": True, "input_shape": (64, 64, 3)}, r"at least 65 pixels"),
        ({"normalization": "layer"}, r"`normalization` must be one of 'batch', None"),
        ({"dropout_rate": 1}, r"`dropout_rate` must be a finite number in \[0, 1\)"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        GoogLeNet(**options)
