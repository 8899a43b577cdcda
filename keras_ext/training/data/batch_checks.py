"""Errors about a batch, phrased in terms of the data rather than of a layer."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

import keras_ext.losses

_NAMES = ("x", "y", "sample_weight")
FAILURES = (ValueError, TypeError, tf.errors.InvalidArgumentError)
"""Errors that a step raises for a batch that does not fit."""

PLAIN = (bool, int, float, str, bytes)
"""Types of values that are not arrays."""

_MOST_SHOWN = 100
_STRINGS = (
    "`x` holds strings, with which the model cannot compute. Convert them to numbers: "
    "`x.astype('float32')` if they are numbers, or a `keras.layers.StringLookup` or "
    "`keras.layers.TextVectorization` as the first layer, after `keras.Input(shape, "
    "dtype='string')`."
)


def check_arrays(batch: Any) -> None:
    """Raise `TypeError` if a part of a batch is a list of numbers or strings."""
    for name, part in _parts(batch):
        if _has_plain_list(part):
            raise TypeError(
                f"`{name}` of a batch must be an array or a structure of arrays. "
                f"Received: a {type(part).__name__} of Python numbers or strings, "
                f"{shortened(part)}. Convert it: `np.asarray(...)`."
            )


def check_targets(loss: Any, y: Any) -> None:
    """Raise unless there are targets from which a loss can be computed.

    Args:
        loss: The `loss` passed to `compile`.
        y: The targets.

    Raises:
        ValueError: If there are none, not for every output that has a loss, or only
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
            "None" if leaf is None else f"an array of shape {tuple(leaf.shape)}"
            for leaf in keras.tree.flatten(y)
        )
        raise ValueError(
            "`y` must hold an array for each output that has a loss. Received: "
            f"{type(y).__name__} of {shown}, with loss={shortened(loss)}. Leave `None` "
            "out of `y`, or give that output no loss: `compile(loss=[..., None])`."
        )
    if any(len(leaf.shape) == 0 for leaf in _leaves(y) if _has_rank(leaf)):
        raise ValueError(
            "`y` must have a first axis of samples. Received: a scalar. If the data "
            "yields single samples, batch it: `dataset.batch(32)`."
        )
    # Some of several outputs may have no loss.
    single = not isinstance(loss, (dict, list, tuple))
    if single and _has_strings(y):
        raise TypeError(
            "`y` must hold numbers for the loss to compute with. Received: strings, "
            f"with loss={shortened(loss)}. Number the classes first: `classes, y = "
            "np.unique(y, return_inverse=True)`, or a `keras.layers.StringLookup` in "
            "`dataset.map`."
        )


def check_weights(loss: Any, y_pred: Any, sample_weight: Any) -> None:
    """Raise `ValueError` if there are more weights than the loss has values.

    A loss would broadcast them, if their shapes happen to allow it. Functions that are
    not known may have a value for each number in `y_pred`.
    """
    outputs, weights = _leaves(y_pred), _leaves(sample_weight)
    if len(outputs) != len(weights) or not all(map(_is_known, _leaves(loss))):
        return
    for output, weight in zip(outputs, weights, strict=True):
        if not (_has_rank(output) and _has_rank(weight)):
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


def check_inputs(inputs: Any, x: Any) -> None:
    """Raise `TypeError` if `x` holds strings, and the model does not read any.

    Args:
        inputs: The symbolic inputs of the model, if it has any.
        x: Tensors.
    """
    if inputs is not None and _has_strings(x) and not _has_strings(inputs):
        raise TypeError(_STRINGS)


