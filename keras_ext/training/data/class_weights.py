"""The argument `class_weight` of `fit`, turned into weights of samples."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np

from keras_ext import _checks

ClassWeight = Mapping[int, float] | Sequence[float] | Literal["balanced"]
"""The values that `fit` accepts: weights by class, by position, or "balanced"."""

_Kind = Literal["labels", "column", "rows"]


class ClassWeights:
    """One weight for every class, looked up for targets.

    Args:
        class_weight: A mapping from classes (integers) to weights, with 1 for missing
            classes; or a list or array, with the position as the class; or
            `"balanced"`, for targets that are all given together: class `c` weighs
            `samples / (classes * samples of c)`, as in scikit-learn.
        output_shape: Shape of the model's only output, which distinguishes labels per
            step from rows with one value per class. Default: `None`, which leaves that
            to the values.

    Raises:
        TypeError: If `class_weight` is of another type.
        ValueError: If a class is not an integer, or a weight not a finite number of at
            least 0.
    """

    def __init__(
        self, class_weight: Any, output_shape: Sequence[int | None] | None = None
    ) -> None:
        self.balanced = isinstance(class_weight, str) and class_weight == "balanced"
        self._table = {} if self.balanced else _table(class_weight)
        # A pandas Series has an index, as a mapping has keys.
        self._by_position = not (self.balanced or hasattr(class_weight, "items"))
        self._output_shape = output_shape
        self._kind: _Kind | None = None
        self._met = False
        self._labels_met: list[int] = []

    @classmethod
    def of_model(cls, class_weight: Any, model: keras.Model) -> "ClassWeights | None":
        """Return the weights for the targets of a model; `None` stays `None`."""
        if class_weight is None:
            return None
        # A model that is not functional, or not built, has none.
        outputs = getattr(model, "outputs", None) or []
        return cls(class_weight, outputs[0].shape if len(outputs) == 1 else None)

    def of_all(self, y: Any) -> np.ndarray:
        """Return one weight per label, for all targets of the data.

        Raises:
            ValueError: Like `of_batch`; also if none of the classes is among the
                targets.
        """
        if self.balanced:
            labels = self._labels(y)
            labels = labels[labels != _NO_CLASS]
            classes, counts = np.unique(labels, return_counts=True)
            weights = labels.size / (len(classes) * counts)
            self._table = dict(zip(classes.tolist(), weights.tolist(), strict=True))
        weights = self.of_batch(y)
        if not self.met_any:
            raise ValueError(self.none_met())
        return weights

    def of_batch(self, y: Any) -> np.ndarray:
        """Return one weight per label, in the shape of the labels.

        Raises:
            ValueError: If `y` is not a single array, or no class can be read from it.
        """
        labels = self._labels(y)
        classes = np.array(sorted(self._table), "int64")
        weights = np.ones(labels.shape, keras.config.floatx())
        if not len(classes):
            return weights
        # For labels after the last class, `searchsorted` returns an index out of range.
        at = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
        known = classes[at] == labels
        if self._by_position and not known.all():
            raise ValueError(
                f"`class_weight` has {len(classes)} weights, for the classes 0 to "
                f"{len(classes) - 1}. Received: targets of class "
                f"{labels[~known].flat[0]}. Give every class a weight, or pass a dict, "
                "in which missing classes have weight 1."
            )
        self._met = self._met or bool(known.any())
        if not self._met and labels.size:
            # A sample is enough: these are only shown in the message.
            self._labels_met = sorted({*self._labels_met, *labels.flat[:100].tolist()})
        values = np.array([self._table[one] for one in classes.tolist()])
        weights[known] = values[at[known]]
        return weights

    def like(self, y: Any) -> np.ndarray:
        """Return ones, in the shape of weights for such targets."""
        shape = np.shape(y)
        kind = self._kind_by_shape(shape) or self._kind or "rows"
        shape = shape if kind == "labels" else shape[:-1]
        return np.ones(shape, keras.config.floatx())

    @property
    def met_any(self) -> bool:
        """Whether a class with a weight was among the targets, if any class has one."""
        return self._met or not self._table

    def none_met(self) -> str:
        """Return the message for when no class with a weight was among the targets."""
        return (
            "None of the classes in `class_weight` is among the targets. Received: "
            f"weights for {_shortened(sorted(self._table))}, targets of the classes "
            f"{_shortened(self._labels_met)}."
        )

    def _labels(self, y: Any) -> np.ndarray:
        """Return the classes of `y`; `_NO_CLASS` where a row has none."""
        values = _numbers(y)
        kind = self._kind_by_shape(values.shape) or self._kind
        if kind is None:
            # Decided once: a later batch may hold only 0 and 1, which is ambiguous.
            kind = self._kind = _kind_by_values(values)
        if kind == "rows":
            self._check_columns(values.shape[-1])
            return _labels_of_rows(values)
        return _whole(values[..., 0] if kind == "column" else values)

    def _kind_by_shape(self, shape: tuple[int, ...]) -> _Kind | None:
        """Return the kind of targets of this shape, or `None` if it is ambiguous."""
        if len(shape) < 2:
            return "labels"
        output = self._output_shape
        if output and len(output) == len(shape) + 1:
            if output[-1] != 1:
                return "labels"
            if shape[-1] != 1:
                raise ValueError(
                    "`class_weight` weights every step, and needs targets in the shape "
                    f"of the output, {tuple(output)}. Received: targets of shape "
                    f"{shape}. Add a last axis: `y[..., None]`."
                )
        # Sequences of one step look like a column, but earlier batches may have had
        # more.
        if shape[-1] == 1 and self._kind != "labels":
            return "column"
        return "rows" if output and len(output) == len(shape) else None

    def _check_columns(self, count: int) -> None:
        """Raise `ValueError` if the classes with weights are not the columns."""
        others = sorted(set(self._table) - set(range(count)))
        if others or (self._by_position and len(self._table) != count):
            raise ValueError(
                f"`class_weight` must hold weights for the classes 0 to {count - 1}, "
                f"since the targets have {count} columns. Received: weights for "
                f"{_shortened(sorted(self._table))}"
            )


def _table(class_weight: Any) -> dict[int, float]:
    """Return the weights by class."""
    if hasattr(class_weight, "items"):
        items = list(class_weight.items())
    elif _checks.is_list(class_weight):
        is_array = hasattr(class_weight, "__array__")
        values = np.asarray(class_weight).tolist() if is_array else class_weight
        items = list(enumerate(values))
    else:
        raise TypeError(
            "`class_weight` must be a dict from classes to weights, such as {0: 1.0, "
            "1: 5.0}, a list or array of weights by class, or 'balanced'. Received: "
            f"class_weight={class_weight!r}"
        )
    for label, _ in items:
        if not _is_whole(label):
            raise ValueError(
                "The keys of `class_weight` must be integers, the classes in the "
                f"targets. Received: {label!r} of type {type(label).__name__}. "
                "Expected: {0: 1.0, 1: 5.0} or similar."
            )
    return {
        int(label): _checks.number(f"class_weight[{label}]", weight, low=0.0)
        for label, weight in items
    }


def _is_whole(value: Any) -> bool:
    try:
        return bool(int(value) == value)
    except (TypeError, ValueError, OverflowError):
        return False


def _numbers(y: Any) -> np.ndarray:
    """Return targets as an array of numbers."""
    if y is None or keras.tree.is_nested(y):
        raise ValueError(
            "`class_weight` needs a single array of targets. Received: targets of "
            f"type {type(y).__name__}. Pass `sample_weight` instead."
        )
    if not hasattr(y, "__array__"):
        raise ValueError(
            "`class_weight` needs targets in a dense array. Received: targets of type "
            f"{type(y).__name__}. Pass `sample_weight` instead."
        )
    values = np.asarray(y)
    if values.dtype.kind == "O":
        values = np.asarray(values.tolist())
    if values.dtype.kind in "OSU":
        raise ValueError(
            "`class_weight` needs targets that are numbers. Received: "
            f"{values.flat[0]!r} of type {type(values.flat[0]).__name__}. Number the "
            "classes: `classes, y = np.unique(y, return_inverse=True)`."
        )
    return values if values.dtype.kind in "biu" else values.astype("float64")


def _kind_by_values(values: np.ndarray) -> _Kind:
    """Return the kind of targets with a last axis of several values."""
    # One class each; but 0 and 1 alone may also be columns, several of which may be 1.
    if ((values < 0) | (values > 1)).any():
        return "labels"
    if (np.abs(values.sum(axis=-1) - 1) < _ROUNDING).all():
        return "rows"
    raise ValueError(
        "`class_weight` needs one class per sample or step, but 0 and 1 in targets of "
        f"shape {values.shape} may also mark which of several classes apply. Give "
        "labels per step a last axis of size 1, `y[..., None]`, if the loss accepts "
        "it, or pass `sample_weight`."
    )


_NO_CLASS = np.iinfo("int64").min
"""The label of a row of zeros."""

_ROUNDING = 1e-2
"""Tolerance for the sum of smoothed or half-precision labels, which should be 1."""


def _labels_of_rows(rows: np.ndarray) -> np.ndarray:
    """Return the column of the largest value in each row."""
    top = rows.max(axis=-1, keepdims=True)
    one_class = (rows == top).sum(axis=-1) == 1
    one_class &= (rows >= 0).all(axis=-1)
    one_class &= np.abs(rows.sum(axis=-1) - 1) < _ROUNDING
    empty = ~rows.any(axis=-1)
    wrong = ~(one_class | empty)
    if wrong.any():
        raise ValueError(
            "`class_weight` needs one class per sample: labels, or rows that contain a "
            f"single 1 or probabilities with one maximum. Received: targets of shape "
            f"{rows.shape} with the row {_shortened(rows[wrong][0].tolist())}. For "
            "samples with several classes, pass `sample_weight`."
        )
    return np.where(empty, _NO_CLASS, rows.argmax(axis=-1))


def _whole(values: np.ndarray) -> np.ndarray:
    """Return labels as integers; a probability counts as the nearer of 0 and 1."""
    labels = values if values.dtype.kind in "biu" else np.round(values)
    wrong = labels != values
    if wrong.any():
        wrong = ~((values >= 0) & (values <= 1) & (values != 0.5))
    if wrong.any():
        raise ValueError(
            "`class_weight` needs targets that are classes: whole numbers, or "
            f"probabilities of class 1. Received: {values[wrong].flat[0]}. Pass "
            "`sample_weight` instead."
        )
    return labels.astype("int64")


def _shortened(values: list[Any]) -> str:
    return f"{values}" if len(values) <= 10 else f"{values[:10]} and more"
