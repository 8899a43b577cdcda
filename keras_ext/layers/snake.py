"""Snake: an activation for what repeats, whose frequency is learned."""

import keras
from keras import ops

from keras_ext._numerics import at_least_float32
from keras_ext._types import Config, Initializer, Shape, Tensor

# Below it, the first term of the series in `frequency` is exact.
_LOW = 1e-6


@keras.saving.register_keras_serializable(package="keras_ext")
class Snake(keras.layers.Layer):
    """Adds a wave to its input, for functions that repeat.

    Networks with ReLU or tanh become linear or constant outside the range of the
    training data. With this activation, they can learn a wave and continue it: time
    series with seasons, sound. The frequency `a` is one number, learned:

    `output = x + sin(a * x)^2 / a`

    Reference: L. Ziyin, T. Hartwig, M. Ueda, "Neural Networks Fail to Learn Periodic
    Functions and How to Fix It", 2020, https://arxiv.org/abs/2006.08195.

    Args:
        frequency_initializer: Initializer of the frequency. The paper recommends 0.2 to
            1 for most tasks, and 5 to 50 where the data are known to repeat. Default:
            `"ones"`.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor.

    Input shape:
        `(batch, ...)`, of any size along any axis.

    Output shape:
        Same as the input.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_ext.layers import Snake
    >>> layer = Snake(frequency_initializer=keras.initializers.Constant(np.pi / 2))
    >>> [float(value) for value in np.ravel(layer(np.array([[0.0, 1.0, 2.0]])))]
    [0.0, 1.637, 2.0]

    Masks pass through. Half-precision inputs are computed in float32. A frequency of 0
    gives `x`, with the slope `x^2` for the frequency.
    """

    def __init__(
        self, *, frequency_initializer: Initializer = "ones", **kwargs: object
    ) -> None:
        super().__init__(**kwargs)
        self.frequency_initializer = keras.initializers.get(frequency_initializer)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        """Create the frequency."""
        self.frequency = self.add_weight(
            name="frequency", shape=(), initializer=self.frequency_initializer
        )

    def call(self, inputs: Tensor) -> Tensor:
        """Return `inputs` with the wave."""
        return snake(inputs, self.frequency)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        return input_shape

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "frequency_initializer": keras.initializers.serialize(
                self.frequency_initializer
            ),
        }


def snake(x: Tensor, frequency: Tensor | float = 1.0) -> Tensor:
    """Return `x` with a wave added to it.

    The function form of `Snake`, which documents the formula and reference. It can be
    the `activation` of a layer.

    Args:
        x: Tensor of any shape.
        frequency: Float, or tensor that broadcasts to `x`. Default: 1.

    Returns:
        Tensor of `x`'s shape, and of its dtype if that is a float, else float32.

    Example:

    >>> from keras_ext.layers import snake
    >>> float(snake(2.0, frequency=0.5))
    3.416
    """
    x = ops.convert_to_tensor(x)
    precise = at_least_float32(x)
    a = ops.cast(frequency, precise.dtype)
    low = ops.absolute(a) < _LOW
    # Each of the two where it is accurate; the other need only stay finite there.
    near, far = ops.where(low, a, 0.0), ops.where(low, 1.0, a)
    wave = ops.square(ops.sin(far * precise)) / far
    output = precise + ops.where(low, near * ops.square(precise), wave)
    dtype = keras.backend.standardize_dtype(x.dtype)
    return ops.cast(output, dtype) if "float" in dtype else output
