"""The inputs and outputs of the models, and the widths of their layers."""

from typing import Any, Literal

import keras

from keras_ext import _checks
from keras_ext._images import channel_axis
from keras_ext._types import Activation, Shape, Tensor

Pooling = Literal["avg", "max"] | None
"""What a model without a classifier does with its last feature maps."""


def image_input(
    input_shape: Shape | None, *, size: int, include_top: bool, smallest: int
) -> Tensor:
    """Return the symbolic input images of a model.

    Args:
        input_shape: Shape of one image; `None` for one of `size` x `size` pixels with
            three channels, or of any size if the model has no classifier.
        size: Height and width of the paper's images.
        include_top: Whether the model has a classifier.
        smallest: The smallest side in pixels that leaves a nonempty output.

    Raises:
        ValueError: If it is not the shape of an image, or the image is too small.
    """
    first = channel_axis() == 1
    if input_shape is None:
        side = size if include_top else None
        input_shape = (3, side, side) if first else (side, side, 3)
    order = "(channels, height, width)" if first else "(height, width, channels)"
    if not isinstance(input_shape, (list, tuple)) or len(input_shape) != 3:
        raise ValueError(
            f"`input_shape` must be {order} of one image, or None. Received: "
            f"input_shape={input_shape!r}"
        )
    names = order.strip("()").split(", ")
    for name, given in zip(names, input_shape, strict=True):
        if given is not None or name == "channels":
            _checks.positive_int(f"{name} of input_shape", given)
        if name != "channels" and given is not None and given < smallest:
            raise ValueError(
                f"`input_shape` must be {order} with sides of at least {smallest} "
                f"pixels. Received: input_shape={input_shape!r}"
            )
    return keras.Input(tuple(input_shape))


def check_ending(
    *, include_top: bool, pooling: Pooling, classes: int, **rates: float
) -> None:
    """Raise `ValueError` if the arguments for a model's outputs are inconsistent.

    Args:
        include_top: Whether the model has a classifier.
        pooling: Pooling of the outputs if it has none.
        classes: Number of classes.
        **rates: Dropout rates.
    """
    _checks.one_of("pooling", pooling, (None, "avg", "max"))
    _checks.positive_int("classes", classes)
    for name, rate in rates.items():
        _checks.number(name, rate, low=0, high=1, open_high=True)
    if include_top and pooling is not None:
        raise ValueError(
            "`pooling` is for a model without a classifier. Received: "
            f"pooling={pooling!r}, include_top=True. Pass include_top=False, or leave "
            "`pooling` out."
        )


def check_weights(weights: Any) -> None:
    """Raise `ValueError` if trained weights are requested, which no model includes."""
    if weights is not None:
        raise ValueError(
            "The models of keras_ext include no trained weights. Expected: "
            "weights=None, or leave it out; then transfer those of "
            "`keras.applications` with `keras_ext.models.load_applications_weights`, "
            f"or `load_weights` from a file. Received: weights={weights!r}"
        )


def pooled(x: Tensor, pooling: Pooling) -> Tensor:
    """Return the outputs of a model without a classifier."""
    if pooling == "avg":
        return keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    if pooling == "max":
        return keras.layers.GlobalMaxPooling2D(name="max_pool")(x)
    return x


def classified(
    x: Tensor,
    classes: int,
    activation: Activation,
    *,
    dropout_rate: float = 0.0,
    **options: Any,
) -> Tensor:
    """Return the scores of the classes: global average, dropout and dense layer."""
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    if dropout_rate > 0:
        x = keras.layers.Dropout(dropout_rate, name="dropout")(x)
    return keras.layers.Dense(
        classes, activation=activation, name="predictions", **options
    )(x)


def rounded(filters: float, divisor: int = 8) -> int:
    """Return the nearest multiple of `divisor`, at most a tenth below `value`."""
    nearest = max(divisor, int(filters + divisor / 2) // divisor * divisor)
    return nearest if nearest >= 0.9 * filters else nearest + divisor
