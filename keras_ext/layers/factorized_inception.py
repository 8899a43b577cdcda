"""InceptionV3's modules: large filters factorized into chains of small ones."""

import string
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._images import (
    channel_axis,
    image_channels,
    image_shape_after,
    image_spec,
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
from keras_ext.layers.conv_norm_act import ConvNormAct


@keras.saving.register_keras_serializable(package="keras_ext")
class FactorizedInception(ConvBlock):
    """Concatenates chains of small convolutions and a pooling of the same image.

    A 5x5 filter becomes two 3x3 filters in a row, a 7x7 filter becomes 1x7 and 7x1,
    a 3x3 filter becomes 1x3 next to 3x1: the same receptive field with fewer
    multiplications. All modules of InceptionV3 consist of such chains, so that each can
    be written down as the paper draws it:

    `output = concat(chain_1(x), ..., chain_n(x), pooled(x))`

    With `strides=1` the module keeps the size of the image (figures 5, 6 and 7):
    `pooled` is the average of 3x3 pixels, projected by a 1x1 convolution. With
    `strides=2` it halves the size (figure 10): the last convolution of every chain
    and a 3x3 max pooling have strides of 2 and no padding.

    Reference: C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna, "Rethinking
    the Inception Architecture for Computer Vision", 2015,
    https://arxiv.org/abs/1512.00567.

    Args:
        branches: Sequence of branches. A branch is a sequence of steps, which follow
            each other. A step is a pair `(filters, kernel_size)` of a convolution,
            with a positive integer or a pair as `kernel_size`; or a list of such
            pairs, convolutions that run side by side and are concatenated.
        strides: 1 or 2. With 2, every branch ends in a 3x3 kernel. Default: 1.
        filters_pool: Positive integer, the channels onto which the pooled input is
            projected; or `None`, which leaves it unchanged. Default: `None`.
        activation: Activation of every convolution. Default: `"relu"`.
        normalization: `"batch"`, a Keras layer that every convolution gets a copy of,
            or `None`. Default: `"batch"`.
        data_format: `"channels_last"` or `"channels_first"`. Default: `None`, which
            means `keras.config.image_data_format()`.
        kernel_initializer: Initializer of the kernels. Default: `"glorot_uniform"`.
        kernel_regularizer: Regularizer of the kernels. Default: `None`.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor, a batch of images; with `strides=2`, of at least 3x3
            pixels.
        training: Boolean, for batch normalization. Default: `None`, which follows the
            calling layer or model.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)`
        with `data_format="channels_first"`. `channels` must be known.

    Output shape:
        `(batch, height, width, filters)`; with `strides=2`, `(batch, (height - 1) //
        2, (width - 1) // 2, filters)`. `filters` are those of the last steps of all
        branches, in order, and of the pooling.

    Raises:
        ValueError: If an argument is out of range; on build, if the input is not of
            rank 4 or its number of channels is unknown.

    Example:

    Figure 5, as InceptionV3 uses it at 35x35 pixels, and figure 7, at 8x8:

    >>> import numpy as np
    >>> from keras_ext.layers import FactorizedInception
    >>> module = FactorizedInception(
    ...     [[(64, 1)], [(48, 1), (64, 5)], [(64, 1), (96, 3), (96, 3)]],
    ...     filters_pool=32,
    ... )
    >>> tuple(module(np.ones((1, 35, 35, 192), "float32")).shape)
    (1, 35, 35, 256)
    >>> beside = [(384, (1, 3)), (384, (3, 1))]
    >>> module = FactorizedInception(
    ...     [[(320, 1)], [(384, 1), beside], [(448, 1), (384, 3), beside]],
    ...     filters_pool=192,
    ... )
    >>> tuple(module(np.ones((1, 8, 8, 1280), "float32")).shape)
    (1, 8, 8, 2048)

    Freeze the layer as a whole: `trainable` of its individual parts is not saved.

    Masks are not used. Under a mixed-precision policy every convolution computes in the
    compute dtype.
    """

    def __init__(
        self,
        branches: Sequence[Sequence[Any]],
        *,
        strides: int = 1,
        filters_pool: int | None = None,
        activation: Activation = "relu",
        normalization: Normalization = "batch",
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
        self.branches = _checked_branches(branches)
        self.strides = _checks.one_of("strides", strides, (1, 2))
        self.filters_pool = _checks.optional(
            _checks.positive_int, "filters_pool", filters_pool
        )
        for index, branch in enumerate(self.branches if strides == 2 else []):
            if any(size not in (3, (3, 3)) for (_, size), _ in _lettered(branch[-1])):
                raise ValueError(
                    "With strides=2 every branch must end in a kernel of 3x3 pixels, "
                    "so that all of them halve the image in the same way. Received: "
                    f"branches[{index}][-1]={branch[-1]!r}"
                )

    def build(self, input_shape: Shape) -> None:
        """Create the convolutions of all branches."""
        channels = image_channels(self.name, input_shape, self.data_format)
        self.input_spec = image_spec(channels, self.data_format)
        # One list: Keras 3.12 does not save layers in lists of lists.
        self.convs: list[ConvNormAct] = []
        for index, branch in enumerate(self.branches, start=1):
            self._build_branch(branch, input_shape, f"branch_{index}")
        self.project_pool = None
        if self.filters_pool is not None:
            self.project_pool = self._conv(self.filters_pool, name="project_pool")
            self.project_pool.build(self._pooled_shape(input_shape))

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Return the outputs of all branches, concatenated over the channels."""
        axis = channel_axis(self.data_format)
        convs = iter(self.convs)
        outputs = []
        for branch in self.branches:
            x = inputs
            for step in branch:
                parts = [next(convs)(x, training=training) for _ in _lettered(step)]
                x = parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=axis)
            outputs.append(x)
        pooled = self._pool(inputs)
        if self.project_pool is not None:
            pooled = self.project_pool(pooled, training=training)
        return ops.concatenate([*outputs, pooled], axis=axis)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the pooling, with the channels of all branches."""
        shape = list(self._pooled_shape(input_shape))
        axis = channel_axis(self.data_format)
        pooled = self.filters_pool or image_channels(
            self.name, input_shape, self.data_format
        )
        last = [conv for branch in self.branches for conv, _ in _lettered(branch[-1])]
        shape[axis] = pooled + sum(filters for filters, _ in last)
        return tuple(shape)

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "branches": self.branches,
            "strides": self.strides,
            "filters_pool": self.filters_pool,
        }

    def _pool(self, inputs: Tensor) -> Tensor:
        if self.strides == 2:
            return ops.max_pool(inputs, 3, strides=2, data_format=self.data_format)
        return ops.average_pool(
            inputs, 3, strides=1, padding="same", data_format=self.data_format
        )

    def _pooled_shape(self, shape: Shape) -> Shape:
        channels = image_channels(self.name, shape, self.data_format)
        valid = 1 if self.strides == 1 else 3
        return image_shape_after(
            shape, channels, self.strides, self.data_format, valid=valid
        )

    def _build_branch(self, branch: list[Any], shape: Shape, name: str) -> None:
        """Create the convolutions of a branch, step by step."""
        axis = channel_axis(self.data_format)
        for index, step in enumerate(branch, start=1):
            options: dict[str, Any] = {}
            if self.strides == 2 and index == len(branch):
                options = {"strides": 2, "padding": "valid"}
            convs = [
                self._conv(*conv, name=f"{name}_conv_{index}{letter}", **options)
                for conv, letter in _lettered(step)
            ]
            for conv in convs:
                conv.build(shape)
            self.convs += convs
            after = list(convs[0].compute_output_shape(shape))
            after[axis] = sum(conv.filters for conv in convs)
            shape = tuple(after)


def _lettered(step: Any) -> list[tuple[Any, str]]:
    """Return the convolutions of a step, with letters if there are several."""
    if isinstance(step, list):
        return list(zip(step, string.ascii_lowercase, strict=False))
    return [(step, "")]


def _checked_branches(branches: Any) -> list[list[Any]]:
    """Return lists of steps: a tuple for one convolution, a list for several."""
    is_sequence = isinstance(branches, (list, tuple))
    if not is_sequence or not branches or not all(map(_is_filled, branches)):
        raise ValueError(
            "`branches` must be a list of branches, each a list of steps such as "
            f"(64, 3) for 64 filters of 3x3 pixels. Received: branches={branches!r}"
        )
    return [
        [_checked_step(f"branches[{i}][{j}]", step) for j, step in enumerate(branch)]
        for i, branch in enumerate(branches)
    ]


def _is_filled(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0


def _checked_step(name: str, step: Any) -> Any:
    if _is_filled(step) and all(map(_is_filled, step)):
        return [_checked_step(f"{name}[{i}]", one) for i, one in enumerate(step)]
    if not _is_filled(step) or len(step) != 2:
        raise ValueError(
            f"`{name}` must be a pair (filters, kernel_size), or a list of such pairs "
            f"that run side by side. Received: {name}={step!r}"
        )
    filters, kernel_size = step
    return (
        _checks.positive_int(f"{name}[0]", filters),
        _checks.int_or_pair(f"{name}[1]", kernel_size),
    )
