"""Sparse data on the host, with rows taken by number."""

from typing import Any

import numpy as np
import tensorflow as tf

from keras_ext.training.data.tensors import canonical_rows, in_floatx, is_sparse_matrix


class SparseRows:
    """The rows (first axis) of a sparse matrix or tensor, never made dense.

    Args:
        starts: For every row, the position of its first value; and the end of the last
            row.
        inner: The indices of the values on the other axes, row by row.
        values: The values.
        shape: The shape of the data.
    """

    def __init__(
        self,
        starts: np.ndarray,
        inner: np.ndarray,
        values: np.ndarray,
        shape: tuple[int, ...],
    ) -> None:
        self.shape = shape
        self._starts = starts
        self._inner = inner
        self._values = values

    @classmethod
    def of(cls, data: Any) -> "SparseRows":
        """Return the rows of a `tf.SparseTensor` or of a sparse matrix of SciPy."""
        if is_sparse_matrix(data):
            rows = canonical_rows(data)
            return cls(rows.indptr, rows.indices[:, None], rows.data, rows.shape)
        data = tf.sparse.reorder(data)
        indices, shape = data.indices.numpy(), tuple(data.dense_shape.numpy().tolist())
        starts = np.searchsorted(indices[:, 0], np.arange(shape[0] + 1))
        return cls(starts, indices[:, 1:], data.values.numpy(), shape)

    def __getitem__(self, rows: slice) -> "SparseRows":
        begin, end, _ = rows.indices(self.shape[0])
        # They count from the first of all values, so a part can share them.
        starts = self._starts[begin : end + 1]
        return SparseRows(
            starts, self._inner, self._values, (end - begin, *self.shape[1:])
        )

    def take(self, rows: np.ndarray) -> tf.SparseTensor:
        """Return the rows with the numbers `rows`, floats in `floatx`."""
        begins = self._starts[rows]
        counts = self._starts[rows + 1] - begins
        # For every row, the position of its first value in the result and in the data.
        first = np.cumsum(counts) - counts
        places = np.repeat(begins - first, counts) + np.arange(counts.sum())
        row_numbers = np.repeat(np.arange(len(rows)), counts)[:, None]
        indices = np.concatenate([row_numbers, self._inner[places]], axis=1)
        shape = (len(rows), *self.shape[1:])
        return in_floatx(
            tf.SparseTensor(indices.astype("int64"), self._values[places], shape)
        )


def is_sparse(data: Any) -> bool:
    """Whether `data` is sparse: from TensorFlow, from SciPy, or rows of these."""
    return isinstance(data, (SparseRows, tf.SparseTensor)) or is_sparse_matrix(data)
