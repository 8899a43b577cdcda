"""Maxout: an activation that is the maximum of several linear maps."""

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._numerics import highest
from keras_ext._types import Config, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_ext")
class Maxout(keras.layers.Layer):
    """Keeps the largest channel of every group of neighbors.

    Place it after a layer without activation that has several times the wanted number
    of channels. A unit is then the maximum of several linear maps: a convex function
    whose shape is learned. The channels of `axis` are split into `units` groups of `k`
    neighbors each:

    `output[u] = max(inputs[u * k], ..., inputs[u * k + k - 1])`

    Reference: I. Goodfellow, D. Warde-Farley, M. Mirza, A. Courville, Y. Bengio,
    "Maxout Networks", 2013, https://arxiv.org/abs/1302.4389.

    Args:
        units: Positive integer. Number of groups, and of output channels.
        axis: Integer, not that of the batch. Axis of the channels. Default: -1.
        **kwargs: `name`, `dtype` of `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor of any rank from 2.

    Input shape:
        `(batch, ..., channels)`, or with the channels at `axis`. `channels` must be
        known, and a multiple of `units`.

    Output shape:
        Same as the input, with `units` channels.

    Raises:
        ValueError: If an argument is out of range; on build, if the input has no such
            axis or its number of channels is unknown or not a multiple of `units`.

    Example:

    >>> import numpy as np
    >>> from keras_ext.layers import Maxout
    >>> y = Maxout(2)(np.array([[1.0, 5.0, 2.0, 4.0, 0.0, 3.0]]))
    >>> [float(value) for value in y[0]]
    [5.0, 4.0]

    Masks pass through.
    """

    def __init__(self, units: int, *, axis: int = -1, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.units = _checks.positive_int("units", units)
        self.axis = _checks.integer("axis", axis)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        """Check that the channels can be split into groups."""
        rank = len(input_shape)
        if not -rank < self.axis < rank or self.axis == 0:
            raise ValueError(
                f"{self.name} expects the channels on axis {self.axis}, which must be "
                "an axis of the input other than the batch axis. Received: "
                f"shape={tuple(input_shape)}"
            )
        channels = _checks.known_channels(self.name, input_shape, self.axis)
        if channels % self.units:
            raise ValueError(
                f"{self.name} splits the channels into {self.units} groups of equal "
                f"size, so their number must be a multiple of {self.units}. "
                f"Received: {channels} channels, shape={tuple(input_shape)}"
            )
        self.input_spec = keras.InputSpec(ndim=rank, axes={self.axis: channels})

    def call(self, inputs: Tensor) -> Tensor:
        """Return the maximum of every group."""
        axis = self.axis % len(inputs.shape)
        groups = list(ops.shape(inputs))
        groups[axis : axis + 1] = [self.units, inputs.shape[axis] // self.units]
        return highest(ops.reshape(inputs, groups), axis=axis + 1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape with `units` channels."""
        output = list(input_shape)
        output[self.axis] = self.units
        return tuple(output)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {**super().get_config(), "units": self.units, "axis": self.axis}
