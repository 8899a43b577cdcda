"""What compiled losses are compared with: the same losses in eager execution."""

import keras
import numpy as np
from keras import ops

from tests.backends import compiled, gradients


def assert_compiled_alike(function, x, tolerance=1e-5):
    """Compare values and gradients of `function(x)` under XLA with the eager ones.

    On TensorFlow the batch is of a size that is not known when the code is compiled.
    """
    close = {"rtol": tolerance, "atol": tolerance}
    expected = ops.convert_to_numpy(function(x))
    np.testing.assert_allclose(compiled(function)(x), expected, **close)
    (slope,) = gradients(function, x)
    if keras.backend.backend() == "jax":
        import jax

        values, actual = expected, jax.jit(jax.grad(lambda x: ops.sum(function(x))))(x)
    else:
        values, actual = _of_any_batch(function)(x)
    np.testing.assert_allclose(values, expected, **close)
    np.testing.assert_allclose(actual, slope, **close)


def _of_any_batch(function):
    import tensorflow as tf

    def both(x):
        values = function(x)
        return values, tf.gradients(tf.reduce_sum(values), x)[0]

    def run(x):
        spec = tf.TensorSpec((None, *x.shape[1:]), x.dtype)
        return tf.function(both, input_signature=[spec], jit_compile=True)(x)

    return run


def assert_finite(function, x):
    """Fail if a value of `function(x)` or an entry of its gradient is not finite."""
    assert np.isfinite(ops.convert_to_numpy(function(x))).all()
    (slope,) = gradients(function, x)
    assert np.isfinite(slope).all()
