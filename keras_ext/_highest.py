"""The maximum, of nothing too."""

from typing import Any

from keras import ops

from keras_ext._types import Tensor


def highest(x: Tensor, axis: Any, *, keepdims: bool = False) -> Tensor:
    """Return the maximum along `axis`; of an empty batch, an empty one.

    Without `initial`, Keras refuses an empty batch.
    """
    return ops.max(x, axis=axis, keepdims=keepdims, initial=-float("inf"))
