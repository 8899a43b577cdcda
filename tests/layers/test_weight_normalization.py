"""Weight normalisation, and the start that it takes from the first batch."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

import keras_ext
from keras_ext.layers import WeightNormalization
from tests.backends import channels_first
from tests.layers.steps import weights_after_a_step
from tests.layers.weights import assert_close, images, moved, randomize
from tests.markers import needs_tensorflow
from tests.reference.convolution import conv2d
from tests.reference.normalization import data_dependent_start, normalized_weights

WRAPPED = {
    "Dense": (lambda **options: keras.layers.Dense(4, **options), (8, 6)),
    "Dense-sequence": (lambda **options: keras.layers.Dense(4, **options), (8, 3, 6)),
    "Conv1D": (
        lambda **options: keras.layers.Conv1D(4, 3, padding="causal", **options),
        (4, 7, 3),
    ),
    "Conv2D": (
        lambda **options: keras.layers.Conv2D(4, (2, 3), strides=2, **options),
        (4, 7, 6, 3),
    ),
    "Conv2D-groups": (
        lambda **options: keras.layers.Conv2D(4, 2, groups=2, **options),
        (4, 5, 6, 4),
    ),
    "Conv3D": (
        lambda **options: keras.layers.Conv3D(4, 2, padding="same", **options),
        (2, 3, 4, 3, 2),
    ),
}
every_kind = pytest.mark.parametrize(("make", "shape"), WRAPPED.values(), ids=WRAPPED)


def _value(variable):
    return ops.convert_to_numpy(variable.value)


def _plain(make, layer, g=None, **options):
    """Return a plain layer with the weights that `layer` should have in effect."""
    plain = make(**options)
    plain.build(layer.layer.get_build_config()["input_shape"])
    kernel = normalized_weights(
        _value(layer.layer.kernel), _value(layer.g) if g is None else g
    )
    bias = layer.layer.bias
    plain.set_weights([kernel] if bias is None else [kernel, _value(bias)])
    return plain


def _dense(units=3, name="block", **options):
    """Return a wrapped dense layer, always with the same weights."""
    initializer = keras.initializers.RandomNormal(seed=4)
    dense = keras.layers.Dense(
        units, activation="tanh", kernel_initializer=initializer, name="dense"
    )
    return WeightNormalization(dense, name=name, **options)


def _far(*shape):
    """Return inputs that are far from mean 0 and variance 1."""
    return 5 * images(*shape) + 2


def _start(layer, x):
    """Return what the paper sets `g` and bias to, for a dense layer."""
    kernel = _value(layer.layer.kernel)
    directions = normalized_weights(kernel, np.ones(kernel.shape[-1]))
    return data_dependent_start(x @ directions)


def _assert_started(layer, x, tolerance=1e-5):
    g, bias = _start(layer, x)
    assert bool(_value(layer.started))
    assert_close(layer.g.value + layer.g_offset.value, g, tolerance)
    assert_close(layer.layer.bias.value + layer.bias_offset.value, bias, tolerance)


# The kernel ------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("data_init", [True, False])
def test_equals_a_plain_layer_with_the_kernel_of_the_reference(
    make, shape, use_bias, data_init
):
    options = {"activation": "tanh", "use_bias": use_bias}
    layer = WeightNormalization(make(**options), data_init=data_init)
    x = images(*shape)
    layer.build(x.shape)
    for variable in layer.trainable_weights:
        variable.assign(images(*variable.shape))
    expected = ops.convert_to_numpy(_plain(make, layer, **options)(x))
    assert_close(layer(x), expected)
    assert layer.compute_output_shape(x.shape) == expected.shape


@every_kind
def test_starts_as_the_layer_that_it_wraps(make, shape):
    layer = WeightNormalization(make(kernel_initializer="random_normal"))
    x = images(*shape)
    y = layer(x)
    kernel = _value(layer.layer.kernel)
    norms = np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), axis=0)
    assert_close(layer.g.value, norms)
    assert_close(y, ops.convert_to_numpy(layer.layer(x)))


def test_what_is_trained_and_what_is_not():
    layer = _dense()
    layer.build((None, 5))
    assert [v.name for v in layer.trainable_weights] == ["g", "kernel", "bias"]
    names = [v.name for v in layer.non_trainable_weights]
    assert names == ["g_offset", "bias_offset", "started"]
    without = _dense(data_init=False)
    without.build((None, 5))
    assert without.non_trainable_weights == []


@needs_tensorflow
def test_gradients_are_finite_differences():
    import tensorflow as tf

    dense = keras.layers.Dense(3, activation="tanh", dtype="float64")
    layer = WeightNormalization(dense)
    assert layer.dtype_policy.name == "float64"
    x = tf.constant(images(4, 5), "float64")
    layer(x, training=True)
    randomize(layer)

    def loss():
        return tf.reduce_sum(layer(x) ** 2)

    with tf.GradientTape() as tape:
        value = loss()
    variables = layer.trainable_weights
    assert value.dtype == "float64"
    for variable, gradient in zip(
        variables, tape.gradient(value, [v.value for v in variables]), strict=True
    ):
        base = _value(variable)
        for index in np.ndindex(*base.shape):
            step = np.zeros(base.shape)
            step[index] = 1e-6
            variable.assign(base + step)
            above = float(loss())
            variable.assign(base - step)
            below = float(loss())
            variable.assign(base)
            assert (above - below) / 2e-6 == pytest.approx(
                float(gradient[index]), abs=1e-7, rel=1e-6
            )


@pytest.mark.parametrize("policy", ["mixed_float16", "float16"])
def test_squares_do_not_overflow_in_float16(policy):
    layer = WeightNormalization(keras.layers.Dense(3, dtype=policy))
    assert layer.dtype_policy.name == policy
    x = images(4, 64)
    layer.build(x.shape)
    layer.layer.kernel.assign(300 * np.sign(images(64, 3)))
    layer.g.assign(np.array([1.0, 2.0, 3.0]))
    expected = x @ normalized_weights(_value(layer.layer.kernel), _value(layer.g))
    assert_close(ops.cast(layer(x), "float32"), expected, 1e-2)


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_a_kernel_of_zeros_has_a_finite_gradient(dtype):
    dense = keras.layers.Dense(3, kernel_initializer="zeros", dtype=dtype)
    x = images(4, 5)
    weights = weights_after_a_step(WeightNormalization(dense), x)
    assert all(np.isfinite(value).all() for value in weights.values())
    assert np.all(weights["bias"] != 0)


# The start -------------------------------------------------------------------------


def test_the_first_call_in_training_starts_a_dense_layer():
    layer, x = _dense(), _far(16, 5)
    y = ops.convert_to_numpy(layer(x, training=True))
    _assert_started(layer, x)
    g, bias = _start(layer, x)
    kernel = normalized_weights(_value(layer.layer.kernel), g)
    assert_close(y, np.tanh(x @ kernel + bias))
    assert_close(layer(x), y)
    before_activation = np.arctanh(y.astype("float64"))
    np.testing.assert_allclose(before_activation.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(before_activation.std(0), 1, atol=1e-4)


def test_the_first_call_in_training_starts_a_convolution():
    conv = keras.layers.Conv2D(4, 3, activation="relu", bias_initializer="ones")
    layer, x = WeightNormalization(conv), _far(2, 6, 5, 3)
    y = layer(x, training=True)
    directions = normalized_weights(_value(conv.kernel), np.ones(4))
    expected = data_dependent_start(conv2d(x, directions, padding="valid"))
    assert_close(layer.g.value + layer.g_offset.value, expected[0])
    assert_close(conv.bias.value + layer.bias_offset.value, expected[1])
    kernel = normalized_weights(_value(conv.kernel), expected[0])
    outputs = conv2d(x, kernel, expected[1], padding="valid")
    assert_close(y, np.maximum(outputs, 0))


@every_kind
def test_every_kind_of_layer_starts_with_outputs_of_mean_0_and_variance_1(make, shape):
    layer = WeightNormalization(make())
    y = ops.convert_to_numpy(layer(_far(*shape), training=True)).reshape(-1, 4)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(0), 1, atol=1e-5)


def test_channels_first_start_from_their_channels():
    conv = keras.layers.Conv2D(4, 3, data_format="channels_first")
    layer, x = WeightNormalization(conv), _far(2, 3, 6, 5)
    layer.build(x.shape)
    y = ops.convert_to_numpy(channels_first(lambda x: layer(x, training=True))(x))
    np.testing.assert_allclose(y.mean((0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std((0, 2, 3)), 1, atol=1e-5)


def test_without_a_bias_only_g_is_set():
    layer = WeightNormalization(keras.layers.Dense(3, use_bias=False))
    y = ops.convert_to_numpy(layer(_far(16, 5), training=True))
    np.testing.assert_allclose(y.std(0), 1, atol=1e-5)
    assert np.all(np.abs(y.mean(0)) > 1e-3)
    assert [v.name for v in layer.non_trainable_weights] == ["g_offset", "started"]


def test_it_starts_once_and_in_training_only():
    layer, x = _dense(), _far(16, 5)
    layer(x)
    layer(x, training=False)
    assert moved(layer, x) == ["g_offset", "bias_offset", "started"]
    layer(3 * x, training=False)
    assert moved(layer, 3 * x) == []
    _assert_started(layer, x)


def test_neither_a_frozen_layer_starts_nor_one_without_data_init():
    x = _far(16, 5)
    around_frozen = _dense()
    around_frozen.layer.trainable = False
    around_frozen = WeightNormalization.from_config(around_frozen.get_config())
    assert not around_frozen.layer.trainable
    for layer in (_dense(trainable=False), around_frozen, _dense(data_init=False)):
        expected = ops.convert_to_numpy(layer(x))
        assert moved(layer, x) == []
        assert_close(layer(x, training=True), expected, 0)


@pytest.mark.parametrize("batch", [1, 0, 4], ids=["one sample", "none", "all alike"])
def test_a_batch_in_which_no_output_varies_leaves_the_start_to_the_next(batch):
    layer = _dense()
    layer.build((None, 5))
    assert moved(layer, np.repeat(_far(1, 5), batch, axis=0)) == []
    x = _far(16, 5)
    layer(x, training=True)
    _assert_started(layer, x)


def test_an_output_that_does_not_vary_keeps_its_g_and_bias():
    layer = _dense()
    layer.build((None, 5))
    kernel = images(5, 3)
    kernel[:, 1] = 0
    layer.layer.kernel.assign(kernel)
    layer(_far(16, 5), training=True)
    assert _value(layer.started)
    for offset in (layer.g_offset, layer.bias_offset):
        np.testing.assert_array_equal(_value(offset) == 0, [False, True, False])


@pytest.mark.parametrize("size", [1e-30, 1e-20, 1e20, 1e30])
def test_the_size_of_the_kernel_does_not_matter(size):
    layer = WeightNormalization(keras.layers.Dense(3), data_init=False)
    layer.build((None, 5))
    kernel = np.random.default_rng(0).normal(size=(5, 3))
    layer.layer.kernel.assign(size * kernel)
    layer.g.assign([1.0, 2.0, 3.0])
    expected = [1, 2, 3] * kernel / np.linalg.norm(kernel, axis=0)
    np.testing.assert_allclose(layer(np.eye(5)), expected, rtol=1e-5, atol=1e-6)
    wrapped = keras.layers.Dense(3, kernel_initializer=lambda *_, **__: size * kernel)
    layer = WeightNormalization(wrapped, data_init=False)
    layer.build((None, 5))
    expected = size * np.linalg.norm(kernel, axis=0)
    np.testing.assert_allclose(_value(layer.g), expected, rtol=1e-5)


def test_inputs_of_zeros_start_nothing_and_have_a_finite_gradient():
    weights = weights_after_a_step(_dense(), np.zeros((4, 5), "float32"))
    assert all(np.isfinite(value).all() for value in weights.values())
    assert np.all(weights["g_offset"] == 0)
    assert not weights["started"]


def test_the_start_uses_float32_in_half_precision():
    layer = WeightNormalization(keras.layers.Dense(3, dtype="mixed_float16"))
    x = 300 * images(16, 5)
    layer(x, training=True)
    _assert_started(layer, x.astype("float16").astype("float32"), 5e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"jit_compile": False},
        {"jit_compile": True},
        {"run_eagerly": True, "jit_compile": False},
    ],
    ids=str,
)
def test_the_first_step_of_fit_starts_and_trains_from_there(options):
    x = _far(16, 5)
    layer, started = _dense(), _dense()
    started(x, training=True)
    weights = weights_after_a_step(layer, x, **options)
    expected = weights_after_a_step(started, x, **options)
    for name, value in weights.items():
        assert_close(value, expected[name])
    # The gradient reached what is trained in the step that starts.
    untrained = _dense()
    untrained.build(x.shape)
    for variable in untrained.trainable_weights:
        assert not np.allclose(weights[variable.name], _value(variable))
    assert weights["started"]
    g, bias = _start(untrained, x)
    assert_close(_value(untrained.g) + weights["g_offset"], g)
    assert_close(weights["bias_offset"], bias)


@needs_tensorflow
@pytest.mark.parametrize("jit_compile", [None, False, True])
def test_a_hand_written_loop_starts(jit_compile):
    import tensorflow as tf

    x = tf.constant(_far(16, 5))
    layer = _dense()
    layer.build(x.shape)
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(layer.trainable_variables)

    def step(batch):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((layer(batch, training=True) - 1) ** 2)
        variables = layer.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in variables])
        optimizer.apply(gradients, variables)
        return gradients

    if jit_compile is not None:
        signature = [tf.TensorSpec((None, 5))]
        step = tf.function(step, signature, jit_compile=jit_compile)
    gradients = step(x)
    assert all(np.any(gradient.numpy() != 0) for gradient in gradients)
    expected = _dense()
    expected.build(x.shape)
    g, bias = _start(expected, x.numpy())
    assert_close(_value(expected.g) + _value(layer.g_offset), g)
    assert_close(layer.bias_offset.value, bias)
    step(3 * x)
    assert_close(layer.bias_offset.value, bias)


@needs_tensorflow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_many_steps_in_one_call_start_in_the_first(jit_compile):
    x = _far(64, 5)
    layers = _dense(), _dense()
    weights = []
    for layer, many in zip(layers, (False, True), strict=True):
        model = keras.Sequential([keras.Input((5,)), layer])
        model = keras_ext.Trainer(model, seed=1) if many else model
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=jit_compile)
        model.fit(x, np.ones((64, 3)), 16, epochs=2, shuffle=False, verbose=0)
        weights.append(layer.get_weights())
    for one, other in zip(*weights, strict=True):
        assert_close(one, other)
    fresh = _dense()
    fresh.build(x.shape)
    assert_close(layers[1].bias_offset.value, _start(fresh, x[:16])[1])


CODE = """
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)

