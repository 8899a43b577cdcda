"""A step of training that runs on every backend."""

import keras
import numpy as np


def weights_after_a_step(layer, x, rate=0.1, **options):
    """Return the weights of `layer` after a step of SGD towards ones, by name.

    `front` is the kernel of a dense map in front, which moves with the gradient of the
    input.
    """
    front = keras.layers.Dense(
        x.shape[-1], kernel_initializer="identity", use_bias=False
    )
    model = keras.Sequential([keras.Input(x.shape[1:]), front, layer])
    model.compile(keras.optimizers.SGD(rate), loss="mse", **options)
    ones = np.ones(model.compute_output_shape(x.shape), "float32")
    model.fit(x, ones, batch_size=len(x), verbose=0)
    named = zip(layer.weights, layer.get_weights(), strict=True)
    return {
        "front": front.get_weights()[0],
        **{variable.name: value for variable, value in named},
    }
