import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.layers import TLU, ConvNormAct, FilterResponseNormalization
from tests.layers.weights import assert_close, images, randomize, unit
from tests.reference import blocks
from tests.reference.convolution import conv2d


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kernel_size": 3},
        {"kernel_size": 3, "strides": 2, "activation": "relu6"},
        {"kernel_size": (1, 4), "strides": (1, 2), "activation": "silu"},
        {"kernel_size": 2, "strides": 3, "activation": None},
        {"kernel_size": 3, "normalization": None},
        {"kernel_size": (3, 1), "normalization": None, "activation": "hard_silu"},
        {"kernel_size": (3, 2), "padding": "valid", "strides": (2, 1)},
        {"kernel_size": 3, "dilation_rate": 2},
        {"kernel_size": (3, 2), "dilation_rate": (1, 3), "padding": "valid"},
    ],
    ids=str,
)
def test_equals_the_reference(options):
    layer = ConvNormAct(4, **options)
    x = images(2, 5, 6, 3)
    layer.build(x.shape)
    randomize(layer)
    kernel, bias, norm = unit(layer)
    expected = conv2d(
        x,
        kernel,
        bias,
        strides=options.get("strides", 1),
        padding=options.get("padding", "same"),
        dilation=options.get("dilation_rate", 1),
    )
    if norm is not None:
        expected = blocks.batch_norm(expected, *norm)
    activation = options.get("activation", "relu") or "linear"
    assert_close(layer(x), blocks.ACTIVATIONS[activation](expected))
    assert layer.compute_output_shape(x.shape) == expected.shape


def test_the_convolution_has_a_bias_only_without_normalization():
    normalized, plain = ConvNormAct(4), ConvNormAct(4, normalization=None)
    normalized.build((None, 5, 6, 3))
    plain.build((None, 5, 6, 3))
    names = [variable.name for variable in normalized.weights]
    assert names == ["kernel", "gamma", "beta", "moving_mean", "moving_variance"]
    assert [variable.name for variable in plain.weights] == ["kernel", "bias"]


def test_a_layer_as_normalization_is_a_pattern_for_copies():
    pattern = keras.layers.BatchNormalization(momentum=0.5, scale=False)
    first, second = (ConvNormAct(4, 3, normalization=pattern) for _ in range(2))
    x = images(2, 5, 6, 3)
    for layer in (first, second):
        layer(x, training=True)
        assert [variable.name for variable in layer.weights][1:] == [
            "beta",
            "moving_mean",
            "moving_variance",
        ]
        assert layer.norm.momentum == 0.5
    assert not pattern.built
    assert first.norm is not second.norm
    copy = ConvNormAct.from_config(first.get_config())
    assert copy.get_config() == first.get_config()


def test_the_pattern_of_its_normalization_is_no_part_of_a_layer():
    pattern = keras.layers.BatchNormalization()
    pattern.build((None, 5, 6, 4))
    layer = ConvNormAct(4, normalization=pattern)
    layer.build((None, 5, 6, 3))
    assert len(layer.weights) == 5
    layer.trainable = False
    assert pattern.trainable
    assert layer.normalization.trainable
    assert not layer.norm.trainable
    copy = ConvNormAct.from_config({**layer.get_config(), "trainable": True})
    copy.build((None, 5, 6, 3))
    assert copy.norm.trainable


def test_files_do_not_depend_on_what_the_pattern_was_used_for(tmp_path):
    used, fresh = (keras.layers.BatchNormalization() for _ in range(2))
    used.build((None, 5, 6, 4))
    inputs = keras.Input((5, 6, 3))
    saved, loaded = (
        keras.Model(inputs, ConvNormAct(4, normalization=one)(inputs))
        for one in (used, fresh)
    )
    randomize(saved)
    saved.save_weights(tmp_path / "model.weights.h5")
    loaded.load_weights(tmp_path / "model.weights.h5")
    x = images(2, 5, 6, 3)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(loaded(x)), ops.convert_to_numpy(saved(x))
    )


