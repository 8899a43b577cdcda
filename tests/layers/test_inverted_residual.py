from operator import attrgetter

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.layers import ConvNormAct, InvertedResidual, SqueezeExcite
from tests.layers.weights import (
    arrays,
    assert_close,
    images,
    moved,
    randomize,
    unit,
)
from tests.reference import blocks


def _stage(layer):
    """Return (kernel, batch norm) of a `ConvNormAct`, as the reference takes them."""
    if layer is None:
        return None
    kernel, bias, norm = unit(layer)
    assert bias is None
    return kernel, norm


def _reference(block, x, **options):
    squeeze = block.squeeze_excite
    return blocks.inverted_residual(
        x,
        _stage(block.expand),
        (*arrays(block.depthwise), arrays(block.depthwise_norm)),
        _stage(block.project),
        squeeze=squeeze and arrays(squeeze),
        **options,
    )


@pytest.mark.parametrize(
    "options",
    [
        {"filters": 4},
        {"filters": 6},
        {"filters": 4, "strides": 2},
        {"filters": 4, "expansion": 1},
        {"filters": 4, "expansion": 2.6, "kernel_size": 5, "activation": "silu"},
    ],
    ids=str,
)
def test_equals_the_reference(options):
    block = InvertedResidual(**options)
    x = images(2, 5, 6, 4)
    block.build(x.shape)
    randomize(block)
    expected = _reference(
        block,
        x,
        strides=options.get("strides", 1),
        activation=options.get("activation", "relu6"),
    )
    assert_close(block(x), expected)
    assert block.compute_output_shape(x.shape) == expected.shape


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize(
    ("activation", "squeeze_activation", "gate_activation"),
    [
        pytest.param("hard_silu", "relu", "hard_sigmoid", id="MobileNetV3"),
        pytest.param("silu", "silu", "sigmoid", id="EfficientNet"),
    ],
)
def test_squeezed_equals_the_reference(
    strides, activation, squeeze_activation, gate_activation
):
    squeeze_excite = SqueezeExcite(
        filters=3, activation=squeeze_activation, gate_activation=gate_activation
    )
    block = InvertedResidual(
        4,
        expansion=2,
        strides=strides,
        activation=activation,
        squeeze_excite=squeeze_excite,
    )
    x = images(2, 5, 6, 4)
    block.build(x.shape)
    randomize(block)
    expected = _reference(
        block,
        x,
        strides=strides,
        activation=activation,
        squeeze_activation=squeeze_activation,
        gate_activation=gate_activation,
    )
    assert_close(block(x), expected)


def test_without_normalization_the_convolutions_have_biases():
    block = InvertedResidual(4, expansion=2, normalization=None)
    block.build((None, 5, 6, 4))
    assert [v.name for v in block.weights] == ["kernel", "bias"] * 3


# Against keras.applications -------------------------------------------------------


def _mobilenet_v2():
    """Build MobileNetV2 (1.0) for small images from the tables of its paper."""
    inputs = keras.Input((32, 32, 3))
    stem, head = blocks.MOBILENET_V2_STEM, blocks.MOBILENET_V2_HEAD
    x = ConvNormAct(
        stem["filters"],
        stem["kernel_size"],
        strides=stem["strides"],
        activation="relu6",
    )(inputs)
    for expansion, filters, repetitions, strides in blocks.MOBILENET_V2_TABLE_2:
        for repetition in range(repetitions):
            x = InvertedResidual(
                filters, expansion=expansion, strides=1 if repetition else strides
            )(x)
    x = ConvNormAct(head["filters"], head["kernel_size"], activation="relu6")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(1000)(x))


def _trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def test_mobilenet_v2_of_blocks_is_that_of_keras_applications():
    theirs = keras.applications.MobileNetV2(
        weights=None, input_shape=(32, 32, 3), classifier_activation=None
    )
    ours = _mobilenet_v2()
    assert ours.count_params() == theirs.count_params() == 3_538_984
    assert _trainable(ours) == _trainable(theirs) == 3_504_872
    assert blocks.mobilenet_v2_parameters() == (3_504_872, 34_112)
    randomize(theirs)
    ours.set_weights(theirs.get_weights())
    x = images(2, 32, 32, 3)
    assert_close(ours(x), ops.convert_to_numpy(theirs(x)))


