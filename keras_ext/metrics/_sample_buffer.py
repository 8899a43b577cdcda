"""Samples kept between resets, for metrics that no sums can stand in for."""

import warnings

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Tensor
from keras_ext.metrics import _running_sum

_MOST_COUNTED = 2**30
"""Where counting stops, so that no batch can carry an int32 beyond its end."""


class SampleBuffer:
    """The first `capacity` samples of a metric since its last reset.

    A sample is a row of numbers and its weight. Those of weight 0 are not kept, and
    rows not filled yet have weight 0, so that what is computed from the rows needs no
    mask. Compiled code cannot raise when there are more samples than rows: there they
    are counted, the result is NaN, and the next reset warns.

    Args:
        metric: The metric, which gets the variables.
        columns: How many numbers a sample has, without its weight.
        capacity: Number of samples.
    """

    def __init__(
        self, metric: keras.metrics.Metric, columns: int, capacity: int
    ) -> None:
        self._owner = type(metric).__name__
        self._capacity = capacity
        # One row more, to which samples are written that are not kept.
        self._rows = metric.add_variable(
            (capacity + 1, columns + 1),
            "zeros",
            dtype=_running_sum.sum_dtype(metric.dtype),
            name="samples",
        )
        self._count = metric.add_variable((), "zeros", dtype="int32", name="count")

    @property
    def dtype(self) -> str:
        """The dtype in which samples are kept."""
        return self._rows.dtype

    def append(self, samples: Tensor, weights: Tensor) -> None:
        """Keep the samples of a batch, `(batch, columns)` and `(batch,)`.

        Raises:
            ValueError: In eager execution, if there are more than `capacity`.
        """
        kept = ops.cast(ops.not_equal(weights, 0), "int32")
        before = self._count.value
        seen = ops.minimum(before + ops.sum(kept), _MOST_COUNTED)
        self._check(seen)
        place = before + ops.cumsum(kept) - 1
        place = ops.where(ops.equal(kept, 1), place, self._capacity)
        place = ops.expand_dims(ops.minimum(place, self._capacity), axis=-1)
        rows = ops.concatenate([samples, ops.expand_dims(weights, axis=-1)], axis=-1)
        rows = ops.cast(rows, self.dtype)
        self._rows.assign(ops.scatter_update(self._rows.value, place, rows))
        self._count.assign(seen)

    def read(self) -> tuple[Tensor, Tensor]:
        """Return samples `(columns, capacity)` and weights `(capacity,)`."""
        columns = ops.transpose(self._rows.value[: self._capacity])
        return columns[:-1], columns[-1]

    def checked(self, result: Tensor) -> Tensor:
        """Return `result`, or NaN if it is not that of all samples.

        Samples are missing if there were more than `capacity`; or if the buffers of
        several replicas were added up. A sample with a NaN makes it NaN too.
        """
        rows = self._rows.value[: self._capacity]
        kept = ops.sum(ops.cast(ops.not_equal(rows[:, -1], 0), "int32"))
        sound = ops.equal(kept, self._count.value) & ~ops.any(ops.isnan(rows))
        return ops.where(sound, result, float("nan"))

    def warn_of_lost_samples(self) -> None:
        """Warn if there were more than `capacity`; called before they are forgotten."""
        # A sum, since NumPy cannot read a variable of several replicas.
        count = ops.add(self._count.value, 0)
        seen = _checks.first_offender(count, count <= self._capacity)
        if seen is not None:
            warnings.warn(
                f"{self._owner} has seen {seen} samples since its last reset, but "
                f"keeps {self._capacity}, so its result was NaN. Pass `capacity={seen}`"
                " or more.",
                stacklevel=3,
            )

    def _check(self, seen: Tensor) -> None:
        number = _checks.first_offender(seen, seen <= self._capacity)
        if number is not None:
            raise ValueError(
                f"{self._owner} expects at most `capacity={self._capacity}` samples "
                f"between two resets. Received: {number} samples. Pass "
                f"`capacity={number}` or more, or call `reset_state` more often."
            )
