import keras
import pytest

from keras_ext.layers import FeaturePyramid
from tests.layers.weights import assert_close, images, randomize, unit
from tests.reference.dense_prediction import feature_pyramid


@pytest.mark.parametrize(
    "sizes",
    [[(8, 12), (4, 6), (2, 3)], [(9, 7), (5, 4), (3, 2), (2, 1)], [(3, 3)]],
    ids=["even", "odd", "one level"],
)
def test_equals_the_reference(sizes):
    maps = [images(2, *size, 3 + i, seed=i) for i, size in enumerate(sizes)]
    layer = FeaturePyramid(4)
    layer.build([x.shape for x in maps])
    randomize(layer)
    expected = feature_pyramid(
        maps,
        [unit(conv)[:2] for conv in layer.lateral],
        [unit(conv)[:2] for conv in layer.smooth],
    )
    outputs = layer(maps)
    assert len(outputs) == len(expected)
    for output, level in zip(outputs, expected, strict=True):
        assert_close(output, level)
    assert layer.compute_output_shape([x.shape for x in maps]) == [
        level.shape for level in expected
    ]


def test_takes_the_feature_maps_of_a_network():
    network = keras.applications.MobileNetV2(
        (64, 64, 3), include_top=False, weights=None
    )
    names = ["block_3_expand_relu", "block_6_expand_relu", "block_13_expand_relu"]
    maps = [network.get_layer(name).output for name in [*names, "out_relu"]]
    model = keras.Model(network.input, FeaturePyramid(8)(maps))
    assert model.output_shape == [(None, n, n, 8) for n in (16, 8, 4, 2)]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ((2, 8, 8, 3), "expects a list of feature maps.*an input of shape"),
        ([(2, 8, 8, 3), (2, 3, 4, 3)], r"half as large .*\(2, 3, 4, 3\) after \(2, 8"),
        ([(2, 8, 8, 3), (2, 8, 8, 3)], "half as large as the one before, rounded up"),
        ([(2, 8, 8, 3), (2, 4, 4)], "expects an input of rank 4"),
        ([(2, 8, 8, None)], "needs the size of the channel axis"),
    ],
)
def test_bad_shapes(shapes, message):
    with pytest.raises(ValueError, match=message):
        FeaturePyramid(4).build(shapes)


def test_another_number_of_levels_is_refused():
    layer = FeaturePyramid(4)
    layer([images(1, 4, 4, 3), images(1, 2, 2, 3)])
    with pytest.raises(ValueError, match="expects 2 input"):
        layer([images(1, 4, 4, 3)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": 0}, r"`filters` must be a positive integer.*filters=0"),
        ({"normalization": "layer"}, r"`normalization` must be one of"),
        ({"data_format": "NHWC"}, r"`data_format` must be one of .*'NHWC'"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        FeaturePyramid(**options)
