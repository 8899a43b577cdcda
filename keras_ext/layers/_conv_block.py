"""What the blocks built from `ConvNormAct` have in common."""

import weakref
from typing import Any

import keras

from keras_ext import _checks
from keras_ext._images import image_shape_after
from keras_ext._types import Config, DataFormat, Shape, Tensor
from keras_ext.layers._options import (
    ConvOptions,
    fresh_initializer,
    sublayer_options,
)
from keras_ext.layers.conv_norm_act import ConvNormAct
from keras_ext.layers.stochastic_depth import StochasticDepth

_CLAIMED: weakref.WeakSet[Any] = weakref.WeakSet()
"""The `squeeze_excite` layers that a block has built, held by weak references."""


class ConvBlock(ConvOptions):
    """A block that passes its options on to its convolutions."""

    def _conv(
        self,
        filters: int,
        kernel_size: int | tuple[int, int] = 1,
        **options: Any,
    ) -> ConvNormAct:
        """Return a convolution with the block's options, overridden by `options`."""
        shared = {
            "activation": self.activation,
            "normalization": self.normalization,
            "data_format": self.data_format,
            "kernel_initializer": fresh_initializer(self.kernel_initializer),
            "kernel_regularizer": self.kernel_regularizer,
            **sublayer_options(self),
        }
        return ConvNormAct(filters, kernel_size, **{**shared, **options})


class ExpandingBlock(ConvBlock):
    """A residual block that is wider inside than outside: an inverted residual.

    A subclass builds and calls its convolutions.
    """

    def __init__(
        self,
        filters: int,
        *,
        expansion: float,
        kernel_size: int,
        strides: int,
        squeeze_excite: keras.layers.Layer | None,
        drop_rate: float,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.filters = _checks.positive_int("filters", filters)
        self.expansion = _checks.number("expansion", expansion, low=1)
        self.kernel_size = _checks.positive_int("kernel_size", kernel_size)
        self.strides = _checks.positive_int("strides", strides)
        self.squeeze_excite = _resolve_squeeze_excite(squeeze_excite, self.data_format)
        self.drop_rate = _checks.number(
            "drop_rate", drop_rate, low=0, high=1, open_high=True
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of a strided convolution with `filters` channels."""
        return image_shape_after(
            input_shape, self.filters, self.strides, self.data_format
        )

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "expansion": self.expansion,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "squeeze_excite": _squeeze_excite_config(self.squeeze_excite),
            "drop_rate": self.drop_rate,
        }

    def _expanded(self, channels: int) -> int:
        """Return the number of channels inside the block, with halves rounded up."""
        return int(self.expansion * channels + 0.5)

    def _build_squeeze_excite(self, shape: Shape) -> None:
        """Build the user's layer for an input of `shape`.

        Raises:
            ValueError: If another block has built it, or if it changes the shape.
        """
        layer = self.squeeze_excite
        if layer is None:
            return
        if layer in _CLAIMED:
            raise ValueError(
                f"{self.name} cannot use the `squeeze_excite` layer {layer.name!r}: "
                "another block has built it, and the two would share its weights. "
                "Give each block its own layer."
            )
        output = layer(keras.KerasTensor(shape, dtype=self.compute_dtype))
        if tuple(output.shape) != shape:
            raise ValueError(
                "`squeeze_excite` must preserve the shape of its input. Received: "
                f"{layer.name!r}, which turns {shape} into {tuple(output.shape)}"
            )
        if not self.trainable:
            layer.trainable = False
        _CLAIMED.add(layer)

    def _build_shortcut(self, channels: int) -> None:
        """Decide whether the input is added, and create what drops the branch."""
        self.is_residual = self.strides == 1 and channels == self.filters
        self.drop = None
        if self.is_residual and self.drop_rate > 0:
            self.drop = StochasticDepth(
                self.drop_rate, name="drop", **sublayer_options(self)
            )

    def _squeezed(self, x: Tensor) -> Tensor:
        # Keras passes on `training`: not every layer has the argument.
        return x if self.squeeze_excite is None else self.squeeze_excite(x)

    def _with_shortcut(
        self, inputs: Tensor, x: Tensor, training: bool | None
    ) -> Tensor:
        """Return the end of the branch, plus `inputs` where the shapes agree."""
        if self.drop is not None:
            x = self.drop(x, training=training)
        return inputs + x if self.is_residual else x


def _resolve_squeeze_excite(layer: Any, data_format: DataFormat) -> Any:
    """Return `layer`, or the layer that it is the config of, or raise."""
    if isinstance(layer, dict):
        layer = keras.saving.deserialize_keras_object(layer)
    if layer is None:
        return None
    if not isinstance(layer, keras.layers.Layer):
        raise TypeError(
            "`squeeze_excite` must be a Keras layer, such as "
            f"keras_ext.layers.SqueezeExcite(), or None. Received: {layer!r}"
        )
    if getattr(layer, "data_format", data_format) != data_format:
        raise ValueError(
            f"`squeeze_excite` must have the block's data format {data_format!r}. "
            f"Received: {layer.name!r} with data_format={layer.data_format!r}"
        )
    return layer


def _squeeze_excite_config(layer: Any) -> Config | None:
    """Return the config of the layer."""
    config = keras.saving.serialize_keras_object(layer)
    if config is not None:
        # Keras would build the layer from it, ahead of the block.
        config.pop("build_config", None)
    return config