import keras
import numpy as np
from tests.layers.test_weight_normalization import _dense, _far, _start, _value

x = _far(32, 5)
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    layer = _dense()
    model = keras.Sequential([keras.Input((5,)), layer])
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
fresh = _dense()
fresh.build(x.shape)
model.fit(x, np.ones((32, 3)), 32, epochs=2, shuffle=False, verbose=0)
bias = (_start(fresh, x[:16])[1] + _start(fresh, x[16:])[1]) / 2
np.testing.assert_allclose(_value(layer.bias_offset), bias, atol=1e-5)
assert _value(layer.started)
"""


@needs_tensorflow
def test_several_replicas_go_on_from_the_mean_of_their_starts():
    subprocess.run(
        [sys.executable, "-c", CODE],
        check=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        timeout=120,
    )


# Saving and handing over -----------------------------------------------------------


@pytest.mark.parametrize("file", ["model.keras", "model.weights.h5"])
def test_a_saved_layer_does_not_start_again(file, tmp_path):
    x = _far(16, 5)
    model = keras.Sequential([keras.Input((5,)), _dense()])
    model(x, training=True)
    expected = ops.convert_to_numpy(model(x))
    if file == "model.keras":
        model.save(tmp_path / file)
        loaded = keras.models.load_model(tmp_path / file)
    else:
        model.save_weights(tmp_path / file)
        loaded = keras.Sequential([keras.Input((5,)), _dense()])
        loaded.load_weights(tmp_path / file)
    assert_close(loaded(x), expected, 0)
    assert moved(loaded.layers[-1], 3 * x) == []


@every_kind
@pytest.mark.parametrize("data_init", [True, False])
def test_remove_returns_a_plain_layer_that_gives_the_same(make, shape, data_init):
    layer = WeightNormalization(make(activation="tanh"), data_init=data_init)
    x = _far(*shape)
    layer(x, training=True)
    layer.g.assign(-0.5 * layer.g.value)
    layer.layer.bias.assign(images(4))
    expected = ops.convert_to_numpy(layer(x))
    plain = layer.remove()
    assert plain is layer.layer
    assert_close(plain(x), expected)
    assert_close(layer(x), expected)
    assert layer.remove() is plain
    assert_close(plain(x), expected)
    assert moved(layer, 3 * x) == []


def test_a_layer_that_was_handed_over_does_not_start():
    layer, x = _dense(), _far(16, 5)
    expected = ops.convert_to_numpy(layer(x))
    plain = layer.remove()
    assert _value(layer.started)
    assert_close(layer(x, training=True), expected)
    assert_close(plain(x), expected)


def test_a_layer_that_was_not_built_has_nothing_to_hand_over():
    with pytest.raises(ValueError, match=r"block has no weights .* before `remove`"):
        _dense().remove()


# The wrapped layer -----------------------------------------------------------------


@keras.saving.register_keras_serializable(package="tests")
class Counting(keras.layers.Dense):
    def build(self, input_shape):
        super().build(input_shape)
        self.calls = self.add_weight(
            name="calls", dtype="int32", initializer="zeros", trainable=False
        )

    def call(self, inputs):
        self.calls.assign_add(1)
        return super().call(inputs)


def test_what_the_wrapped_layer_remembers_is_kept():
    layer = WeightNormalization(Counting(3))
    x = images(4, 5)
    layer(x)
    layer(x, training=True)
    assert int(_value(layer.layer.calls)) == 2
    assert weights_after_a_step(layer, x)["calls"] == 3


def test_the_activity_of_the_wrapped_layer_is_regularized_once():
    x = images(4, 5)
    plain = keras.layers.Dense(3, activity_regularizer="l2")
    layer = WeightNormalization(plain, data_init=False)
    y = ops.convert_to_numpy(layer(x))
    expected = float(plain.activity_regularizer(y))
    (loss,) = layer.losses
    assert float(loss) in (pytest.approx(expected), pytest.approx(expected / 4))
    model = keras.Sequential([keras.Input((5,)), layer])
    model.compile("sgd", loss="mse")
    total = model.evaluate(x, y, verbose=0)
    assert total == pytest.approx(float(loss), rel=1e-5)
    copy = WeightNormalization.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()


def test_the_regularizer_of_the_kernel_sees_v():
    layer = WeightNormalization(keras.layers.Dense(3, kernel_regularizer="l2"))
    layer(images(4, 5))
    layer.g.assign(np.zeros(3))
    (loss,) = layer.losses
    expected = 0.01 * np.sum(_value(layer.layer.kernel) ** 2)
    assert float(loss) == pytest.approx(expected)


def test_an_activation_may_be_a_layer():
    activation = keras.layers.LeakyReLU(negative_slope=0.5)
    dense = keras.layers.Dense(3, activation=activation)
    layer, x = WeightNormalization(dense), _far(16, 5)
    y = ops.convert_to_numpy(layer(x, training=True))
    assert dense.activation is activation
    before_activation = np.where(y < 0, 2 * y, y)
    np.testing.assert_allclose(before_activation.std(0), 1, atol=1e-5)


@pytest.mark.parametrize("shared_axes", [None, [1]])
def test_the_weights_of_an_activation_are_trained_and_saved(shared_axes, tmp_path):
    activation = keras.layers.PReLU("ones", shared_axes=shared_axes)
    conv = keras.layers.Conv1D(3, 2, activation=activation)
    model = keras.Sequential([keras.Input((5, 4)), WeightNormalization(conv)])
    assert any(activation.alpha is v for v in model.trainable_variables)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    x = _far(16, 5, 4)
    model.fit(x, np.ones((16, 4, 3)), verbose=0)
    assert np.all(_value(activation.alpha) != 1)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_close(loaded(x), ops.convert_to_numpy(model(x)), 0)


def test_another_number_of_channels_is_refused():
    layer = _dense()
    layer(images(4, 5))
    with pytest.raises(ValueError, match=r"expected axis -1 .* to have value 5"):
        layer(images(4, 6))


def test_a_dtype_of_its_own_is_that_of_the_outputs():
    layer = WeightNormalization(keras.layers.Dense(3), dtype="mixed_float16")
    x = _far(16, 5)
    y = layer(x, training=True)
    assert keras.backend.standardize_dtype(y.dtype) == "float16"
    _assert_started(layer, x, 1e-2)


def test_masks_pass_through_a_dense_layer():
    x = keras.layers.Masking()(np.array([[[1.0], [0.0]], [[2.0], [3.0]]], "float32"))
    y = _dense()(x)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(y._keras_mask), [[True, False], [True, True]]
    )


@pytest.mark.parametrize(
    "layer",
    [
        lambda: keras.layers.LSTM(3),
        lambda: keras.layers.LSTMCell(3),
        lambda: keras.layers.DepthwiseConv2D(3),
        lambda: keras.layers.Conv2DTranspose(4, 3),
        lambda: keras.layers.EinsumDense("ab,bc->ac", 3),
        lambda: keras.layers.ReLU(),
        lambda: "dense",
    ],
)
def test_other_layers_are_refused(layer):
    with pytest.raises(TypeError, match=r"one of Dense, Conv1D, .* Received: layer="):
        WeightNormalization(layer())


@pytest.mark.parametrize(
    "options", [{"lora_rank": 1}, {"dtype": "int8_from_float32"}], ids=str
)
def test_a_kernel_that_is_not_a_weight_of_floats_is_refused(options):
    layer = WeightNormalization(keras.layers.Dense(3, **options), name="block")
    with pytest.raises(ValueError, match=r"block needs .* without LoRA and quantiz"):
        layer.build((None, 5))


@pytest.mark.parametrize(
    "change",
    [lambda layer: layer.quantize("int8"), lambda layer: layer.enable_lora(1)],
    ids=["quantize", "enable_lora"],
)
def test_a_kernel_that_is_no_longer_a_weight_of_floats_is_refused(change):
    layer, x = _dense(), images(4, 5)
    layer(x)
    change(layer.layer)
    for use in (lambda: layer(x), lambda: layer(x, training=True), layer.remove):
        with pytest.raises(ValueError, match=r"block needs .* call `remove` before"):
            use()


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"`data_init` must be one of .*'yes'"):
        WeightNormalization(keras.layers.Dense(3), data_init="yes")
    with pytest.raises(ValueError, match=r"`activity_regularizer` must .*='l2'"):
        WeightNormalization(keras.layers.Dense(3), activity_regularizer="l2")
