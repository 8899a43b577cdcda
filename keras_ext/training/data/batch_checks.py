"""Errors about a batch, phrased in terms of the data rather than of a layer."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

_NAMES = ("x", "y", "sample_weight")
FAILURES = (ValueError, TypeError, tf.errors.InvalidArgumentError)
"""Errors that a step raises for a batch that does not fit."""

_PLAIN = (bool, int, float, str, bytes)
_MOST_SHOWN = 100


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
        ValueError: If there are none, or only those of a single sample.
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
    if any(len(leaf.shape) == 0 for leaf in _leaves(y) if _has_rank(leaf)):
        raise ValueError(
            "`y` must have a first axis of samples. Received: a scalar. If the data "
            "yields single samples, batch it: `dataset.batch(32)`."
        )
    # Some of several outputs may have no loss.
    single = not isinstance(loss, (dict, list, tuple))
    if single and any(_is_string(leaf) for leaf in _leaves(y)):
        raise TypeError(
            "`y` must hold numbers for the loss to compute with. Received: strings, "
            f"with loss={shortened(loss)}. Number the classes first: `classes, y = "
            "np.unique(y, return_inverse=True)`, or a `keras.layers.StringLookup` in "
            "`dataset.map`."
        )


def explain_unbatched(
    error: Exception, batch: Any, inputs: Any, *, whole: bool = True
) -> None:
    """Suggest `.batch(...)` if a step has failed for what looks like a single sample.

    Args:
        error: Error raised by the step.
        batch: Batch that the step was made with.
        inputs: The symbolic inputs of the model, if it has any.
        whole: Whether it is a batch, not arrays that are split into batches.

    Raises:
        ValueError: If the batch looks like that.
    """
    # Callers may want to catch errors of other classes.
    plain = type(error) in (ValueError, TypeError)
    if not plain and not isinstance(error, tf.errors.InvalidArgumentError):
        return
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
    if isinstance(part, list) and part and isinstance(part[0], _PLAIN):
        return True
    return isinstance(part, (list, tuple)) and any(map(_has_plain_list, part))


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


def _leaves(structure: Any) -> list[Any]:
    return [leaf for leaf in keras.tree.flatten(structure) if leaf is not None]


def _shapes(part: Any, whole: bool) -> str:
    shapes = [leaf.shape for leaf in _leaves(part) if hasattr(leaf, "shape")]
    shown = [tuple(one) if whole else (None, *one[1:]) for one in shapes]
    return "of shape " + ", ".join(map(str, shown))
