"""Weights for the layers under test: none that a mistake could hide behind."""

import numpy as np
from keras import ops


def randomize(layer, seed=0):
    """Give every weight of `layer` random values, the moving moments included.

    Fresh biases, offsets and moving means are 0 and fresh scales and variances 1,
    so that a layer which forgets one of them would still agree.
    """
    rng = np.random.default_rng(seed)
    for variable in layer.weights:
        if variable.name in ("gamma", "moving_variance"):
            value = rng.uniform(0.5, 1.5, variable.shape)
        elif variable.name in ("bias", "beta", "moving_mean"):
            value = rng.normal(0, 0.3, variable.shape)
        else:
            fan_in = np.prod(variable.shape[:-1])
            value = rng.normal(0, 1 / np.sqrt(fan_in), variable.shape)
        variable.assign(value.astype("float32"))


def arrays(layer):
    """Return the weights of a layer in double precision, or `None` for no layer."""
    return None if layer is None else [w.astype("float64") for w in layer.get_weights()]


def unit(layer):
    """Return (kernel, bias, batch norm) of a `ConvNormAct`, `None` what is absent."""
    kernel, *bias = arrays(layer.conv)
    return kernel, bias[0] if bias else None, arrays(layer.norm)


def images(*shape, seed=1):
    """Return normal random images in float32."""
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def moved(layer, x):
    """Return the names of the weights that a call in training mode changes."""
    before = layer.get_weights()
    layer(x, training=True)
    pairs = zip(layer.weights, before, strict=True)
    return [
        v.name for v, old in pairs if not np.array_equal(ops.convert_to_numpy(v), old)
    ]


def assert_close(actual, expected, tolerance=1e-5):
    """Compare with an absolute and a relative tolerance."""
    np.testing.assert_allclose(
        ops.convert_to_numpy(actual), expected, rtol=tolerance, atol=tolerance
    )
