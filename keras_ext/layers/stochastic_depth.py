"""Stochastic depth: whole residual branches dropped, sample by sample."""

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Config, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_ext")
class StochasticDepth(keras.layers.Layer):
    """Drops a residual branch at random, independently for each sample of the batch.

    Place it at the end of a residual branch, before the addition. In training, a sample
    keeps the branch with probability `1 - rate`, or goes through the shortcut alone:
    each sample sees a different, shallower network. At inference every branch is kept.

    `output = inputs * keep / (1 - rate)`, with `keep ~ Bernoulli(1 - rate)`

    The paper scales by `1 - rate` at inference instead, which has the same
    expectation. It lets the rate grow linearly over the depth: block `l` of `L` has
    rate `l / L * last_rate`.

    Reference: G. Huang, Y. Sun, Z. Liu, D. Sedra, K. Weinberger, "Deep Networks with
    Stochastic Depth", 2016, https://arxiv.org/abs/1603.09382.

    Args:
        rate: Float in [0, 1). Probability that a sample loses the branch.
        seed: Integer. Seed of the layer's random numbers. Default: `None`, which draws
            one (reproducible with `keras.utils.set_random_seed`).
        **kwargs: `name`, `dtype` of `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor of any rank from 1, the output of a residual branch. Its
            first axis numbers the samples.
        training: Boolean. Whether to drop. Default: `False`; inside a layer or model,
            it follows the caller.

    Input shape:
        `(batch, ...)`.

    Output shape:
        Same as the input.

    Raises:
        ValueError: If `rate` is out of its range or `seed` is not an integer.

    Example:

    >>> import numpy as np
    >>> from keras_ext.layers import StochasticDepth
    >>> layer = StochasticDepth(0.5, seed=1)
    >>> branch = np.ones((100, 2), "float32")
    >>> sorted({tuple(map(float, row)) for row in layer(branch, training=True)})
    [(0.0, 0.0), (2.0, 2.0)]
    >>> float(np.min(layer(branch, training=False)))
    1.0

    Masks pass through. Under a mixed-precision policy the draw is made in float32, so
    that small rates are not rounded. A dropped sample is 0 even where the branch is not
    finite, and its gradient into the branch is 0.
    """

    def __init__(
        self, rate: float, *, seed: int | None = None, **kwargs: object
    ) -> None:
        super().__init__(**kwargs)
        self.rate = _checks.number("rate", rate, low=0, high=1, open_high=True)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Return `inputs` with some samples set to 0 and the others scaled up."""
        if not training or self.rate == 0:
            return inputs
        per_sample = (ops.shape(inputs)[0],) + (1,) * (len(inputs.shape) - 1)
        draw = keras.random.uniform(
            per_sample, dtype="float32", seed=self.seed_generator
        )
        return ops.where(draw >= self.rate, inputs / (1 - self.rate), 0)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        return input_shape

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