# Where keras.applications keep the weights of our sublayers.
SUBLAYERS = {
    "MobileNetV2": {
        "expand.conv": "expand",
        "expand.norm": "expand_BN",
        "depthwise": "depthwise",
        "depthwise_norm": "depthwise_BN",
        "project.conv": "project",
        "project.norm": "project_BN",
    },
    "MobileNetV3Small": {
        "expand.conv": "expand",
        "expand.norm": "expand_bn",
        "depthwise": "depthwise",
        "depthwise_norm": "depthwise_bn",
        "squeeze_excite.reduce": "squeeze_excite_conv",
        "squeeze_excite.expand": "squeeze_excite_conv_1",
        "project.conv": "project",
        "project.norm": "project_bn",
    },
    "EfficientNetB0": {
        "expand.conv": "expand_conv",
        "expand.norm": "expand_bn",
        "depthwise": "dwconv",
        "depthwise_norm": "bn",
        "squeeze_excite.reduce": "se_reduce",
        "squeeze_excite.expand": "se_expand",
        "project.conv": "project_conv",
        "project.norm": "project_bn",
    },
}


def _assert_is_block_of(application, prefix, block):
    """Cut a block out of an application, carry its weights over and compare."""
    model = getattr(keras.applications, application)(
        weights=None, include_top=False, input_shape=(64, 64, 3)
    )
    names = {ours: prefix + name for ours, name in SUBLAYERS[application].items()}
    first = model.get_layer(names["expand.conv"]).input
    last = model.get_layer(names["project.norm"])
    if first.shape[-1] == block.filters and block.strides == 1:
        last = model.get_layer(f"{prefix}add")
    part = keras.Model(first, last.output)
    randomize(part)
    block.build(first.shape)
    assert block.count_params() == part.count_params()
    for ours, theirs in names.items():
        layer = attrgetter(ours)(block)
        weights = part.get_layer(theirs).get_weights()
        # They squeeze with 1x1 convolutions, we with dense maps.
        shapes = [variable.shape for variable in layer.weights]
        layer.set_weights([w.reshape(s) for w, s in zip(weights, shapes, strict=True)])
    x = images(2, *first.shape[1:])
    assert_close(block(x), ops.convert_to_numpy(part(x)))


@pytest.mark.parametrize(
    ("number", "filters", "strides"), [(1, 24, 2), (2, 24, 1), (10, 96, 1)]
)
def test_block_of_mobilenet_v2(number, filters, strides):
    block = InvertedResidual(filters, strides=strides)
    _assert_is_block_of("MobileNetV2", f"block_{number}_", block)


@pytest.mark.parametrize(
    ("number", "filters", "squeezed", "options"),
    [
        (3, 40, 24, {"expansion": 4, "strides": 2}),
        (4, 40, 64, {"expansion": 6}),
        (6, 48, 32, {"expansion": 3}),
    ],
)
def test_block_of_mobilenet_v3(number, filters, squeezed, options):
    block = InvertedResidual(
        filters,
        kernel_size=5,
        activation="hard_silu",
        squeeze_excite=SqueezeExcite(filters=squeezed, gate_activation="hard_sigmoid"),
        **options,
    )
    _assert_is_block_of("MobileNetV3Small", f"expanded_conv_{number}_", block)


@pytest.mark.parametrize(
    ("number", "filters", "squeezed", "options"),
    [
        ("2a", 24, 4, {"strides": 2}),
        ("2b", 24, 6, {"drop_rate": 0.025}),
        ("3b", 40, 10, {"kernel_size": 5, "drop_rate": 0.05}),
    ],
)
def test_block_of_efficientnet(number, filters, squeezed, options):
    block = InvertedResidual(
        filters,
        activation="silu",
        squeeze_excite=SqueezeExcite(filters=squeezed, activation="silu"),
        **options,
    )
    _assert_is_block_of("EfficientNetB0", f"block{number}_", block)


# Stochastic depth and training -----------------------------------------------------


def test_dropped_samples_take_the_shortcut_alone():
    block = InvertedResidual(4, normalization=None, drop_rate=0.25)
    x = images(400, 3, 3, 4)
    branch = ops.convert_to_numpy(block(x)) - x
    added = ops.convert_to_numpy(block(x, training=True)) - x
    kept = np.any(added != 0, axis=(1, 2, 3))
    assert abs(kept.mean() - 0.75) < 5 * np.sqrt(0.75 * 0.25 / 400)
    assert_close(added[kept], branch[kept] / 0.75)


@pytest.mark.parametrize("options", [{"strides": 2}, {"filters": 5}])
def test_without_an_addition_nothing_is_dropped(options):
    block = InvertedResidual(
        **{"filters": 4, **options}, normalization=None, drop_rate=0.9
    )
    x = images(20, 4, 4, 4)
    np.testing.assert_array_equal(block(x, training=True), block(x, training=False))


