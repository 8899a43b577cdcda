"""Errors about a batch, phrased in terms of the data rather than of a layer."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

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


def check_inputs(inputs: Any, x: Any) -> None:
    """Raise `TypeError` if `x` holds strings, and the model does not read any.

    Args:
        inputs: The symbolic inputs of the model, if it has any.
        x: Tensors.
    """
    if inputs is not None and has_strings(x) and not has_strings(inputs):
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
    if has_strings(_parts(batch)[0][1]) and not has_strings(inputs):
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


def leaves(structure: Any) -> list[Any]:
    """Return the entries of a nested structure that are not `None`."""
    return [leaf for leaf in keras.tree.flatten(structure) if leaf is not None]


def has_strings(structure: Any) -> bool:
    """Whether there is a tensor of strings in a nested structure."""
    return any(map(_is_string, leaves(structure)))


def has_rank(leaf: Any) -> bool:
    """Whether `leaf` has a shape with a known number of axes."""
    shape = getattr(leaf, "shape", None)
    return shape is not None and getattr(shape, "rank", 0) is not None


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


def _looks_unbatched(batch: Any, inputs: Any) -> bool:
    """Whether the arrays of a batch are unlikely to have an axis of samples."""
    arrays = [leaf for leaf in leaves(batch) if hasattr(leaf, "shape")]
    ranks = [leaf.shape.rank for leaf in arrays]
    if 0 in ranks:
        return True
    if None in ranks or not arrays:
        return False
    if len({leaf.shape[0] for leaf in arrays}) > 1:
        return True
    x = leaves(_parts(batch)[0][1])
    wanted = leaves(inputs)
    if not x:
        return False
    if len(x) == len(wanted):
        pairs = zip(x, wanted, strict=True)
        return all(one.shape.rank == len(other.shape) - 1 for one, other in pairs)
    # With nothing to compare: integers along one axis may be ids, one per sample;
    # floats are more likely the features of a single sample.
    return all(one.shape.rank == 1 and one.dtype.is_floating for one in x)


def _is_string(leaf: Any) -> bool:
    return bool(getattr(leaf, "dtype", None) in (tf.string, "string"))


def _shapes(part: Any, whole: bool) -> str:
    shapes = [leaf.shape for leaf in leaves(part) if hasattr(leaf, "shape")]
    shown = [tuple(one) if whole else (None, *one[1:]) for one in shapes]
    return "of shape " + ", ".join(map(str, shown))
