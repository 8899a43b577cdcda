"""Errors about targets and weights that do not suit the losses of `compile`."""

from typing import Any

import keras

import keras_ext.losses
from keras_ext.training.data.batch_checks import (
    has_rank,
    has_strings,
    leaves,
    shortened,
)


def check_targets(loss: Any, y: Any) -> None:
    """Raise unless there are targets from which a loss can be computed.

    Args:
        loss: The `loss` passed to `compile`.
        y: The targets.

    Raises:
        ValueError: If they are missing, for any output that has a loss, or are only
            those of a single sample.
        TypeError: If they are strings.
    """
    if loss is None:
        return
    if y is None:
        raise ValueError(
            "The loss needs targets. Expected: `y`, or batches (x, y) or (x, y, "
            f"sample_weight). Received: data without `y`, with loss={shortened(loss)}. "
            "Pass targets (`validation_data` needs them too), or compute the loss "
            "from the inputs: override `compute_loss`, or use `add_loss`."
        )
    if keras.tree.is_nested(y) and _lacks_targets(loss, y):
        shown = ", ".join(
            "None" if leaf is None else f"an array of shape {leaf.shape}"
            for leaf in keras.tree.flatten(y)
        )
        raise ValueError(
            "`y` must hold an array for each output that has a loss. Received: "
            f"{type(y).__name__} of {shown}, with loss={shortened(loss)}. Leave `None` "
            "out of `y`, or give that output no loss: `compile(loss=[..., None])`."
        )
    if any(len(leaf.shape) == 0 for leaf in leaves(y) if has_rank(leaf)):
        raise ValueError(
            "`y` must have a first axis of samples. Received: a scalar. If the data "
            "yields single samples, batch it: `dataset.batch(32)`."
        )
    # Some of several outputs may have no loss.
    single = not isinstance(loss, (dict, list, tuple))
    if single and has_strings(y):
        raise TypeError(
            "`y` must hold numbers for the loss to compute with. Received: strings, "
            f"with loss={shortened(loss)}. Number the classes first: `classes, y = "
            "np.unique(y, return_inverse=True)`, or a `keras.layers.StringLookup` in "
            "`dataset.map`."
        )


def check_weights(loss: Any, y_pred: Any, sample_weight: Any) -> None:
    """Raise unless there are as many weights as the loss has values.

    A loss would broadcast them, if their shapes happen to allow it. Functions that are
    not known may have a value for each number in `y_pred`.

    Raises:
        ValueError: If there are more.
        TypeError: If they are strings.
    """
    if loss is None:
        return
    if has_strings(sample_weight):
        raise TypeError("`sample_weight` must hold numbers. Received: strings.")
    outputs, weights = leaves(y_pred), leaves(sample_weight)
    if len(outputs) != len(weights) or not all(map(_is_known, leaves(loss))):
        return
    for output, weight in zip(outputs, weights, strict=True):
        if not (has_rank(output) and has_rank(weight)):
            continue
        if len(output.shape) < 2 or len(weight.shape) < 2:
            continue
        # Keras's losses reduce the last axis, and take a column for one weight each.
        most = len(output.shape) - (weight.shape[-1] not in (1, None))
        if len(weight.shape) > most:
            axes = ", ".join(map(str, output.shape[1:-1]))
            per_value = f", or (samples, {axes})" if axes else ""
            raise ValueError(
                "`sample_weight` must hold one weight per sample or per value of the "
                f"loss. Expected: shape (samples,){per_value}. Received: shape "
                f"{tuple(weight.shape)}, for predictions of shape "
                f"{tuple(output.shape)}."
            )


def _lacks_targets(loss: Any, y: Any) -> bool:
    """Whether one of several targets is `None`, and its output has a loss."""
    if isinstance(loss, dict) and isinstance(y, dict):
        return any(y[name] is None for name in y if loss.get(name) is not None)
    if isinstance(loss, (list, tuple)) and isinstance(y, (list, tuple)):
        pairs = zip(loss, y, strict=False)
        return any(one is not None and target is None for one, target in pairs)
    single = not keras.tree.is_nested(loss)
    return single and any(leaf is None for leaf in keras.tree.flatten(y))


def _is_known(loss: Any) -> bool:
    """Whether `loss` is one of Keras or of this package."""
    if isinstance(loss, str):
        return loss not in keras.saving.get_custom_objects()
    known = [*vars(keras.losses).values(), *vars(keras_ext.losses).values()]
    return any(loss is one or type(loss) is one for one in known)
