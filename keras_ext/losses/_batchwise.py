"""What losses over pairs of a batch share: the samples present, and their classes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_ext import _checks, _labels
from keras_ext._numerics import at_least_float32, unit
from keras_ext._types import Tensor
from keras_ext.losses._function_loss import FunctionLoss, Masked
from keras_ext.losses._pairwise import row_crossentropy


class BatchwiseLoss(FunctionLoss):
    """A loss in which a sample's value depends on the others in its batch.

    A sample that is masked or has weight 0 is absent for the others too. Weights and
    mask are therefore read before the values are computed, not only after. Unlike in
    other losses, labels are not cast: only their equality matters.

    The third argument of its function, after `y_true` and `y_pred`, is `absent`: a
    boolean for every sample, or `None` if all are present. It returns the value of
    every sample, and whether the mean counts it: `Batch.settled` returns this pair.

    May be replaced: `_kept`. Do not override: `__call__`, `call`.
    """

    def __init__(
        self, function: Callable[..., tuple[Tensor, Tensor]], **options: Any
    ) -> None:
        super().__init__(function, **options)
        self._masked = Masked(dtype=self.dtype)
        self._kept = Kept(dtype=self.dtype)

    def __call__(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Return the weighted and reduced loss of the samples that are present."""
        y_pred = ops.convert_to_tensor(y_pred)
        kept = self._kept(y_pred)
        absent = ~kept
        # Half precision applies only to what the loss returns.
        dtype = keras.backend.result_type(self.dtype, "float32")
        y_pred = ops.cast(y_pred, dtype)
        if sample_weight is not None:
            sample_weight = ops.convert_to_tensor(sample_weight, dtype=self.dtype)
            sample_weight = _one_weight_each(self.name, sample_weight, y_pred)
            absent |= _for_each(ops.equal(sample_weight, 0), kept)
        values, counted = self._unchecked(y_true, y_pred, absent)
        values = self._masked(values, mask=_any_of_sample(counted & kept))
        reduced = Reduced(self.name, self.reduction, self.dtype)
        return reduced(values, values, sample_weight)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of every sample, masked where it does not count."""
        values, counted = self._unchecked(y_true, y_pred, None)
        return self._masked(values, mask=_any_of_sample(counted))


class Kept(keras.layers.Layer):
    """Finds the samples that a mask keeps. Only layers see Keras's masks."""

    def __init__(self, dtype: str) -> None:
        super().__init__(dtype=dtype, autocast=False)
        self.supports_masking = True

    def call(self, y_pred: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return True for the samples of which no view is masked."""
        if mask is None:
            return ~nobody(y_pred)
        mask = ops.cast(mask, "bool")
        return ops.all(mask, axis=tuple(range(1, len(mask.shape))))

    def compute_mask(self, y_pred: Tensor, previous_mask: Tensor | None) -> None:
        """Return `None`: the output is itself a mask."""


class Reduced(keras.losses.Loss):
    """Weights and reduces values as every Keras loss does."""

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the values, `y_pred`."""
        return y_pred


def _one_weight_each(owner: str, sample_weight: Tensor, y_pred: Tensor) -> Tensor:
    """Return `sample_weight` as `(batch,)`, or raise `ValueError`."""
    received = tuple(sample_weight.shape)
    if len(received) == 2 and received[1] in (1, None):
        sample_weight = ops.squeeze(sample_weight, axis=1)
    if received and not _checks.shapes_agree(sample_weight.shape, y_pred.shape[:1]):
        raise ValueError(
            f"{owner} expects one `sample_weight` for each sample, of shape (batch,) "
            f"or (batch, 1). Received: sample_weight.shape={received}, "
            f"y_pred.shape={tuple(y_pred.shape)}"
        )
    return sample_weight


def _for_each(values: Tensor, like: Tensor) -> Tensor:
    """Return a value per sample, or one for all, with the axes of `like`."""
    missing = range(len(values.shape), len(like.shape))
    return ops.expand_dims(values, tuple(missing)) if missing else values


def _any_of_sample(values: Tensor) -> Tensor:
    """Return which samples have any true value."""
    return ops.any(values, axis=tuple(range(1, len(values.shape))))


class Batch(NamedTuple):
    """The samples of a batch: their classes, and which of them are present."""

    labels: Tensor
    """`(batch,)`, of any dtype."""
    present: Tensor
    """`(batch,)`, where a sample has a nonzero weight and is not ignored."""
    spared: Tensor
    """`(batch,)`, where a sample is absent but still counts in the mean."""
    factor: Tensor
    """1, or NaN if a label is not valid."""

    def without_absent(self, embeddings: Tensor) -> Tensor:
        """Return `embeddings` with zeros for absent samples."""
        axes = tuple(range(1, len(embeddings.shape)))
        return ops.where(ops.expand_dims(self.present, axes), embeddings, 0.0)

    def pairs(self, views: int | Tensor = 1) -> tuple[Tensor, Tensor, Tensor]:
        """Return which pairs are the same view, positive and negative.

        Three boolean matrices, `(batch * views, batch * views)`. Absent samples are in
        no pair, and no view is its own positive.
        """
        number = ops.arange(ops.shape(self.present)[0] * views, dtype="int32")
        sample = ops.floor_divide(number, views)
        label, present = ops.take(self.labels, sample), ops.take(self.present, sample)
        there = present[:, None] & present[None, :]
        itself = ops.equal(number[:, None], number[None, :])
        same = ops.equal(label[:, None], label[None, :])
        return there & itself, there & same & ~itself, there & ~same

    def settled(self, values: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Return values that are 0 where not `valid`, and which of them count.

        NaN enters as a factor, since after a `where` the gradient of a wrong label
        would be 0.
        """
        valid = valid & self.present
        factor = ops.cast(self.factor, values.dtype)
        return ops.where(valid, values, 0.0) * factor, valid | self.spared


def embeddings(owner: str, y_pred: Tensor, *axes: tuple[str | int, ...]) -> Tensor:
    """Return `y_pred`, at least in float32, if its axes match one of `axes`.

    Raises:
        ValueError: If they do not. An axis given as a number must have that size.
    """
    y_pred = at_least_float32(y_pred)
    shapes = [[size if isinstance(size, int) else None for size in s] for s in axes]
    if not any(_checks.shapes_agree(y_pred.shape, shape) for shape in shapes):
        named = " or ".join(f"({', '.join(str(axis) for axis in s)})" for s in axes)
        raise ValueError(
            f"{owner} expects y_pred to hold embeddings of shape {named}. "
            f"Received: y_pred.shape={tuple(y_pred.shape)}"
        )
    return y_pred


def labelled(
    owner: str,
    y_true: Tensor,
    y_pred: Tensor,
    ignore_class: int | None,
    absent: Tensor | None,
) -> Batch:
    """Return samples that each have an integer label.

    Raises:
        ValueError: If there is not one label per sample or, in eager execution, if a
            label is not a whole number.
    """
    if y_true is None:
        raise ValueError(
            f"{owner} expects one integer label for each sample. Received: "
            "y_true=None. `keras_ext.losses.NTXent` needs no labels."
        )
    labels = ops.convert_to_tensor(y_true)
    received = tuple(labels.shape)
    if len(received) == 2 and received[1] in (1, None):
        labels = ops.squeeze(labels, axis=1)
    if not _checks.shapes_agree(labels.shape, y_pred.shape[:1]):
        raise ValueError(
            f"{owner} expects one integer label for each sample, y_true of shape "
            f"(batch,) or (batch, 1). Received: y_true.shape={received}, "
            f"y_pred.shape={tuple(y_pred.shape)}"
        )
    absent = nobody(y_pred) if absent is None else absent
    ignored = _labels.is_ignored(labels, ignore_class)
    whole = ignored | _is_whole(labels) | absent
    label = _checks.first_offender(labels, whole)
    if label is not None:
        raise ValueError(
            f"{owner} expects `y_true` to hold integer labels. "
            f"Received: y_true with a label {label:.10g}."
        )
    factor = ops.where(ops.all(whole), 1.0, float("nan"))
    return Batch(labels, ~absent & ~ignored, absent & ~ignored, factor)


def nobody(y_pred: Tensor) -> Tensor:
    """Return False for every sample."""
    axes = tuple(range(1, len(y_pred.shape)))
    return ops.any(ops.zeros_like(y_pred, dtype="bool"), axis=axes)


def _is_whole(labels: Tensor) -> Tensor:
    if not keras.backend.is_float_dtype(labels.dtype):
        return ops.ones_like(labels, dtype="bool")
    return ops.isfinite(labels) & ops.equal(ops.floor(labels), labels)


def contrast_of_views(
    x: Tensor, samples: Batch, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return the crossentropy of finding each view's positives among all others.

    Args:
        x: Embeddings, `(batch, views, dim)`.
        samples: The samples, with their classes.
        temperature: Divisor of the similarities.

    Returns:
        The mean over the views of each sample, and which samples count: those that are
        present and have a positive.
    """
    views = ops.shape(x)[1]
    x = unit(samples.without_absent(x), -1)
    x = ops.reshape(x, (-1, x.shape[2]))
    similarity = ops.matmul(x, ops.transpose(x)) / temperature
    _, positive, negative = samples.pairs(views)
    values = row_crossentropy(similarity, positive | negative, positive)
    valid = ops.any(positive, axis=1)
    of_sample = (-1, views)
    return samples.settled(
        ops.mean(ops.reshape(values, of_sample), axis=1),
        ops.any(ops.reshape(valid, of_sample), axis=1),
    )
