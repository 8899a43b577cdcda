import keras
import pytest

from keras_ext.layers import InceptionModule
from tests.layers.weights import assert_close, images, moved, randomize, unit
from tests.reference import blocks


def _branches(module):
    """Return the weights of the four branches, as the reference takes them."""
    layers = {
        "1x1": [module.conv_1x1],
        "3x3": [module.reduce_3x3, module.conv_3x3],
        "5x5": [module.reduce_5x5, module.conv_5x5],
        "pool": [module.project_pool],
    }
    return {
        name: [unit(layer) for layer in branch if layer is not None]
        for name, branch in layers.items()
    }


@pytest.mark.parametrize(
    ("filters", "options"),
    [
        pytest.param((2, (3, 4), (2, 3), 5), {}, id="figure-2b"),
        pytest.param((2, 3, 4, None), {}, id="figure-2a"),
        pytest.param((2, (3, 4), 3, None), {"activation": "relu6"}, id="mixed"),
        pytest.param((2, 4, (1, 2), 3), {"normalization": "batch"}, id="batch-norm"),
    ],
)
def test_equals_the_reference(filters, options):
    module = InceptionModule(*filters, **options)
    x = images(2, 5, 6, 3)
    module.build(x.shape)
    randomize(module)
    expected = blocks.inception_module(
        x, _branches(module), activation=options.get("activation", "relu")
    )
    assert_close(module(x), expected)
    assert module.compute_output_shape(x.shape) == expected.shape


@pytest.mark.parametrize("row", blocks.GOOGLENET_TABLE_1, ids=lambda row: row["name"])
def test_rows_of_googlenets_table_1(row):
    filters = (
        row["1x1"],
        (row["3x3_reduce"], row["3x3"]),
        (row["5x5_reduce"], row["5x5"]),
        row["pool_proj"],
    )
    module = InceptionModule(*filters)
    output = module(keras.KerasTensor((None, *row["input"])))
    assert output.shape == (None, *row["output"])
    expected = blocks.inception_parameters(row["input"][-1], *filters)
    assert module.count_params() == expected


def test_naive_module_parameters():
    module = InceptionModule(2, 3, 4, None)
    module.build((None, None, None, 8))
    assert module.count_params() == blocks.inception_parameters(8, 2, 3, 4, None)


def test_lists_from_json_become_tuples_again():
    module = InceptionModule(2, [3, 4], [2, 3], None)
    assert module.filters_3x3 == (3, 4)
    assert isinstance(module.get_config()["filters_5x5"], tuple)


def test_training_reaches_the_normalization():
    module = InceptionModule(2, (3, 4), 3, 2, normalization="batch")
    x = images(4, 5, 6, 3)
    module(x, training=False)
    assert moved(module, x) == ["moving_mean", "moving_variance"] * 5


def test_branches_do_not_start_from_the_same_numbers():
    initializer = keras.initializers.GlorotUniform()
    module = InceptionModule(4, (4, 4), (4, 4), 4, kernel_initializer=initializer)
    module.build((None, 5, 6, 3))
    narrow = [module.conv_1x1, module.reduce_3x3, module.reduce_5x5]
    kernels = {layer.get_weights()[0].tobytes() for layer in narrow}
    assert len(kernels) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters_1x1": 0}, r"`filters_1x1` must be a positive integer.*=0"),
        ({"filters_3x3": (4, -1)}, r"`filters_3x3` must be .* pair .*\(4, -1\)"),
        ({"filters_3x3": (4, 4, 4)}, r"`filters_3x3` must be .* pair .*\(4, 4, 4\)"),
        ({"filters_5x5": None}, r"`filters_5x5` must be a positive .*None"),
        ({"filters_pool": 0}, r"`filters_pool` must be a positive integer.*=0"),
        (
            {"normalization": "group"},
            r"`normalization` must be one of .*'group'",
        ),
        ({"data_format": "NCHW"}, r"`data_format` must be one of .*'NCHW'"),
    ],
)
def test_bad_arguments(options, message):
    filters = {"filters_1x1": 2, "filters_3x3": 2, "filters_5x5": 2, "filters_pool": 2}
    with pytest.raises(ValueError, match=message):
        InceptionModule(**{**filters, **options})
