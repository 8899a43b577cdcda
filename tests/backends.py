"""What TensorFlow and JAX do in different ways: gradients and compiled code."""

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
