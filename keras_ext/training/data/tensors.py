"""Conversion of arrays for a step: to tensors, with floats in `floatx`."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf


def to_tensor(array: Any) -> Any:
    """Return `array` as a tensor, floats in `keras.config.floatx()`; `None` stays.

    Ragged and sparse tensors keep their type, and a sparse matrix of SciPy becomes a
    sparse tensor.
    """
    if array is None:
        return None
    if isinstance(array, tf.Tensor):
        return in_floatx(array)
    if isinstance(array, (keras.Variable, tf.Variable)):
        # Tensors according to `tf.is_tensor`, but not to a trace.
        array = tf.convert_to_tensor(array)
    elif is_sparse_matrix(array):
        array = _sparse_tensor(array)
    elif not tf.is_tensor(array):
        if isinstance(array, np.ndarray) and array.dtype == np.dtype("O"):
            return in_floatx(_of_objects(array))
        array = _of_numbers(array)
    if isinstance(array, (tf.Tensor, tf.RaggedTensor, tf.SparseTensor)):
        return in_floatx(array)
    return array


def _of_numbers(array: Any) -> tf.Tensor:
    try:
        return tf.convert_to_tensor(array)
    except ValueError as error:
        if not isinstance(array, np.ndarray):
            raise
        raise ValueError(
            f"An array of dtype {array.dtype}, of shape {array.shape}, could not be "
            "converted. Expected: an array of numbers, such as "
            f"`x.astype('float32')`. TensorFlow says: {error}"
        ) from None


def _of_objects(array: np.ndarray) -> tf.Tensor:
    """Convert an array of objects, which pandas creates, as the list of its rows."""
    try:
        return tf.convert_to_tensor(array.tolist())
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"An array of Python objects, of shape {array.shape}, could not be "
            "converted. Expected: numbers, or rows of numbers of the same length. "
            "Make it an array of numbers; pad rows that differ "
            "(`keras.utils.pad_sequences`), or pass `tf.ragged.constant(...)`. "
            f"TensorFlow says: {error}"
        ) from None


def in_floatx(tensor: Any) -> Any:
    """Return a tensor of any kind, with floats cast to `keras.config.floatx()`."""
    floatx, dtype = keras.config.floatx(), tensor.dtype
    if dtype.is_floating and dtype.name != floatx:
        return tf.cast(tensor, floatx)
    return tensor


def is_sparse_matrix(array: Any) -> bool:
    """Whether `array` is a sparse matrix of SciPy or can become one."""
    return hasattr(array, "tocsr")


def canonical_rows(matrix: Any) -> Any:
    """Return a sparse matrix in compressed rows, each column once and in order."""
    if len(matrix.shape) != 2:
        raise ValueError(
            "A sparse array must have two axes, samples and features. Received: "
            f"{type(matrix).__name__} of shape {tuple(matrix.shape)}"
        )
    rows = matrix.tocsr()
    if not rows.has_canonical_format:
        # The next line works in place, but the matrix is the user's.
        rows = rows.copy() if rows is matrix else rows
        rows.sum_duplicates()
    return rows


def _sparse_tensor(matrix: Any) -> tf.SparseTensor:
    rows = canonical_rows(matrix)
    first = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    indices = np.stack([first, rows.indices], axis=1).astype("int64")
    return tf.SparseTensor(indices, rows.data, rows.shape)
