"""The data arguments of `fit`, turned into a source, as stock Keras reads them."""

import numbers
import os
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import keras

from keras_ext import _checks
from keras_ext.training.data.arrays import Shuffle, are_arrays
from keras_ext.training.data.batch_checks import PLAIN, shortened
from keras_ext.training.data.class_weighted import ClassWeighted, check_not_both
from keras_ext.training.data.class_weights import ClassWeights
from keras_ext.training.data.make import make_source
from keras_ext.training.data.source import Source
from keras_ext.training.data.sparse_rows import SparseRows, is_sparse


def fit_source(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    class_weight: ClassWeights | None,
    batch_size: int | None,
    steps: int | None,
    shuffle: Shuffle,
    seed: int,
    resident: bool | Literal["auto"] = "auto",
    where: str = "",
) -> Source:
    """Return the source for the data arguments of `fit`.

    Args:
        x: As in `fit`.
        y: As in `fit`.
        sample_weight: As in `fit`.
        class_weight: Weights to look up, instead of `sample_weight`.
        batch_size: As in `fit`.
        steps: Batches per epoch.
        shuffle: As in `fit`.
        seed: What the orders are drawn from.
        resident: As in `fit`.
        where: Text that errors add to the name of an argument.

    Raises:
        ValueError: If targets or weights are given in addition to data that should
            contain them, or both `class_weight` and `sample_weight` are given.
    """
    check_not_both(class_weight, sample_weight)
    options: dict[str, Any] = {
        "shuffle": shuffle,
        "seed": seed,
        "steps": steps,
        "resident": resident,
        "where": where,
    }
    if not are_arrays((x, y, sample_weight)):
        _check_kinds(where, x=x, y=y, sample_weight=sample_weight)
        source = make_source(x, batch_size, **options)
        if class_weight is None:
            return source
        return ClassWeighted(source, class_weight, whole=steps is None)
    if class_weight is not None:
        sample_weight = class_weight.of_all(y)
    elif _is_shared(sample_weight, y):
        sample_weight = keras.tree.map_structure(lambda _: sample_weight, y)
    _check_weight_for_each(sample_weight, y)
    data = keras.utils.pack_x_y_sample_weight(x, y, sample_weight)
    return make_source(data, batch_size, **options)


def pass_source(
    data: Any, batch_size: int | None, steps: int | None, prefix: str = ""
) -> Source:
    """Return the source for the data arguments of `evaluate` and `predict`.

    Args:
        data: `(x, y, sample_weight)`, or a `Source` in place of `x`.
        batch_size: Samples per batch, for arrays.
        steps: Number of batches.
        prefix: Prefix of the argument names in the user's call.
    """
    if isinstance(data[0], Source):
        return data[0]
    return fit_source(
        *data,
        class_weight=None,
        batch_size=_checks.optional(
            _checks.positive_int, f"{prefix}batch_size", batch_size
        ),
        steps=limited_steps(f"{prefix}steps", steps),
        shuffle=False,
        seed=0,
        where=f" in `{prefix}data`" if prefix else "",
    )


def validation_source(
    data: Any, batch_size: int | None, fallback: int | None, steps: int | None
) -> Source | None:
    """Return the source for `validation_data`, or `None` if there is none.

    Args:
        data: `(x, y)`, `(x, y, sample_weight)` or anything else `evaluate` accepts.
        batch_size: Samples per batch, for arrays.
        fallback: Batch size of training, used instead if it is not given.
        steps: Number of batches.

    Raises:
        ValueError: If it has more parts than these.
    """
    if data is None:
        return None
    if isinstance(data, (list, tuple)) and len(data) > 3:
        raise ValueError(
            "`validation_data` must be (x, y) or (x, y, sample_weight), a dataset or "
            "an iterable of batches such as a generator. Received: a "
            f"{type(data).__name__} of {len(data)}"
        )
    arrays = keras.utils.unpack_x_y_sample_weight(data)
    if batch_size is None and are_arrays(arrays):
        batch_size = fallback
    return pass_source(arrays, batch_size, steps, "validation_")


