"""The `squeeze_excite` argument of residual blocks: a layer that the user made."""

import weakref
from typing import Any

import keras

from keras_ext._types import Config, DataFormat, Shape

_CLAIMED: weakref.WeakSet[Any] = weakref.WeakSet()
"""The layers that a block has built; it keeps none of them alive."""


def resolve_squeeze_excite(layer: Any, data_format: DataFormat) -> Any:
    """Return the layer that `layer` is, or is the config of, or raise."""
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


def squeeze_excite_config(layer: Any) -> Config | None:
    """Return the config of the layer."""
    config = keras.saving.serialize_keras_object(layer)
    if config is not None:
        # Keras would build the layer from it, ahead of the block.
        config.pop("build_config", None)
    return config


def build_squeeze_excite(block: keras.Layer, shape: Shape) -> None:
    """Build the layer of `block` for an input of `shape`.

    Raises:
        ValueError: If another block has built it, or if it does not keep the shape.
    """
    layer = block.squeeze_excite
    if layer is None:
        return
    if layer in _CLAIMED:
        raise ValueError(
            f"{block.name} cannot use the `squeeze_excite` layer {layer.name!r}: "
            "another block has built it, and the two would share its weights. "
            "Give each block a layer of its own."
        )
    output = layer(keras.KerasTensor(shape, dtype=block.compute_dtype))
    if tuple(output.shape) != shape:
        raise ValueError(
            f"`squeeze_excite` must keep the shape of its input. Received: "
            f"{layer.name!r}, which makes {tuple(output.shape)} of {shape}"
        )
    if not block.trainable:
        layer.trainable = False
    _CLAIMED.add(layer)
