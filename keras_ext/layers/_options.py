"""What the layers' constructors share: reading options that Keras leaves open."""

import keras

from keras_ext import _checks
from keras_ext._types import DataFormat, Initializer


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


def fresh_initializer(initializer: Initializer) -> Initializer:
    """Return a copy that draws other numbers, unless a seed was asked for.

    A Keras initializer instance gives the same numbers each time it is called with
    the same shape, so sublayers of one block must not share an instance.
    """
    clone = getattr(initializer, "clone", None)
    return initializer if clone is None else clone()
