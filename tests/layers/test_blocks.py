"""What holds for every layer that is made of other layers."""

import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext import layers
from tests.layers.weights import images, moved, randomize

BACKEND = keras.backend.backend()

CONVOLUTIONS = {
    "ConvNormAct": lambda **options: layers.ConvNormAct(6, 3, strides=2, **options),
    "ConvNormAct-pair": lambda **options: layers.ConvNormAct(6, (1, 3), **options),
    "InceptionModule": lambda **options: layers.InceptionModule(
        2, (3, 4), 3, None, **{"normalization": "batch", **options}
    ),
    "InvertedResidual": lambda **options: layers.InvertedResidual(8, **options),
    "FactorizedInception": lambda **options: layers.FactorizedInception(
        [[(3, 1)], [(2, 1), [(3, (1, 3)), (4, (3, 1))]]], filters_pool=4, **options
    ),
    "FusedInvertedResidual": lambda **options: layers.FusedInvertedResidual(
        8, **options
    ),
    "AtrousSpatialPyramidPooling": lambda **options: layers.AtrousSpatialPyramidPooling(
        6, dilation_rates=(1, 2), **options
    ),
    "InvertedResidual-squeezed": lambda **options: layers.InvertedResidual(
        8,
        expansion=2,
        squeeze_excite=layers.SqueezeExcite(
            0.25,
            dtype=options.get("dtype"),
            data_format=options.get("data_format"),
        ),
        **options,
    ),
}
BLOCKS = {
    **CONVOLUTIONS,
    "CBAM": lambda **options: layers.CBAM(0.25, **options),
    "SqueezeExcite": lambda **options: layers.SqueezeExcite(0.25, **options),
}

every_block = pytest.mark.parametrize("make", BLOCKS.values(), ids=BLOCKS)
every_convolution = pytest.mark.parametrize(
    "make", CONVOLUTIONS.values(), ids=CONVOLUTIONS
)


def _model(layer):
    inputs = keras.Input((6, 5, 8))
    return keras.Model(inputs, layer(inputs))


@every_block
def test_a_weights_file_loads_into_a_block_that_was_only_built(make, tmp_path):
    saved, loaded = _model(make()), _model(make())
    randomize(saved)
    saved.save_weights(tmp_path / "model.weights.h5")
    loaded.load_weights(tmp_path / "model.weights.h5")
    x = images(2, 6, 5, 8)
    np.testing.assert_array_equal(
        loaded.predict(x, verbose=0), saved.predict(x, verbose=0)
    )


@every_block
def test_config_survives_json(make):
    config = make(name="block").get_config()
    loaded = make().from_config(json.loads(json.dumps(config)))
    assert loaded.get_config() == config


@every_block
@pytest.mark.parametrize("when", ["made", "before build", "after build", "loaded"])
def test_a_frozen_block_stays_as_it_is_until_thawed(make, when, tmp_path):
    layer = make(trainable=when != "made")
    if when == "before build":
        layer.trainable = False
    model = _model(layer)
    trainable = len(_model(make()).trainable_variables)
    if when in ("after build", "loaded"):
        layer.trainable = False
    if when == "loaded":
        model.save(tmp_path / "model.keras")
        model = keras.models.load_model(tmp_path / "model.keras")
        layer = model.layers[-1]
    assert model.trainable_variables == []
    assert moved(layer, images(2, 6, 5, 8)) == []
    layer.trainable = True
    assert len(model.trainable_variables) == trainable


@every_block
def test_the_output_shape_of_channels_first_may_be_open(make):
    first = make(data_format="channels_first")
    output = first(keras.KerasTensor((None, 8, 6, 5)))
    open_shape = first.compute_output_shape((None, 8, None, None))
    assert open_shape == (None, output.shape[1], None, None)


@every_block
def test_every_sublayer_has_the_dtype_policy_of_the_block(make):
    layer = make(dtype="float16")
    output = layer(images(2, 6, 5, 8))
    assert keras.backend.standardize_dtype(output.dtype) == "float16"
    assert {variable.dtype for variable in layer.weights} == {"float16"}


@every_convolution
def test_the_regularizer_is_on_every_convolution(make):
    layer = make(kernel_regularizer="l2")
    layer.build((None, 6, 5, 8))
    kernels = [v for v in layer.weights if len(v.shape) == 4]
    losses = [float(loss) for loss in layer.losses]
    expected = [0.01 * np.sum(np.square(ops.convert_to_numpy(k))) for k in kernels]
    assert sorted(losses) == pytest.approx(sorted(expected))


@every_block
@pytest.mark.skipif(BACKEND != "tensorflow", reason="written with a tf.function")
def test_empty_batch(make):
    import tensorflow as tf

    # Without XLA, TensorFlow's convolutions on the CPU return an empty input as it
    # is, whatever the kernel.
    layer = make()
    layer.build((None, 6, 5, 8))
    compiled = tf.function(lambda x: layer(x), jit_compile=True)
    shape = (0, 6, 5, 8)
    output = compiled(np.zeros(shape, "float32"))
    assert tuple(output.shape) == layer.compute_output_shape(shape)


@every_block
@pytest.mark.parametrize(
    ("data_format", "shape", "message"),
    [
        (
            "channels_last",
            (None, 5, 8),
            r"block .* rank 4, shaped \(batch, height, width, channels\). .*rank 3",
        ),
        (
            "channels_first",
            (None, 8, 6, 5, 1),
            r"rank 4, shaped \(batch, channels, height, width\). .*rank 5",
        ),
        (
            "channels_last",
            (None, 6, 5, None),
            r"block needs the size of the channel axis \(axis -1\)",
        ),
        (
            "channels_first",
            (None, None, 6, 5),
            r"block needs the size of the channel axis \(axis 1\)",
        ),
    ],
)
def test_bad_shapes(make, data_format, shape, message):
    layer = make(data_format=data_format, name="block")
    with pytest.raises(ValueError, match=message):
        layer(keras.KerasTensor(shape))


@every_block
def test_a_built_block_refuses_another_number_of_channels(make):
    layer = make()
    layer.build((None, 6, 5, 8))
    with pytest.raises(ValueError, match="expected axis -1 of input shape to have val"):
        layer(keras.KerasTensor((None, 6, 5, 7)))


@pytest.mark.parametrize(
    "make",
    [
        lambda a: layers.ConvNormAct(4, activation=a),
        lambda a: layers.InceptionModule(2, 2, 2, None, activation=a),
        lambda a: layers.InvertedResidual(4, activation=a),
        lambda a: layers.SqueezeExcite(activation=a),
        lambda a: layers.SqueezeExcite(gate_activation=a),
    ],
)
def test_a_layer_is_no_activation(make):
    with pytest.raises(
        TypeError, match="activation` must be the name of an activation"
    ):
        make(keras.layers.PReLU())
