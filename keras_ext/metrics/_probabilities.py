"""Predictions that should be probabilities: which of them are none."""

import math

from keras import ops

from keras_ext import _checks
from keras_ext._types import Tensor

_TOLERANCE = 0.01
"""How far probabilities may be off, as those of a softmax in bfloat16 are."""

_KINDS = {"y_pred": "prediction", "y_true": "target"}
_HINTS = {
    "y_pred": "If the model returns logits, apply `keras.ops.softmax` to them, or "
    "`keras.ops.sigmoid` to a single output.",
    "y_true": "If these are class labels, pass `sparse_y_true=True`.",
}


def are_probabilities(
    owner: str, values: Tensor, absent: Tensor, name: str = "y_pred"
) -> Tensor:
    """Return for each sample whether its values are in [0, 1] and sum to 1.

    Args:
        owner: Who asks, for the message.
        values: `(..., classes)`.
        absent: `(...)`, where values may be anything, as they do not count.
        name: What the values are, for the message.

    Raises:
        ValueError: In eager execution, if values that count are no probabilities.
    """
    # With `initial`, since Keras refuses the extremes of an empty batch without.
    smallest = ops.min(values, axis=-1, initial=math.inf)
    largest = ops.max(values, axis=-1, initial=-math.inf)
    total = ops.sum(values, axis=-1)
    valid = (smallest >= -_TOLERANCE) & (largest <= 1 + _TOLERANCE)
    valid = valid & (ops.absolute(total - 1) <= _TOLERANCE)
    facts = ops.stack([smallest, largest, total], axis=-1)
    offender = _checks.first_offender(facts, valid | absent)
    if offender is not None:
        raise ValueError(
            f"{owner} expects probabilities, in [0, 1] and with sum 1 over the last "
            f"axis of `{name}`. Received: a {_KINDS[name]} with values from "
            "{:g} to {:g} and sum {:g}. ".format(*offender)
            + _HINTS[name]
        )
    return valid