def explain(error: Exception, batch: Any, inputs: Any, *, whole: bool = True) -> None:
    """Say what is wrong with a batch for which a step has failed, if it can be seen.

    Args:
        error: Error raised by the step.
        batch: Batch that the step was made with.
        inputs: The symbolic inputs of the model, if it has any.
        whole: Whether it is a batch, not arrays that are split into batches.

    Raises:
        TypeError: If the batch holds strings that the model cannot read.
        ValueError: If the batch looks like a single sample.
    """
    # Callers may want to catch errors of other classes.
    plain = type(error) in (ValueError, TypeError)
    if not plain and not isinstance(error, tf.errors.InvalidArgumentError):
        return
    if _has_strings(_parts(batch)[0][1]) and not _has_strings(inputs):
        if inputs is None:
            raise TypeError(f"{_STRINGS} The step failed with: {error}") from error
        return  # `check_inputs` has raised this error.
    if not _looks_unbatched(batch, inputs):
        return
    shapes = ", ".join(
        f"`{name}` {_shapes(part, whole)}"
        for name, part in _parts(batch)
        if part is not None
    )
    raise ValueError(
        "A batch must have a first axis of samples in all of its arrays. Received: "
        f"{shapes}. If these are single samples, batch the data: "
        "`dataset.batch(32)`; add such an axis to one sample with `x[None]`. The step "
        f"failed with {type(error).__name__}: {error}"
    ) from error


def named_leaves(batch: Any) -> Iterator[tuple[str, Any]]:
    """Yield every array of a batch, with an expression such as `x['a']` for it."""
    for name, part in _parts(batch):
        for path, leaf in keras.tree.flatten_with_path(part):
            yield f"`{name}{''.join(f'[{key!r}]' for key in path)}`", leaf


def shortened(value: Any) -> str:
    """Return a description of `value` of about one line."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _parts(batch: Any) -> list[tuple[str, Any]]:
    if not isinstance(batch, (tuple, list)):
        return [("x", batch)]
    names = [*_NAMES, *(f"part {number}" for number in range(3, len(batch)))]
    return list(zip(names, batch, strict=False))


def _has_plain_list(part: Any) -> bool:
    if isinstance(part, Mapping):
        return any(map(_has_plain_list, part.values()))
    if isinstance(part, list) and part and isinstance(part[0], PLAIN):
        return True
    return isinstance(part, (list, tuple)) and any(map(_has_plain_list, part))


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
    known = [*vars(keras.losses).values(), *vars(keras_ext.losses).values()]
    return isinstance(loss, str) or any(
        loss is one or type(loss) is one for one in known
    )


def _looks_unbatched(batch: Any, inputs: Any) -> bool:
    """Whether the arrays of a batch are unlikely to have an axis of samples."""
    leaves = [leaf for leaf in _leaves(batch) if hasattr(leaf, "shape")]
    ranks = [leaf.shape.rank for leaf in leaves]
    if 0 in ranks:
        return True
    if None in ranks or not leaves:
        return False
    if len({leaf.shape[0] for leaf in leaves}) > 1:
        return True
    x = _leaves(_parts(batch)[0][1])
    wanted = _leaves(inputs)
    if not x:
        return False
    if len(x) == len(wanted):
        pairs = zip(x, wanted, strict=True)
        return all(one.shape.rank == len(other.shape) - 1 for one, other in pairs)
    # With nothing to compare: integers along one axis may be ids, one per sample;
    # floats are more likely the features of a single sample.
    return all(one.shape.rank == 1 and one.dtype.is_floating for one in x)


def _has_rank(leaf: Any) -> bool:
    shape = getattr(leaf, "shape", None)
    return shape is not None and getattr(shape, "rank", 0) is not None


def _is_string(leaf: Any) -> bool:
    return bool(getattr(leaf, "dtype", None) in (tf.string, "string"))


def _has_strings(structure: Any) -> bool:
    return any(map(_is_string, _leaves(structure)))


def _leaves(structure: Any) -> list[Any]:
    return [leaf for leaf in keras.tree.flatten(structure) if leaf is not None]


def _shapes(part: Any, whole: bool) -> str:
    shapes = [leaf.shape for leaf in _leaves(part) if hasattr(leaf, "shape")]
    shown = [tuple(one) if whole else (None, *one[1:]) for one in shapes]
    return "of shape " + ", ".join(map(str, shown))
