"""Predictions that should be probabilities: which of them are none."""

import numpy as np
from keras import ops

from keras_ext import _checks
from keras_ext._types import Tensor
from keras_ext.metrics._numbers import are_numbers

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
    """Return for each sample whether its values are probabilities.

    They are if their sum is 1 and that of the negative ones 0, both within 0.01.

    Args:
        owner: Who asks, for the message.
        values: `(..., classes)`.
        absent: `(...)`, where values may be anything, as they do not count.
        name: What the values are, for the message.

    Raises:
        ValueError: In eager execution, if values that count are no probabilities,
            unless they hold a NaN in `y_pred`.
    """
    total = ops.sum(values, axis=-1)
    valid = ops.absolute(total - 1) <= _TOLERANCE
    twice_negative = ops.sum(ops.absolute(values), axis=-1) - total
    valid = valid & (twice_negative <= 2 * _TOLERANCE)
    passed = valid | absent
    if name == "y_pred":
        passed = passed | ~are_numbers(values, axis=-1)
    row = _checks.first_offender(values, passed)
    if row is not None:
        raise ValueError(
            f"{owner} expects probabilities, in [0, 1] and with sum 1 over the last "
            f"axis of `{name}`. Received: a {_KINDS[name]} with values from "
            f"{np.min(row):g} to {np.max(row):g} and sum {sum(row):g}. " + _HINTS[name]
        )
    return valid
