"""What the layers' constructors share: reading options that Keras leaves open."""

import re
from typing import Any

import keras

from keras_ext import _checks
from keras_ext._types import (
    Activation,
    Config,
    DataFormat,
    Initializer,
    Normalization,
    Shape,
)


def resolve_normalization(normalization: Any, data_format: DataFormat) -> Normalization:
    """Return the `normalization` that is meant, a layer if it is the config of one.

    Raises:
        ValueError: If there is none of that name, or the layer normalises another
            axis than that of the channels.
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
            f"`normalization` must be a layer for the channels, axis {channels} with "
            f"data_format={data_format!r}. Received: {normalization.name!r} with "
            f"axis={normalization.axis}. Make it with axis={channels}."
        )
    if getattr(normalization, "data_format", data_format) != data_format:
        raise ValueError(
            f"`normalization` must have the data format {data_format!r}. Received: "
            f"{normalization.name!r} with data_format={normalization.data_format!r}"
        )
    # A copy without weights: those of a layer that is built would be saved as ours.
    return type(normalization).from_config(normalization.get_config())


def resolve_activation(name: str, activation: Activation) -> Activation:
    """Return the function that `activation` names, or is.

    Raises:
        TypeError: If it is a layer, whose weights the parts of a block would share.
    """
    if isinstance(activation, keras.layers.Layer):
        raise TypeError(
            f"`{name}` must be the name of an activation or a function. "
            f"Received: the layer {activation.name!r}. Put a layer behind the block, "
            "or pass its function, such as `keras.activations.relu`."
        )
    return keras.activations.get(activation)


def resolve_data_format(data_format: DataFormat | None) -> DataFormat:
    """Return `data_format`, or Keras's global setting for `None`."""
    if data_format is None:
        return keras.config.image_data_format()
    return _checks.one_of(
        "data_format", data_format, ("channels_last", "channels_first")
    )


def channel_axis(data_format: DataFormat) -> int:
    """Return the axis that holds the channels of a batch of images."""
    return 1 if data_format == "channels_first" else -1


def spatial_axes(data_format: DataFormat) -> tuple[int, int]:
    """Return the axes that hold the height and the width of a batch of images."""
    return (2, 3) if data_format == "channels_first" else (1, 2)


def check_images(layer: str, shape: Shape, data_format: DataFormat) -> None:
    """Raise if `shape` is not that of a batch of images."""
    axes = {
        "channels_first": "(batch, channels, height, width)",
        "channels_last": "(batch, height, width, channels)",
    }
    _checks.rank(layer, shape, 4, axes[data_format])


def image_channels(layer: str, shape: Shape, data_format: DataFormat) -> int:
    """Return the number of channels, or raise if `shape` is not that of images."""
    check_images(layer, shape, data_format)
    return _checks.known_channels(layer, shape, channel_axis(data_format))


def image_spec(channels: int, data_format: DataFormat) -> keras.InputSpec:
    """Return the `input_spec` of a layer that was built for `channels` channels."""
    return keras.InputSpec(ndim=4, axes={channel_axis(data_format): channels})


def pair(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return the values for height and width that `size` stands for."""
    return (size, size) if isinstance(size, int) else size


def image_shape_after(
    shape: Shape,
    filters: int | None,
    strides: int | tuple[int, int],
    data_format: DataFormat,
    *,
    valid: int | tuple[int, int] = 1,
) -> Shape:
    """Return the output shape of a convolution.

    Args:
        shape: Of the input.
        filters: Number of output channels.
        strides: Of the convolution.
        data_format: Where the channels are.
        valid: The pixels that its kernel spans with `"valid"` padding; 1 is the same
            as `"same"` padding with any kernel.
    """
    output = list(shape)
    axes = spatial_axes(data_format)
    for axis, stride, span in zip(axes, pair(strides), pair(valid), strict=True):
        size = output[axis]
        output[axis] = None if size is None else -(-(size - span + 1) // stride)
    output[channel_axis(data_format)] = filters
    return tuple(output)


def sublayer_options(layer: keras.Layer, name: str = "") -> dict[str, Any]:
    """Return what a block hands down to the layers that it creates in `build`.

    Keras hands `trainable` down when it is set, to the layers that exist by then.
    A block that is made, or loaded, frozen has none yet.

    Args:
        layer: The block.
        name: That of the part, if it can be quantized: see `dtype_config`.
    """
    policy = layer.dtype_policy
    if name and isinstance(policy, keras.dtype_policies.DTypePolicyMap):
        policy = policy[f"{layer.path}/{name}"]
    return {"dtype": policy, "trainable": layer.trainable}


def dtype_config(layer: keras.Layer) -> Config:
    """Return `dtype` for the config of a layer, with that of its quantized parts.

    `quantize` changes the policies of the layers inside, which a loaded layer creates
    again from its own.
    """
    policies = keras.dtype_policies
    policy = layer.dtype_policy
    for part in vars(layer).values():
        if not isinstance(part, keras.layers.Layer) or part.quantization_mode is None:
            continue
        if not isinstance(policy, policies.DTypePolicyMap):
            policy = policies.DTypePolicyMap(policy)
        if policy[part.path] != part.dtype_policy:
            # Wherever the layer will be, its parts are found by its name and theirs.
            path = re.escape(f"{layer.name}/{part.name}")
            policy[f"(.*/)?{path}"] = part.dtype_policy
    return policies.serialize(policy)


def built_norm(block: keras.Layer, shape: Shape, name: str) -> keras.Layer | None:
    """Return the normalisation that `block.normalization` asks for, or `None`."""
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
            f"`normalization` must keep the shape of its input. Received: "
            f"{asked.name!r}, which makes {norm.compute_output_shape(shape)} of "
            f"{tuple(shape)}"
        )
    return norm


def fresh_initializer(initializer: Initializer) -> Initializer:
    """Return a copy that draws other numbers, unless a seed was asked for.

    A Keras initializer instance gives the same numbers each time it is called with
    the same shape, so sublayers of one block must not share an instance.
    """
    clone = getattr(initializer, "clone", None)
    return initializer if clone is None else clone()
