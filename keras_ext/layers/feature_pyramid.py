"""Feature pyramids: strong features at every scale."""

import itertools
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._images import (
    image_channels,
    image_shape_after,
    image_spec,
    spatial_axes,
)
from keras_ext._types import (
    Activation,
    Config,
    DataFormat,
    Initializer,
    Normalization,
    Regularizer,
    Shape,
    Tensor,
)
from keras_ext.layers._conv_block import ConvBlock


@keras.saving.register_keras_serializable(package="keras_ext")
class FeaturePyramid(ConvBlock):
    """Adds the information of coarse feature maps to the finer ones.

    For detection and segmentation at many scales. The coarse maps of a classification
    network show what is in an image, the fine maps where it is; here each fine map is
    added to the result of the next coarser one:

    `merged[i] = lateral[i](x[i]) + upsample(merged[i + 1])`

    `output[i] = smooth[i](merged[i])`

    The coarsest map has nothing to add. `lateral` are 1x1 and `smooth` 3x3
    convolutions; pixels are repeated to upsample.

    Reference: T. Lin, P. Dollar, R. Girshick, K. He, B. Hariharan, S. Belongie,
    "Feature Pyramid Networks for Object Detection", 2016,
    https://arxiv.org/abs/1612.03144.

    Args:
        filters: Positive integer. Channels of every output. Default: 256.
        activation: Activation of every convolution. Default: `None`, as in the paper.
        normalization: `"batch"`, a Keras layer that every convolution gets a copy of,
            or `None`. Default: `None`, as in the paper.
        data_format: `"channels_last"` or `"channels_first"`. Default: `None`, which
            means `keras.config.image_data_format()`.
        kernel_initializer: Initializer of the kernels. Default: `"glorot_uniform"`.
        kernel_regularizer: Regularizer of the kernels. Default: `None`.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        inputs: List of float tensors, feature maps from fine to coarse. Each map is
            half as high and as wide as the one before, rounded up; sizes known only at
            run time are not checked.
        training: Boolean, for the normalization. Default: `None`, which follows the
            calling layer or model.

    Input shape:
        A list of `(batch, height, width, channels)`, or `(batch, channels, height,
        width)` with `data_format="channels_first"`. Every `channels` must be known;
        they may differ.

    Output shape:
        A list of the inputs' shapes, with `filters` channels.

    Raises:
        ValueError: If an argument is out of range; on build, if the input is not a list
            of images with a known number of channels, each half as large as the one
            before.

    Example:

    >>> import numpy as np
    >>> from keras_ext.layers import FeaturePyramid
    >>> sizes = [(32, 64), (16, 128), (8, 256)]
    >>> maps = [np.ones((1, n, n, channels), "float32") for n, channels in sizes]
    >>> [tuple(level.shape) for level in FeaturePyramid(48)(maps)]
    [(1, 32, 32, 48), (1, 16, 16, 48), (1, 8, 8, 48)]

    For further, coarser levels, apply strided poolings or convolutions to the last
    output. Freeze the layer as a whole: `trainable` of its individual parts is not
    saved.

    Masks are not used. Under a mixed-precision policy every convolution computes in the
    compute dtype.
    """

    def __init__(
        self,
        filters: int = 256,
        *,
        activation: Activation = None,
        normalization: Normalization = None,
        data_format: DataFormat | None = None,
        kernel_initializer: Initializer = "glorot_uniform",
        kernel_regularizer: Regularizer = None,
        **kwargs: object,
    ) -> None:
        super().__init__(
            activation=activation,
            normalization=normalization,
            data_format=data_format,
            kernel_initializer=kernel_initializer,
            kernel_regularizer=kernel_regularizer,
            **kwargs,
        )
        self.filters = _checks.positive_int("filters", filters)

    def build(self, input_shape: Sequence[Shape]) -> None:
        """Create two convolutions for every level."""
        shapes = self._checked_shapes(input_shape)
        self.input_spec = [
            image_spec(
                image_channels(self.name, shape, self.data_format), self.data_format
            )
            for shape in shapes
        ]
        self.lateral = [
            self._conv(self.filters, name=f"lateral_{i}") for i in range(len(shapes))
        ]
        self.smooth = [
            self._conv(self.filters, 3, name=f"smooth_{i}") for i in range(len(shapes))
        ]
        outputs = self.compute_output_shape(shapes)
        for lateral, smooth, shape, output in zip(
            self.lateral, self.smooth, shapes, outputs, strict=True
        ):
            lateral.build(shape)
            smooth.build(output)

    def call(self, inputs: list[Tensor], training: bool | None = None) -> list[Tensor]:
        """Return the levels of the pyramid, from fine to coarse."""
        merged: Any = None
        levels = []
        for x, lateral, smooth in reversed(
            list(zip(inputs, self.lateral, self.smooth, strict=True))
        ):
            level = lateral(x, training=training)
            merged = level if merged is None else level + self._upsample(merged, level)
            levels.append(smooth(merged, training=training))
        return levels[::-1]

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> list[Shape]:
        """Return the shapes of the inputs with `filters` channels."""
        return [
            image_shape_after(tuple(shape), self.filters, 1, self.data_format)
            for shape in input_shape
        ]

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {**super().get_config(), "filters": self.filters}

    def _upsample(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Return `coarse` with each pixel repeated, cut to the size of `fine`."""
        height, width = spatial_axes(self.data_format)
        doubled = ops.repeat(ops.repeat(coarse, 2, axis=height), 2, axis=width)
        shape = ops.shape(fine)
        if None not in fine.shape[1:] and doubled.shape == fine.shape:
            return doubled
        if height == 1:
            return doubled[:, : shape[1], : shape[2]]
        return doubled[:, :, : shape[2], : shape[3]]

    def _checked_shapes(self, shapes: Any) -> list[Shape]:
        is_list = isinstance(shapes, (list, tuple)) and len(shapes) > 0
        if not is_list or not all(isinstance(one, (list, tuple)) for one in shapes):
            raise ValueError(
                f"{self.name} expects a list of feature maps, from fine to coarse. "
                f"Received: an input of shape {shapes}"
            )
        for shape in shapes:
            image_channels(self.name, shape, self.data_format)
        for fine, coarse in itertools.pairwise(shapes):
            half = image_shape_after(fine, 1, 2, self.data_format)
            sizes = [
                [shape[axis] for axis in spatial_axes(self.data_format)]
                for shape in (half, coarse)
            ]
            if not _checks.shapes_agree(*sizes):
                raise ValueError(
                    f"{self.name} expects every feature map to be half as large as the "
                    f"one before, rounded up. Received: {tuple(coarse)} after "
                    f"{tuple(fine)}"
                )
        return [tuple(shape) for shape in shapes]