def test_a_frozen_pattern_makes_frozen_copies():
    pattern = keras.layers.BatchNormalization(trainable=False)
    layer = ConvNormAct(4, normalization=pattern)
    layer.build((None, 5, 6, 3))
    assert [v.name for v in layer.trainable_variables] == ["kernel"]


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_a_model_of_layers_with_a_pattern_can_be_quantised():
    pattern = keras.layers.BatchNormalization()
    inputs = keras.Input((6, 5, 3))
    x = ConvNormAct(4, normalization=pattern)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    model.quantize("int8")
    assert model(images(2, 6, 5, 3)).shape == (2, 6, 5, 2)


def test_a_sequence_of_layers_may_be_the_pattern():
    pattern = keras.Sequential([FilterResponseNormalization(), TLU()])
    layer = ConvNormAct(4, normalization=pattern, activation=None)
    x = images(2, 6, 5, 3)
    y = ops.convert_to_numpy(layer(x))
    assert [v.name for v in layer.weights] == ["kernel", "gamma", "beta", "tau"]
    assert y.min() == 0


def test_a_normalization_that_changes_the_shape_is_refused():
    layer = ConvNormAct(4, normalization=keras.layers.MaxPooling2D())
    with pytest.raises(
        ValueError, match=r"must preserve the shape of its input.*pooling"
    ):
        layer.build((None, 6, 4, 3))


@pytest.mark.parametrize("normalization", [5, keras.layers.BatchNormalization])
def test_a_normalization_that_is_no_layer_is_refused(normalization):
    with pytest.raises(TypeError, match="or a Keras layer, of which every convolution"):
        ConvNormAct(4, normalization=normalization)


def test_a_normalization_of_another_data_format_is_refused():
    pattern = FilterResponseNormalization(data_format="channels_last")
    with pytest.raises(ValueError, match="must have the data format 'channels_first'"):
        ConvNormAct(4, normalization=pattern, data_format="channels_first")


@pytest.mark.parametrize(
    ("axis", "data_format"), [(1, "channels_last"), (-1, "channels_first")]
)
def test_a_normalization_of_another_axis_is_refused(axis, data_format):
    pattern = keras.layers.BatchNormalization(axis=axis)
    message = f"must normalize the channels, axis {-axis} .*axis={axis}"
    with pytest.raises(ValueError, match=message):
        ConvNormAct(4, normalization=pattern, data_format=data_format)


def test_strides_and_dilation_exclude_each_other():
    with pytest.raises(ValueError, match=r"must not both be greater than 1.*strides=2"):
        ConvNormAct(4, 3, strides=2, dilation_rate=(1, 2))


@pytest.mark.parametrize("through", ["argument", "caller"])
def test_training_normalizes_with_the_moments_of_the_batch(through):
    layer = ConvNormAct(4, activation=None)
    x = images(8, 5, 6, 3)
    if through == "caller":
        inputs = keras.Input(x.shape[1:])
        call = keras.Model(inputs, layer(inputs))
    else:
        call = layer
    y = ops.convert_to_numpy(call(x, training=True))
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std((0, 1, 2)), 1, atol=2e-2)
    moving_mean = ops.convert_to_numpy(layer.norm.moving_mean)
    assert np.all(moving_mean != 0)
    call(x, training=False)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(layer.norm.moving_mean), moving_mean
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": 0}, r"`filters` must be a positive integer.*filters=0"),
        ({"filters": -3}, r"`filters` must be a positive integer.*filters=-3"),
        ({"filters": True}, r"`filters` must be a positive integer.*filters=True"),
        ({"kernel_size": 0}, r"`kernel_size` must be a positive .*kernel_size=0"),
        ({"kernel_size": (3,)}, r"`kernel_size` must be .* pair .*\(3,\)"),
        ({"kernel_size": "3"}, r"`kernel_size` must be a positive .*'3'"),
        ({"strides": (2, 0)}, r"`strides` must be .* pair .*\(2, 0\)"),
        ({"padding": "causal"}, r"`padding` must be one of .*'causal'"),
        ({"dilation_rate": 0}, r"`dilation_rate` must be a positive .*=0"),
        ({"strides": 1.5}, r"`strides` must be a positive .*strides=1.5"),
        (
            {"normalization": "layer"},
            r"`normalization` must be one of .*'layer'",
        ),
        ({"data_format": "NHWC"}, r"`data_format` must be one of .*'NHWC'"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        ConvNormAct(**{"filters": 4, **options})
