"""Samples kept between resets, for metrics that sums cannot represent."""

import warnings

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Tensor
from keras_ext.metrics import _running_sum

_MOST_COUNTED = 2**30
"""Where counting stops, so that no batch can overflow an int32."""


class SampleBuffer:
    """The samples of a metric since its last reset, up to `capacity` of them.

    A sample is a row of numbers and its weight. Those of weight 0 are not kept, and
    rows not yet filled, which come first, have weight 0, so that computations on the
    rows need no mask. Compiled code cannot raise when there are more samples than rows;
    there, they are counted, the result is NaN, and the next reset warns.

    Args:
        metric: The metric, which gets the variables.
        columns: Number of values per sample, without its weight.
        capacity: Number of samples.
        what: What a sample is, for the messages. Default: `"samples"`.
    """

    def __init__(
        self,
        metric: keras.metrics.Metric,
        columns: int,
        capacity: int,
        what: str = "samples",
    ) -> None:
        self._owner, self._what = type(metric).__name__, what
        self._capacity, self._width = capacity, columns + 1
        # A vector, since TensorFlow joins and slices vectors ten times as fast as rows.
        self._rows = metric.add_variable(
            (capacity * self._width,),
            "zeros",
            dtype=_running_sum.sum_dtype(metric.dtype),
            name="samples",
        )
        self._count = metric.add_variable((), "zeros", dtype="int32", name="count")

    @property
    def dtype(self) -> str:
        """The dtype in which samples are kept."""
        return self._rows.dtype

    def append(
        self, samples: Tensor, weights: Tensor, *, has_zeros: bool = True
    ) -> None:
        """Keep the samples of a batch, `(batch, columns)` and `(batch,)`.

        Args:
            samples: The samples.
            weights: Their weights.
            has_zeros: Whether a weight may be 0. Not looking for them is faster.

        Raises:
            ValueError: In eager execution, if there are more than `capacity`.
        """
        rows = ops.concatenate([samples, ops.expand_dims(weights, axis=-1)], axis=-1)
        number = ops.shape(rows)[0]
        if has_zeros:
            absent = ops.cast(ops.equal(weights, 0), "int32")
            number = number - ops.sum(absent)
            # Absent samples last: sorting keeps the order of equal integers.
            rows = ops.take(rows, ops.argsort(absent), axis=0)
        seen = ops.minimum(self._count.value + number, _MOST_COUNTED)
        self._check(seen)
        vector = ops.reshape(ops.cast(rows, self.dtype), (-1,))
        joined = ops.concatenate([self._rows.value, vector])
        start = ops.cast(number, "int32") * self._width
        self._rows.assign(ops.slice(joined, (start,), self._rows.shape))
        self._count.assign(seen)

    def read(self) -> tuple[Tensor, Tensor]:
        """Return samples `(columns, capacity)` and weights `(capacity,)`."""
        columns = ops.transpose(self._matrix())
        return columns[:-1], columns[-1]

    def checked(self, result: Tensor) -> Tensor:
        """Return `result`, or NaN if samples are missing from it.

        Samples are missing if there were more than `capacity`, or if the buffers of
        several replicas were summed. A sample with a NaN also makes it NaN.
        """
        rows = self._matrix()
        kept = ops.sum(ops.cast(ops.not_equal(rows[:, -1], 0), "int32"))
        sound = ops.equal(kept, self._count.value) & ~ops.any(ops.isnan(rows))
        return ops.where(sound, result, float("nan"))

    def warn_of_lost_samples(self) -> None:
        """Warn if there were more than `capacity`; called before they are discarded."""
        # A sum, since NumPy cannot read a variable of several replicas.
        count = ops.add(self._count.value, 0)
        seen = _checks.first_offender(count, count <= self._capacity)
        if seen is not None:
            warnings.warn(
                f"{self._owner} has seen {seen} {self._what} since its last reset, "
                f"but keeps {self._capacity}, so its result was NaN. Pass "
                f"`capacity={seen}` or more.",
                stacklevel=3,
            )

    def _matrix(self) -> Tensor:
        return ops.reshape(self._rows.value, (self._capacity, self._width))

    def _check(self, seen: Tensor) -> None:
        number = _checks.first_offender(seen, seen <= self._capacity)
        if number is not None:
            raise ValueError(
                f"{self._owner} expects at most `capacity={self._capacity}` "
                f"{self._what} between two resets. Received: {number} {self._what}. "
                f"Pass `capacity={number}` or more, or call `reset_state` more often."
            )
