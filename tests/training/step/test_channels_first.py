"""Models of images channels first, on a CPU where TensorFlow has no such kernels."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ext import Trainer
from keras_ext.training.step import channels_first
from tests.backends import convolves_channels_first

X = np.random.default_rng(3).normal(size=(6, 2, 5, 4)).astype("float32")
Y = np.ones((6, 1), "float32")
EXPLAINED = (
    r"`Trainer\.{step}` has an operation on channels-first images .* on this CPU.*"
    r"Received: '\S.* only supports NHWC.*'\. Create the model with "
    r"`data_format='channels_last'`.*jit_compile=True.*TF_ENABLE_ONEDNN_OPTS=1 .* AVX"
    r"-512.*a GPU.*JAX"
)
on_a_cpu = pytest.mark.skipif(
    bool(tf.config.list_physical_devices("GPU")),
    reason="a GPU has all operations channels first",
)


class Pooled(keras.layers.Layer):
    """An operation that no CPU has channels first, with oneDNN or without."""

    def call(self, x):
        window = [1, 1, 2, 2]
        return tf.raw_ops.MaxPoolV2(
            input=x, ksize=window, strides=window, padding="SAME", data_format="NCHW"
        )


def _trainer(*layers, **options):
    keras.utils.set_random_seed(2)
    trainer = Trainer(
        keras.Sequential(
            [
                keras.Input(X.shape[1:]),
                *layers,
                keras.layers.Flatten(),
                keras.layers.Dense(1),
            ]
        ),
        seed=1,
    )
    trainer.compile(keras.optimizers.SGD(0.01), "mse", **options)
    return trainer


@on_a_cpu
@pytest.mark.parametrize("eager", [False, True])
def test_every_method_explains_what_the_machine_lacks(eager):
    trainer = _trainer(Pooled(), run_eagerly=eager)
    pattern = EXPLAINED.format
    with pytest.raises(RuntimeError, match=pattern(step="train_step")) as caught:
        trainer.fit(X, Y, batch_size=2, verbose=0)
    assert isinstance(caught.value.__cause__, tf.errors.InvalidArgumentError)
    with pytest.raises(RuntimeError, match=pattern(step="train_step")):
        trainer.step((X, Y))
    with pytest.raises(RuntimeError, match=pattern(step="test_step")):
        trainer.evaluate(X, Y, batch_size=2, verbose=0)
    with pytest.raises(RuntimeError, match=pattern(step="predict_step")):
        trainer.predict(X, batch_size=2, verbose=0)
    with pytest.raises(RuntimeError, match=pattern(step="predict_step")):
        trainer.predict(X, batch_size=6, verbose=0)


@pytest.mark.skipif(
    convolves_channels_first(),
    reason="this machine convolves images channels first (TF_ENABLE_ONEDNN_OPTS=0 in "
    "the environment shows one that does not)",
)
@pytest.mark.parametrize("layer", [keras.layers.Conv2D, keras.layers.Conv2DTranspose])
def test_convolutions_are_explained(layer):
    trainer = _trainer(layer(3, 2, data_format="channels_first"))
    with pytest.raises(RuntimeError, match=r"only supports .*NHWC"):
        trainer.fit(X, Y, verbose=0)
    with pytest.raises(RuntimeError, match=r"only supports .*NHWC"):
        trainer.predict(X, verbose=0)


def test_channels_first_train_with_xla_on_every_machine():
    # Not as many filters as the outputs are wide: Keras 3.15 would add the bias along
    # the wrong axis.
    first = _trainer(
        keras.layers.Conv2D(5, 2, data_format="channels_first"), jit_compile=True
    )
    last = _trainer(
        keras.layers.Permute((2, 3, 1)),
        keras.layers.Conv2D(5, 2),
        keras.layers.Permute((3, 1, 2)),
    )
    last.model.set_weights(first.model.get_weights())
    for trainer in (first, last):
        trainer.fit(X, Y, batch_size=2, epochs=2, verbose=0)
    np.testing.assert_allclose(
        first.predict(X, verbose=0), last.predict(X, verbose=0), rtol=1e-5, atol=1e-5
    )
    assert first.evaluate(X, Y, verbose=0) == pytest.approx(
        last.evaluate(X, Y, verbose=0), rel=1e-5
    )


@pytest.mark.parametrize(
    "limit",
    [
        "The Conv2D op currently only supports the NHWC tensor format on the CPU.",
        "Conv2DCustomBackpropFilterOp only supports NHWC.",
        "Conv2DCustomBackpropInputOp only supports NHWC.",
        "Depthwise convolution on CPU is only supported for NHWC format",
        "Default MaxPoolingGradOp only supports NHWC on device type CPU",
        "CPU implementation of Conv3D currently only supports the NHWC tensor format.",
        "Default Pooling3DOp only supports NDHWC on device type CPU",
        "Conv3DBackpropInputOpV2 only supports NDHWC on the CPU.",
        "The CPU implementation of FusedBatchNorm only supports NHWC tensor format.",
    ],
)
def test_all_that_tensorflow_says_of_it_is_known(limit):
    around = f"{{{{function_node __wrapped__}}}} {limit} [Op:Conv2D] name: \nreceived"
    error = tf.errors.UnimplementedError(None, None, around)
    with (
        pytest.raises(RuntimeError) as caught,
        channels_first.explained("Trainer.train_step"),
    ):
        raise error
    assert f"Received: {limit!r}. Create" in str(caught.value)


def test_other_errors_are_left_alone():
    error = tf.errors.InvalidArgumentError(None, None, "Matrix size-incompatible: NHWC")
    with (
        pytest.raises(tf.errors.InvalidArgumentError) as caught,
        channels_first.explained("Trainer.train_step"),
    ):
        raise error
    assert caught.value is error
