import pytest

from keras_ext.layers import AtrousSpatialPyramidPooling
from tests.layers.weights import assert_close, images, moved, randomize, unit
from tests.reference.dense_prediction import atrous_spatial_pyramid_pooling


@pytest.mark.parametrize(
    "options",
    [{}, {"activation": "silu", "normalization": None}, {"dilation_rates": (1, 9)}],
    ids=str,
)
def test_equals_the_reference(options):
    layer = AtrousSpatialPyramidPooling(4, **{"dilation_rates": (2, 3), **options})
    x = images(2, 7, 6, 3)
    layer.build(x.shape)
    randomize(layer)
    expected = atrous_spatial_pyramid_pooling(
        x,
        [unit(conv) for conv in (layer.conv_1x1, *layer.dilated)],
        unit(layer.image),
        unit(layer.project),
        layer.dilation_rates,
        activation=options.get("activation", "relu"),
    )
    assert_close(layer(x), expected)
    assert layer.compute_output_shape(x.shape) == expected.shape


def test_the_same_rate_may_come_twice():
    layer = AtrousSpatialPyramidPooling(4, dilation_rates=[2, 2])
    assert layer(images(1, 5, 5, 3)).shape == (1, 5, 5, 4)
    assert layer.get_config()["dilation_rates"] == (2, 2)


def test_training_reaches_the_normalization():
    layer = AtrousSpatialPyramidPooling(4, dilation_rates=(2,))
    x = images(4, 5, 6, 3)
    layer(x, training=False)
    assert moved(layer, x) == ["moving_mean", "moving_variance"] * 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": 0}, r"`filters` must be a positive integer.*filters=0"),
        ({"dilation_rates": ()}, r"`dilation_rates` must be a list of .*=\(\)"),
        ({"dilation_rates": 6}, r"`dilation_rates` must be a list of .*=6"),
        ({"dilation_rates": (6, 0)}, r"`dilation_rates\[1\]` must be a positive"),
        ({"normalization": "layer"}, r"`normalization` must be one of"),
        ({"data_format": "NHWC"}, r"`data_format` must be one of .*'NHWC'"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        AtrousSpatialPyramidPooling(**options)
