"""Options of layers: how they are read, stored and passed on to inner layers."""

import re
from typing import Any

import keras

from keras_ext._images import channel_axis, resolve_data_format
from keras_ext._types import (
    Activation,
    Config,
    DataFormat,
    Initializer,
    Normalization,
    Regularizer,
    Shape,
)


class ConvOptions(keras.layers.Layer):
    """Holds normalization, activation, data format and kernel options."""

    def __init__(
        self,
        *,
        activation: Activation,
        normalization: Normalization,
        data_format: DataFormat | None,
        kernel_initializer: Initializer,
        kernel_regularizer: Regularizer,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.activation = resolve_activation("activation", activation)
        self.data_format = resolve_data_format(data_format)
        self._pattern = _Pattern(resolve_normalization(normalization, self.data_format))
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    @property
    def normalization(self) -> Normalization:
        """`"batch"`, the layer of which every convolution gets a copy, or `None`."""
        return self._pattern.normalization

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "activation": keras.activations.serialize(self.activation),
            "normalization": self._pattern.config(),
            "data_format": self.data_format,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }


class _Pattern:
    """Holds a `normalization` where Keras does not track it as a sublayer.

    Keras would freeze it, count its weights and refuse to quantize it.
    """

    def __init__(self, normalization: Normalization) -> None:
        self.normalization = normalization

    def config(self) -> str | Config | None:
        if not isinstance(self.normalization, keras.layers.Layer):
            return self.normalization
        return keras.saving.serialize_keras_object(self.normalization)


def resolve_normalization(normalization: Any, data_format: DataFormat) -> Normalization:
    """Return `normalization`, as a layer if it is the config of one.

    Raises:
        ValueError: If the name is unknown, or the layer normalizes an axis other than
            that of the channels.
    """
    if isinstance(normalization, dict):
        normalization = keras.saving.deserialize_keras_object(normalization)
    if not isinstance(normalization, keras.layers.Layer):
        if normalization is None or normalization == "batch":
            return normalization
        error = ValueError if isinstance(normalization, str) else TypeError
        raise error(
            "`normalization` must be one of 'batch', None or a Keras layer, of which "
            f"every convolution gets a copy. Received: normalization={normalization!r}"
        )
    channels = channel_axis(data_format)
    axes = getattr(normalization, "axis", channels)
    axes = [axes] if isinstance(axes, int) else axes
    if isinstance(axes, (list, tuple)) and [axis % 4 for axis in axes] != [
        channels % 4
    ]:
        raise ValueError(
            f"`normalization` must normalize the channels, axis {channels} with "
            f"data_format={data_format!r}. Received: {normalization.name!r} with "
            f"axis={normalization.axis}. Create it with axis={channels}."
        )
    if getattr(normalization, "data_format", data_format) != data_format:
        raise ValueError(
            f"`normalization` must have the data format {data_format!r}. Received: "
            f"{normalization.name!r} with data_format={normalization.data_format!r}"
        )
    # A copy without weights: those of a built layer would be saved with this one.
    return type(normalization).from_config(normalization.get_config())


def resolve_activation(name: str, activation: Activation) -> Activation:
    """Return `activation`, or the function that it names.

    Raises:
        TypeError: If it is a layer, whose weights the parts of a block would share.
    """
    if isinstance(activation, keras.layers.Layer):
        raise TypeError(
            f"`{name}` must be the name of an activation or a function. "
            f"Received: the layer {activation.name!r}. Place the layer after the "
            "block, or pass its function, such as `keras.activations.relu`."
        )
    return keras.activations.get(activation)


def sublayer_options(layer: keras.Layer, name: str = "") -> dict[str, Any]:
    """Return what a block passes on to the layers that it creates in `build`.

    Keras passes `trainable` on when it is set, to the layers that exist by then. A
    block that is created, or loaded, frozen has none yet.

    Args:
        layer: The block.
        name: Name of the part, if it can be quantized: see `dtype_config`.
    """
    policy = layer.dtype_policy
    if name and isinstance(policy, keras.dtype_policies.DTypePolicyMap):
        policy = policy[f"{layer.path}/{name}"]
    return {"dtype": policy, "trainable": layer.trainable}


def dtype_config(layer: keras.Layer) -> Config:
    """Return `dtype` for the config of a layer, with those of its quantized parts.

    `quantize` changes the policies of the inner layers, which a loaded layer creates
    again from its own policy.
    """
    policies = keras.dtype_policies
    policy = layer.dtype_policy
    for part in vars(layer).values():
        if not isinstance(part, keras.layers.Layer) or part.quantization_mode is None:
            continue
        if not isinstance(policy, policies.DTypePolicyMap):
            policy = policies.DTypePolicyMap(policy)
        if policy[part.path] != part.dtype_policy:
            # Wherever the layer is used, its parts are found by its name and theirs.
            path = re.escape(f"{layer.name}/{part.name}")
            policy[f"(.*/)?{path}"] = part.dtype_policy
    return policies.serialize(policy)


def built_norm(block: keras.Layer, shape: Shape, name: str) -> keras.Layer | None:
    """Return the normalization that `block.normalization` specifies, or `None`."""
    asked = block.normalization
    if asked is None:
        return None
    if asked == "batch":
        asked = keras.layers.BatchNormalization(axis=channel_axis(block.data_format))
    options = sublayer_options(block)
    options["trainable"] = block.trainable and asked.trainable
    norm = type(asked).from_config({**asked.get_config(), "name": name, **options})
    norm.build(shape)
    if tuple(norm.compute_output_shape(shape)) != tuple(shape):
        raise ValueError(
            "`normalization` must preserve the shape of its input. Received: "
            f"{asked.name!r}, which turns {tuple(shape)} into "
            f"{norm.compute_output_shape(shape)}"
        )
    return norm


def fresh_initializer(initializer: Initializer) -> Initializer:
    """Return a copy that draws other numbers, unless it was given a seed.

    A Keras initializer instance returns the same numbers each time it is called with
    the same shape, so the sublayers of a block must not share an instance.
    """
    clone = getattr(initializer, "clone", None)
    return initializer if clone is None else clone()
