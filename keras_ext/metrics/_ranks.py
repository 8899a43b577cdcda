"""What rank metrics share: their samples, and tied values."""

import keras
import numpy as np
from keras import ops

from keras_ext import _checks, _labels
from keras_ext._types import Tensor


def flat_pairs(
    owner: str, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None, dtype: str
) -> tuple[Tensor, Tensor]:
    """Return pairs `(samples, 2)` and weights `(samples,)` of all elements.

    Raises:
        ValueError: If the shapes do not match.
    """
    true, predicted = _without_last_one(y_true), _without_last_one(y_pred)
    if not _checks.shapes_agree(true.shape, predicted.shape):
        raise ValueError(
            f"{owner} expects `y_true` and `y_pred` of the same shape. Received: "
            f"y_true.shape={tuple(true.shape)}, y_pred.shape={tuple(predicted.shape)}"
        )
    weights = _labels.weights_like(owner, sample_weight, true, dtype, what="target")
    flat = [ops.reshape(ops.cast(x, dtype), (-1,)) for x in (true, predicted)]
    return ops.stack(flat, axis=-1), ops.reshape(weights, (-1,))


def stable_argsort(values: Tensor) -> Tensor:
    """Return the stable order of a vector of floats.

    XLA on TensorFlow keeps only the order of equal integers. The bits of floats, read
    as integers, are ordered like the floats, except for the sign.
    """
    dtype = keras.backend.standardize_dtype(values.dtype).replace("float", "int")
    bits = ops.view(ops.where(ops.equal(values, 0), 0.0, values), dtype)  # 0 for -0
    magnitude = np.iinfo(dtype).max
    return ops.argsort(ops.where(bits < 0, ops.bitwise_xor(bits, magnitude), bits))


def tie_groups(*keys: Tensor) -> Tensor:
    """Number the groups of equal keys in sorted rows `(rows, n)`.

    The groups of row `r` are numbered from `r * n`, in the order of the row.
    """
    rows, size = keys[0].shape
    is_new = keys[0][:, 1:] != keys[0][:, :-1]
    for key in keys[1:]:
        is_new = is_new | (key[:, 1:] != key[:, :-1])
    first = ops.expand_dims(ops.arange(rows, dtype="int32") * size, axis=-1)
    steps = ops.concatenate([first, ops.cast(is_new, "int32")], axis=-1)
    return ops.cumsum(steps, axis=-1)


def sums_of_groups(weights: Tensor, groups: Tensor) -> Tensor:
    """Return `(rows, n)`: the weight of each group, at the position of its number."""
    rows, size = groups.shape
    sums = ops.segment_sum(
        ops.reshape(weights, (-1,)),
        ops.reshape(groups, (-1,)),
        num_segments=rows * size,
    )
    return ops.reshape(sums, (rows, size))


def take_groups(values: Tensor, groups: Tensor) -> Tensor:
    """Return for each element the value of its group."""
    return ops.take(ops.reshape(values, (-1,)), groups)


def _without_last_one(values: Tensor) -> Tensor:
    values = ops.convert_to_tensor(values)
    if len(values.shape) > 1 and values.shape[-1] == 1:
        return ops.squeeze(values, axis=-1)
    return values
