"""Dense layer with learned noise on its weights, for exploration."""

import math

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Activation, Config, Shape, Tensor
from keras_ext.layers._options import resolve_activation

_SIGMA_INDEPENDENT = 0.017


@keras.saving.register_keras_serializable(package="keras_ext")
class NoisyDense(keras.layers.Layer):
    """Dense layer whose weights carry noise of learned strength during training.

    For agents that explore by acting with slightly different weights each time, instead
    of random actions: the network learns where to be certain. It replaces the last
    `Dense` layers of a value or policy network:

    `output = activation(inputs · (kernel + sigma_kernel * e) + bias + sigma_bias * f)`

    Independent noise has a normal random number for every weight. Factorized noise,
    which needs fewer of them, is the product of one for every input and one for every
    unit: `e[i, j] = s(p[i]) * s(q[j])` and `f[j] = s(q[j])`, with
    `s(x) = sign(x) sqrt|x|`. With `n` inputs, `kernel` and `bias` start uniform in
    ±1/sqrt(n) for factorized noise and in ±sqrt(3/n) for independent noise.

    Reference: M. Fortunato, M. G. Azar, B. Piot, J. Menick, I. Osband, A. Graves,
    V. Mnih, R. Munos, D. Hassabis, O. Pietquin, C. Blundell, S. Legg, "Noisy Networks
    for Exploration", 2018, https://arxiv.org/abs/1706.10295.

    Args:
        units: Positive integer. Number of units.
        sigma: Float of at least 0. Initial strength of the noise: `sigma / sqrt(n)` for
            factorized noise, `sigma` for independent noise. Default: `None`, which
            means the paper's 0.5 for factorized and 0.017 for independent noise.
        factorized: Whether the noise is factorized. Default: `True`.
        activation: Activation of the units. Default: `None`, linear.
        use_bias: Whether there is a bias. Default: `True`.
        seed: Integer. Seed of the layer's random numbers. Default: `None`, which draws
            one (reproducible with `keras.utils.set_random_seed`).
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor of any rank from 2.
        training: Boolean. Whether to add noise, for training or for an exploring agent.
            Default: `False`; inside a layer or model, it follows the caller.

    Input shape:
        `(batch, ..., channels)`. `channels` must be known.

    Output shape:
        `(batch, ..., units)`.

    Raises:
        ValueError: If an argument is out of range; on build, if the input is of rank 1
            or its number of channels is unknown.
        TypeError: If `activation` is a layer.

    Example:

    >>> import numpy as np
    >>> from keras_ext.layers import NoisyDense
    >>> layer = NoisyDense(3, seed=1)
    >>> x = np.ones((2, 4), "float32")
    >>> first, second = layer(x, training=True), layer(x, training=True)
    >>> bool(np.all(first[0] == first[1]))  # all samples of a call have the same noise
    True
    >>> bool(np.any(first == second))
    False
    >>> [weight.name for weight in layer.weights]
    ['kernel', 'sigma_kernel', 'bias', 'sigma_bias']

    Masks pass through. The random numbers are drawn in float32.
    """

    def __init__(
        self,
        units: int,
        *,
        sigma: float | None = None,
        factorized: bool = True,
        activation: Activation = None,
        use_bias: bool = True,
        seed: int | None = None,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.units = _checks.positive_int("units", units)
        self.sigma = _checks.optional(_checks.number, "sigma", sigma, low=0)
        self.factorized = _checks.one_of("factorized", factorized, (True, False))
        self.activation = resolve_activation("activation", activation)
        self.use_bias = _checks.one_of("use_bias", use_bias, (True, False))
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        """Create the means of the weights and the strengths of their noise."""
        if len(input_shape) < 2:
            raise ValueError(
                f"{self.name} expects an input of rank 2 or more, shaped "
                f"(batch, ..., channels). Received: shape={tuple(input_shape)}"
            )
        inputs = _checks.known_channels(self.name, input_shape, -1)
        self.input_spec = keras.InputSpec(min_ndim=2, axes={-1: inputs})
        self.kernel, self.sigma_kernel = self._noisy(
            "kernel", (inputs, self.units), inputs
        )
        self.bias = self.sigma_bias = None
        if self.use_bias:
            self.bias, self.sigma_bias = self._noisy("bias", (self.units,), inputs)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Return the units' outputs, with newly drawn noise if `training`."""
        kernel, bias = self.kernel, self.bias
        if training:
            kernel_noise, bias_noise = self._draw(inputs.shape[-1])
            kernel = kernel + self.sigma_kernel * kernel_noise
            if bias is not None:
                bias = bias + self.sigma_bias * bias_noise
        outputs = ops.matmul(inputs, kernel)
        return self.activation(outputs if bias is None else outputs + bias)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape with `units` channels."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "sigma": self.sigma,
            "factorized": self.factorized,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "seed": self.seed,
        }

    def _noisy(
        self, name: str, shape: tuple[int, ...], inputs: int
    ) -> tuple[keras.Variable, keras.Variable]:
        """Create a weight and its noise strength, initialized as in section 3.2."""
        if self.factorized:
            limit = 1 / math.sqrt(inputs)
            sigma = (0.5 if self.sigma is None else self.sigma) / math.sqrt(inputs)
        else:
            limit = math.sqrt(3 / inputs)
            sigma = _SIGMA_INDEPENDENT if self.sigma is None else self.sigma
        uniform = keras.initializers.RandomUniform(-limit, limit)
        constant = keras.initializers.Constant(sigma)
        return (
            self.add_weight(shape=shape, initializer=uniform, name=name),
            self.add_weight(shape=shape, initializer=constant, name=f"sigma_{name}"),
        )

    def _draw(self, inputs: int) -> tuple[Tensor, Tensor]:
        """Return the noise of the kernel and of the bias."""
        if not self.factorized:
            return self._normal((inputs, self.units)), self._normal((self.units,))
        of_inputs = _signed_root(self._normal((inputs, 1)))
        of_units = _signed_root(self._normal((self.units,)))
        return of_inputs * of_units, of_units

    def _normal(self, shape: tuple[int, ...]) -> Tensor:
        noise = keras.random.normal(shape, dtype="float32", seed=self.seed_generator)
        return ops.cast(noise, self.compute_dtype)


def _signed_root(x: Tensor) -> Tensor:
    return ops.sign(x) * ops.sqrt(ops.abs(x))
