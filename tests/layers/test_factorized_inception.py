import json

import keras
import pytest

from keras_ext.layers import FactorizedInception
from tests.layers.weights import assert_close, images, moved, randomize, unit
from tests.reference.inception_v3 import factorized_inception

BESIDE = [(3, (1, 3)), (2, (3, 1))]


def _branches(module):
    """Return the weights of the branches, as the reference takes them."""
    convs = iter(module.convs)
    return [
        [
            [unit(next(convs)) for _ in step]
            if isinstance(step, list)
            else unit(next(convs))
            for step in branch
        ]
        for branch in module.branches
    ]


@pytest.mark.parametrize(
    ("branches", "options"),
    [
        pytest.param(
            [[(3, 1)], [(2, 1), (4, 5)], [(2, 1), (3, 3), (4, 3)]],
            {"filters_pool": 2},
            id="figure-5",
        ),
        pytest.param(
            [[(3, 1)], [(2, 1), (3, (1, 7)), (4, (7, 1))]],
            {"filters_pool": 3, "activation": "relu6", "normalization": None},
            id="figure-6",
        ),
        pytest.param(
            [[(3, 1)], [(2, 1), BESIDE], [(2, 1), (3, 3), BESIDE]], {}, id="figure-7"
        ),
        pytest.param(
            [[(2, 1), (4, 3)], [(2, 1), (3, 3), (4, 3)]],
            {"strides": 2},
            id="figure-10",
        ),
    ],
)
def test_equals_the_reference(branches, options):
    module = FactorizedInception(branches, **options)
    x = images(2, 8, 9, 3)
    module.build(x.shape)
    randomize(module)
    expected = factorized_inception(
        x,
        _branches(module),
        strides=options.get("strides", 1),
        pool=module.project_pool and unit(module.project_pool),
        activation=options.get("activation", "relu"),
    )
    assert_close(module(x), expected)
    assert module.compute_output_shape(x.shape) == expected.shape


def test_a_step_of_convolutions_side_by_side_may_stand_in_the_middle():
    module = FactorizedInception([[BESIDE, (4, 1)]])
    module.build((None, 6, 5, 3))
    shapes = [tuple(conv.conv.kernel.shape) for conv in module.convs]
    assert shapes == [(1, 3, 3, 3), (3, 1, 3, 2), (1, 1, 5, 4)]


def test_lists_from_json_become_tuples_again():
    config = FactorizedInception([[(3, 1)], [(2, 1), BESIDE]]).get_config()
    module = FactorizedInception.from_config(json.loads(json.dumps(config)))
    assert module.branches == [[(3, 1)], [(2, 1), BESIDE]]
    assert module.get_config() == config


def test_the_convolutions_have_names_of_their_own():
    module = FactorizedInception([[(3, 1)], [(2, 1), BESIDE]], filters_pool=2)
    module(keras.KerasTensor((None, 6, 5, 3)))
    paths = {variable.path for variable in module.weights}
    assert len(paths) == len(module.weights) == 25
    assert any("branch_2_conv_2b/conv/kernel" in path for path in paths)


def test_training_reaches_the_normalization():
    module = FactorizedInception([[(3, 1)], [(2, 1), BESIDE]], filters_pool=2)
    x = images(4, 5, 6, 3)
    module(x, training=False)
    assert moved(module, x) == ["moving_mean", "moving_variance"] * 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"branches": []}, r"`branches` must be a list of branches.*=\[\]"),
        ({"branches": 3}, r"`branches` must be a list of branches.*=3"),
        ({"branches": [[]]}, r"`branches` must be a list of branches.*=\[\[\]\]"),
        ({"branches": [[3]]}, r"`branches\[0\]\[0\]` must be a pair .*=3"),
        ({"branches": [[(3, 1, 1)]]}, r"`branches\[0\]\[0\]` must be a pair .*1, 1\)"),
        ({"branches": [[(3, 1), (0, 1)]]}, r"`branches\[0\]\[1\]\[0\]` must be a pos"),
        ({"branches": [[(3, "a")]]}, r"`branches\[0\]\[0\]\[1\]` must be a pos.*'a'"),
        (
            {"branches": [[[(3, 1), (3, (1, 0))]]]},
            r"`branches\[0\]\[0\]\[1\]\[1\]` must be a positive integer or a pair",
        ),
        (
            {"strides": 2, "branches": [[(3, 3)], [(3, 3), (3, 1)]]},
            r"must end in a kernel of 3x3 .*branches\[1\]\[-1\]=\(3, 1\)",
        ),
        (
            {"strides": 2, "branches": [[[(3, 3), (3, (1, 3))]]]},
            r"must end in a kernel of 3x3 .*branches\[0\]\[-1\]=\[\(3, 3\), ",
        ),
        ({"strides": 3}, r"`strides` must be one of 1, 2. .*strides=3"),
        ({"filters_pool": 0}, r"`filters_pool` must be a positive integer.*=0"),
        ({"normalization": "group"}, r"`normalization` must be one of"),
        ({"data_format": "NCHW"}, r"`data_format` must be one of .*'NCHW'"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        FactorizedInception(**{"branches": [[(3, 1)]], **options})
