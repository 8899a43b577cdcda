import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.layers import FusedInvertedResidual, SqueezeExcite
from tests.layers.weights import arrays, assert_close, images, randomize, unit
from tests.reference.efficientnet_v2 import fused_inverted_residual


def _squeeze():
    return SqueezeExcite(filters=3, activation="silu")


@pytest.mark.parametrize(
    ("options", "squeezed"),
    [
        ({"filters": 4}, False),
        ({"filters": 6}, False),
        ({"filters": 4, "strides": 2}, True),
        ({"filters": 4, "expansion": 1}, False),
        ({"filters": 6, "expansion": 1, "strides": 2, "kernel_size": 5}, True),
        ({"filters": 4, "expansion": 2.6, "activation": "relu"}, True),
        ({"filters": 4, "normalization": None}, False),
    ],
    ids=str,
)
def test_equals_the_reference(options, squeezed):
    squeeze = _squeeze() if squeezed else None
    block = FusedInvertedResidual(**options, squeeze_excite=squeeze)
    x = images(2, 5, 6, 4)
    block.build(x.shape)
    randomize(block)
    expected = fused_inverted_residual(
        x,
        expand=block.expand and unit(block.expand),
        squeeze_excite=squeeze and (*arrays(squeeze), "silu"),
        project=unit(block.project),
        strides=options.get("strides", 1),
        residual=options["filters"] == 4 and "strides" not in options,
        activation=options.get("activation", "silu"),
    )
    assert_close(block(x), expected)
    assert block.compute_output_shape(x.shape) == expected.shape


def test_stochastic_depth_drops_the_branch_and_not_the_input():
    block = FusedInvertedResidual(4, drop_rate=0.5)
    x = images(64, 3, 3, 4)
    y = ops.convert_to_numpy(block(x, training=True))
    dropped = np.all(y == x, axis=(1, 2, 3))
    # Fewer than 12 or more than 52 of 64 happen once in 10 million runs.
    assert 12 <= dropped.sum() <= 52
    assert FusedInvertedResidual(6, drop_rate=0.5)(x).shape == (64, 3, 3, 6)


def test_two_blocks_do_not_share_a_squeeze_excite_layer():
    squeeze = _squeeze()
    x = images(1, 4, 4, 4)
    FusedInvertedResidual(4, squeeze_excite=squeeze)(x)
    with pytest.raises(ValueError, match="another block has built it"):
        FusedInvertedResidual(4, squeeze_excite=squeeze)(x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": 0}, r"`filters` must be a positive integer.*filters=0"),
        ({"expansion": 0.5}, r"`expansion` must be a finite number in \[1, inf\)"),
        ({"kernel_size": (3, 3)}, r"`kernel_size` must be a positive integer"),
        ({"strides": 0}, r"`strides` must be a positive integer.*strides=0"),
        ({"drop_rate": 1}, r"`drop_rate` must be a finite number in \[0, 1\)"),
        ({"normalization": "layer"}, r"`normalization` must be one of"),
        ({"data_format": "NHWC"}, r"`data_format` must be one of .*'NHWC'"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        FusedInvertedResidual(**{"filters": 4, **options})


def test_squeeze_excite_must_be_a_layer_that_keeps_the_shape():
    with pytest.raises(TypeError, match=r"must be a Keras layer.*Received: 'se'"):
        FusedInvertedResidual(4, squeeze_excite="se")
    block = FusedInvertedResidual(4, squeeze_excite=keras.layers.Dense(3))
    with pytest.raises(ValueError, match="must preserve the shape of its input"):
        block(images(1, 4, 4, 4))
