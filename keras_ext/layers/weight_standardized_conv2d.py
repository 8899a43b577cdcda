"""Convolution whose filters always have mean 0 and variance 1."""

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._numerics import scale
from keras_ext._types import Config, Tensor


@keras.saving.register_keras_serializable(package="keras_ext")
class WeightStandardizedConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` with a kernel that is standardized in every call.

    The mean of each filter is subtracted, and the filter divided by its standard
    deviation, before it is used; the gradient flows through both. Followed by group
    normalization, it reaches the accuracy of batch normalization where batches are too
    small for the latter:

    `w = (kernel - mean(kernel)) / sqrt(variance(kernel) + epsilon)`

    The moments are taken over height, width and input channels of the kernel,
    separately for every output channel.

    Reference: S. Qiao, H. Wang, C. Liu, W. Shen, A. Yuille, "Micro-Batch Training with
    Batch-Channel Normalization and Weight Standardization", 2019,
    https://arxiv.org/abs/1903.10520.

    Args:
        filters: Positive integer. Number of output channels.
        kernel_size: Positive integer, or a pair for height and width.
        strides: Positive integer, or a pair for height and width. Default: 1.
        padding: `"valid"` or `"same"`. Default: `"valid"`.
        epsilon: Positive float. Added to the variance. Default: 1e-5.
        **kwargs: The other arguments of `keras.layers.Conv2D`, such as `groups`,
            `dilation_rate`, `activation` and `use_bias`.

    Call arguments:
        inputs: Float tensor, a batch of images of any size.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)`
        with `data_format="channels_first"`. `channels` must be known.

    Output shape:
        That of `keras.layers.Conv2D` with the same arguments.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ext.layers import WeightStandardizedConv2D
    >>> layer = WeightStandardizedConv2D(16, 3, padding="same")
    >>> tuple(layer(np.ones((2, 8, 8, 3), "float32")).shape)
    (2, 8, 8, 16)

    `kernel` is what is trained, saved, regularized and constrained; it need not be
    standardized. Filters of a single weight have no variance and give 0.

    Masks are not used. Under a mixed-precision policy the moments are computed in
    float32, and the convolution in the compute dtype.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        strides: int | tuple[int, int] = 1,
        padding: str = "valid",
        *,
        epsilon: float = 1e-5,
        **kwargs: object,
    ) -> None:
        super().__init__(filters, kernel_size, strides, padding, **kwargs)
        self.epsilon = _checks.number("epsilon", epsilon, low=0, open_low=True)

    def convolution_op(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        """Return `inputs` convolved with the standardized `kernel`."""
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        weights = ops.cast(kernel, dtype)
        axes = (0, 1, 2)
        centered = weights - ops.mean(weights, axis=axes, keepdims=True)
        # Only large kernels: small values do not matter next to epsilon.
        size = ops.maximum(scale(centered, axes), 1.0)
        centered = centered / size
        variance = ops.mean(ops.square(centered), axis=axes, keepdims=True)
        standardized = centered * ops.rsqrt(variance + self.epsilon / size**2)
        return super().convolution_op(
            inputs, ops.cast(standardized, self.compute_dtype)
        )

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {**super().get_config(), "epsilon": self.epsilon}