def split_validation(arrays: Any, fraction: float) -> tuple[Any, Any]:
    """Return all but the last `fraction` of the samples, and the last part.

    Raises:
        ValueError: If `fraction` is not between 0 and 1, leaves one part empty, or the
            data does not consist of arrays.
    """
    if not (isinstance(fraction, numbers.Real) and 0 < fraction < 1):
        raise ValueError(
            "`validation_split` must be a number between 0 and 1. "
            f"Received: validation_split={fraction!r}"
        )
    if not are_arrays(arrays):
        raise ValueError(
            "`validation_split` needs arrays. Received: data of type "
            f"{type(arrays[0]).__name__}. Split the data yourself and pass "
            "`validation_data`."
        )
    leaves = [leaf for leaf in keras.tree.flatten(arrays) if leaf is not None]
    samples = leaves[0].shape[0]
    # Rounded as in Keras, so that the same samples are held out.
    at = int(samples * (1.0 - fraction))
    if not 0 < at < samples:
        raise ValueError(
            f"`validation_split={fraction}` of {samples} samples leaves {at} for "
            f"training and {samples - at} for validation; each needs one."
        )

    return _rows(arrays, slice(0, at)), _rows(arrays, slice(at, None))


def _rows(arrays: Any, rows: slice) -> Any:
    def cut(array: Any) -> Any:
        if array is None:
            return None
        if is_sparse(array):
            return SparseRows.of(array)[rows]
        return getattr(array, "iloc", array)[rows]

    return keras.tree.map_structure(cut, arrays)


def debugging_limit(name: str, value: int | None, limit: int | None) -> int | None:
    """Return `value`, or the lower `limit` that is set in `keras.config`."""
    if limit is None or (value is not None and value <= limit):
        return value
    warnings.warn(f"Limiting {name} to {limit}, as set in keras.config.", stacklevel=3)
    return limit


def limited_steps(name: str, steps: int | None) -> int | None:
    """Return a number of batches, checked and limited as set in `keras.config`.

    Raises:
        ValueError: If it is not a positive integer.
    """
    steps = _checks.optional(_checks.positive_int, name, steps)
    return debugging_limit(name, steps, keras.config.max_steps_per_epoch())


def is_due(frequency: int | Sequence[int], epoch: int) -> bool:
    """Whether `validation_freq` requests validation after epoch `epoch` (from 0)."""
    # Keras numbers epochs from 1 here.
    if isinstance(frequency, Sequence):
        return epoch + 1 in frequency
    return (epoch + 1) % _checks.positive_int("validation_freq", frequency) == 0


def _is_shared(sample_weight: Any, y: Any) -> bool:
    """Whether one array of weights is meant for all of several targets."""
    nested = keras.tree.is_nested
    return sample_weight is not None and nested(y) and not nested(sample_weight)


def _check_weight_for_each(sample_weight: Any, y: Any) -> None:
    """Raise `ValueError` if there are weights for only some of several targets."""
    if sample_weight is None or not keras.tree.is_nested(y):
        return
    targets, weights = (list(one) for one in (y, sample_weight))
    named = isinstance(y, dict) and isinstance(sample_weight, dict)
    if set(targets) != set(weights) if named else len(targets) != len(weights):
        raise ValueError(
            "`sample_weight` must hold weights for each of the targets, with ones "
            "where all samples count equally. Expected: "
            f"{targets if named else len(targets)}. Received: "
            f"{weights if named else len(weights)}."
        )


def _check_kinds(where: str, x: Any, **others: Any) -> None:
    """Raise for values that are not arrays, or given in addition to other data."""
    if isinstance(x, (*PLAIN, os.PathLike)):
        return  # No data at all: `make_source` raises.
    for name, value in {"x": x, **others}.items():
        if isinstance(value, (list, tuple, dict)) and not are_arrays(value):
            raise TypeError(
                f"`{name}`{where} is a {type(value).__name__} that contains something "
                f"other than arrays: {shortened(value)}. Convert Python numbers with "
                "`np.asarray`; wrap several batches in a generator or a "
                "`tf.data.Dataset`."
            )
    for name, value in others.items():
        if value is not None and not (are_arrays(x) or x is None):
            raise ValueError(
                f"`{name}`{where} is for arrays; a {type(x).__name__} yields it as "
                f"part of its batches: (x, y) or (x, y, sample_weight). Leave `{name}` "
                "out."
            )
        if value is not None and not are_arrays(value):
            raise TypeError(
                f"`{name}`{where} must be an array, or a structure of arrays, like "
                f"`x`. Received: {shortened(value)} of type {type(value).__name__}."
            )
