"""Gradients as `update_step` receives them: whole, or of some rows."""

from typing import Any

from keras import ops

from keras_ext._types import Tensor


def dense(gradient: Any, variable: Any, dtype: Any = None) -> Tensor:
    """Return a gradient as a tensor; rows that occur more than once are summed.

    With the TensorFlow backend, the gradient of an embedding is a `tf.IndexedSlices`,
    and a row that was looked up twice occurs in it twice. `ops.square` would square
    each of both, not their sum.

    Args:
        gradient: A tensor, or a `tf.IndexedSlices`.
        variable: What it is the gradient of.
        dtype: The dtype to return. Default: that of the variable.
    """
    if is_sparse(gradient):
        gradient = ops.segment_sum(
            gradient.values, gradient.indices, num_segments=variable.shape[0]
        )
    return ops.cast(gradient, dtype or variable.dtype)


def is_sparse(gradient: Any) -> bool:
    """Return whether a gradient is a `tf.IndexedSlices`."""
    return hasattr(gradient, "indices") and hasattr(gradient, "dense_shape")


class Rows:
    """The rows of a variable that have a gradient.

    A row that occurs more than once in `gradient` does so here, too, each time with the
    whole sum: what is written to it is then the same each time. All shapes are known
    before the values are, as XLA requires.

    Args:
        gradient: A `tf.IndexedSlices`.

    Attributes:
        gradient: The sums, a tensor with a row for each of `gradient`.
    """

    def __init__(self, gradient: Any) -> None:
        order = ops.argsort(gradient.indices)
        self._indices = ops.take(gradient.indices, order)
        # Without a first row, which is compared with the last, nothing is special.
        begins = ops.not_equal(self._indices, ops.roll(self._indices, 1))
        segments = ops.cumsum(ops.cast(begins, "int32"))
        sums = ops.segment_sum(
            ops.take(gradient.values, order, axis=0),
            segments,
            num_segments=ops.shape(segments)[0] + 1,
        )
        self.gradient = ops.take(sums, segments, axis=0)
        self._slices = type(gradient)
        self._shape = gradient.dense_shape

    def of(self, variable: Any) -> Tensor:
        """Return these rows of a variable, if possible without reading the others."""
        inner = getattr(variable, "value", variable)
        inner = inner if hasattr(inner, "assign") else variable
        try:
            return inner.sparse_read(self._indices)
        except AttributeError:
            # What a variable with a component per replica raises, as `tf.gather` knows.
            return ops.take(inner, self._indices, axis=0)

    def slices(self, values: Tensor) -> Any:
        """Return a `tf.IndexedSlices` with these rows."""
        return self._slices(values, self._indices, self._shape)
