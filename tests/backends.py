"""What backends and machines do in different ways: gradients and compiled code."""

import functools

import keras
import numpy as np
from keras import ops


def gradients(function, *arrays):
    """Return the gradients of the sum of `function(*arrays)`, on TensorFlow or JAX."""
    if keras.backend.backend() == "jax":
        import jax

        of_all = jax.grad(lambda *xs: ops.sum(function(*xs)), range(len(arrays)))
        return [np.asarray(gradient) for gradient in of_all(*map(np.asarray, arrays))]
    import tensorflow as tf

    arrays = [tf.convert_to_tensor(array) for array in arrays]
    with tf.GradientTape() as tape:
        tape.watch(arrays)
        total = tf.reduce_sum(function(*arrays))
    return [gradient.numpy() for gradient in tape.gradient(total, arrays)]


def compiled(function, jit_compile=True):
    """Return `function`, of tensors, compiled: by XLA, or on TensorFlow as a graph."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    return tf.function(function, jit_compile=jit_compile, autograph=False)


def channels_first(function):
    """Return `function`, of arrays, in a form that takes images channels first.

    TensorFlow convolves such images on a CPU only with oneDNN, which it leaves off
    where there is no AVX-512, or by XLA, which compiles `function` there. What
    `function` calls must be built. `TF_ENABLE_ONEDNN_OPTS=0` or `1`, in the
    environment, shows one machine what the other does.
    """
    return function if convolves_channels_first() else compiled(function)


@functools.cache
def convolves_channels_first():
    """Whether this machine convolves images channels first without XLA."""
    if keras.backend.backend() == "jax":
        return True
    import tensorflow as tf

    ones = np.ones((1, 1, 1, 1), "float32")
    try:
        ops.conv(ones, ones, data_format="channels_first")
    except tf.errors.UnimplementedError:
        return False
    return True
