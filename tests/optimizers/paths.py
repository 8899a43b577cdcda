"""The way of a variable under given gradients, to compare with a reference."""

import keras
import numpy as np
from keras import ops

TENSORFLOW = keras.backend.backend() == "tensorflow"
# JAX computes in float32.
DTYPE, TOLERANCE = ("float64", 1e-6) if TENSORFLOW else ("float32", 1e-5)

_rng = np.random.default_rng(4)
START = _rng.normal(size=(6, 3))
# Of different sizes, in different rows, and with a mean: as gradients are.
GRADIENTS = _rng.normal(0.3, [[3.0], [1.0], [0.1], [10.0], [1e-3], [1.0]], (30, 6, 3))
# A schedule, and the same as a function for the references.
SCHEDULE = keras.optimizers.schedules.InverseTimeDecay(0.1, 3, 0.5)


def scheduled(step):
    return 0.1 / (1 + 0.5 * step / 3)


def path(optimizer, gradients=GRADIENTS, dtype=DTYPE):
    """Return the values of a variable after each step, as float64."""
    variable = keras.Variable(START, dtype=dtype)
    values = []
    for gradient in gradients:
        if isinstance(gradient, np.ndarray):
            gradient = ops.cast(gradient, dtype)
        optimizer.apply([gradient], [variable])
        value = ops.convert_to_numpy(ops.cast(variable, "float32"))
        if dtype == "float64":
            value = variable.numpy()
        values.append(value.astype("float64"))
    return np.stack(values)


def assert_same(got, expected):
    np.testing.assert_allclose(got, expected, rtol=TOLERANCE, atol=TOLERANCE)


def slices(indices, values):
    """Return a `tf.IndexedSlices` of a gradient of `START`."""
    import tensorflow as tf

    values = tf.constant(values)
    return tf.IndexedSlices(values, tf.constant(indices), tf.constant(START.shape))