def test_training_reaches_every_normalization():
    block = InvertedResidual(
        4, expansion=2, squeeze_excite=keras.layers.BatchNormalization()
    )
    x = images(4, 5, 6, 4)
    block(x, training=False)
    assert moved(block, x) == ["moving_mean", "moving_variance"] * 4


# The squeeze_excite layer ----------------------------------------------------------


def _squeezed(**options):
    return InvertedResidual(4, squeeze_excite=SqueezeExcite(filters=2), **options)


def test_every_loaded_or_cloned_block_has_its_own_squeeze_excite(tmp_path):
    inputs = keras.Input((5, 6, 4))
    model = keras.Model(inputs, _squeezed()(_squeezed()(inputs)))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    own = {b.squeeze_excite for m in (model, loaded, clone) for b in m.layers[1:]}
    assert len(own) == 6
    x = images(2, 5, 6, 4)
    np.testing.assert_array_equal(loaded(x), model(x))


def test_from_config_leaves_the_config_as_it_is():
    config = _squeezed(name="block").get_config()
    block = InvertedResidual.from_config(config)
    assert isinstance(config["squeeze_excite"], dict)
    assert block.get_config() == config


def test_any_layer_that_keeps_the_shape_will_do(tmp_path):
    gate = keras.Sequential(
        [keras.layers.Conv2D(8, 1), keras.layers.LayerNormalization()]
    )
    inputs = keras.Input((5, 6, 4))
    block = InvertedResidual(4, expansion=2, squeeze_excite=gate)
    model = keras.Model(inputs, block(inputs))
    randomize(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = images(2, 5, 6, 4)
    np.testing.assert_array_equal(loaded(x), model(x))


def test_a_frozen_block_freezes_its_squeeze_excite():
    block = _squeezed(trainable=False)
    block.build((None, 5, 6, 4))
    assert not block.squeeze_excite.trainable


def test_blocks_do_not_share_a_squeeze_excite():
    shared = SqueezeExcite(filters=2, name="shared")
    first = InvertedResidual(4, squeeze_excite=shared)
    second = InvertedResidual(4, squeeze_excite=shared, name="second")
    first.build((None, 5, 6, 4))
    with pytest.raises(
        ValueError, match=r"second cannot use .* 'shared': another block has built it"
    ):
        second.build((None, 5, 6, 4))


def test_squeeze_excite_must_keep_the_shape():
    layer = keras.layers.Conv2D(7, 1, name="seven")
    block = InvertedResidual(4, expansion=2, squeeze_excite=layer)
    with pytest.raises(
        ValueError,
        match=r"must preserve the shape of its input. Received: 'seven', which turns "
        r"\(None, 5, 6, 8\) into \(None, 5, 6, 7\)",
    ):
        block.build((None, 5, 6, 4))


def test_squeeze_excite_must_have_the_data_format_of_the_block():
    layer = SqueezeExcite(data_format="channels_last", name="se")
    with pytest.raises(
        ValueError, match=r"the block's data format 'channels_first'.*'channels_last'"
    ):
        InvertedResidual(4, squeeze_excite=layer, data_format="channels_first")


@pytest.mark.parametrize("layer", [0.25, "se", SqueezeExcite])
def test_squeeze_excite_must_be_a_layer(layer):
    with pytest.raises(TypeError, match="`squeeze_excite` must be a Keras layer"):
        InvertedResidual(4, squeeze_excite=layer)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": 0}, r"`filters` must be a positive integer.*filters=0"),
        ({"filters": -8}, r"`filters` must be a positive integer.*filters=-8"),
        ({"expansion": 0.5}, r"`expansion` must be .*\[1, inf\).*expansion=0.5"),
        ({"expansion": "6"}, r"`expansion` must be .*expansion='6'"),
        ({"kernel_size": (3, 3)}, r"`kernel_size` must be a positive integer.*\(3, 3"),
        ({"strides": 0}, r"`strides` must be a positive integer.*strides=0"),
        ({"drop_rate": 1}, r"`drop_rate` must be .*\[0, 1\).*drop_rate=1"),
        (
            {"normalization": "layer"},
            r"`normalization` must be one of .*'layer'",
        ),
        ({"data_format": "NCHW"}, r"`data_format` must be one of .*'NCHW'"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        InvertedResidual(**{"filters": 4, **options})


@pytest.mark.parametrize(
    ("expansion", "channels", "expanded"), [(2.6, 8, 21), (2.5, 5, 13), (2.3, 80, 184)]
)
def test_width_is_rounded_half_up(expansion, channels, expanded):
    block = InvertedResidual(4, expansion=expansion)
    block.build((None, 8, 8, channels))
    assert block.expand.filters == expanded
