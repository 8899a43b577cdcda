"""Sparsemax: probabilities, most of which are exactly zero."""

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._numerics import highest
from keras_ext._types import Config, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_ext")
class Sparsemax(keras.layers.Layer):
    """Turns scores into probabilities, as softmax does, but sparse ones.

    Entries far below the largest get probability 0, exactly, where softmax leaves each
    a little: for attention to a few positions, or for a classifier that rules classes
    out. `keras_ext.losses.Sparsemax` is the matching loss, which takes the inputs of
    this layer. The output is the point of the simplex nearest to the input:

    `output = max(input - tau, 0)`, with `tau` such that the entries sum to 1

    Its gradient subtracts from the entries above 0 their mean, and is 0 elsewhere.

    Reference: A. F. T. Martins, R. F. Astudillo, "From Softmax to Sparsemax: A Sparse
    Model of Attention and Multi-Label Classification", 2016,
    https://arxiv.org/abs/1602.02068.

    Args:
        axis: Axis along which the outputs sum to 1. Default: -1.
        **kwargs: `name`, `dtype` of `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor, scores. An entry of `-inf` is left out: it gets 0, and the
            others are what they would be without it.

    Input shape:
        `(batch, ...)`, of any size along any axis.

    Output shape:
        Same as the input.

    Raises:
        ValueError: If `axis` is not an integer; on build, if the input has no such
            axis.

    Example:

    >>> import numpy as np
    >>> from keras_ext.layers import Sparsemax
    >>> scores = np.array([[1.0, 0.5, -1.0], [3.0, 0.0, 0.0]], "float32")
    >>> np.array(Sparsemax()(scores)).tolist()
    [[0.75, 0.25, 0.0], [1.0, 0.0, 0.0]]

    Masks pass through. Half-precision inputs are computed in float32. Where all entries
    are `-inf`, or one is NaN, outputs are NaN. `keras.activations.sparsemax` of Keras
    3.15.1 and earlier returns different numbers, which do not sum to 1.
    """

    def __init__(self, axis: int = -1, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.axis = _checks.integer("axis", axis)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        """Check that the input has the axis; there are no weights."""
        _check_axis(self.name, self.axis, input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        """Return the probabilities."""
        return sparsemax(inputs, self.axis)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        return input_shape

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {**super().get_config(), "axis": self.axis}


def sparsemax(x: Tensor, axis: int = -1) -> Tensor:
    """Return the probabilities nearest to the scores `x`, most of them exactly 0.

    The function form of `Sparsemax`, which documents the formula, reference and errors.
    It can be the `activation` of a layer.

    Args:
        x: Scores, a tensor of any shape.
        axis: Axis along which the result sums to 1.

    Returns:
        Tensor of `x`'s shape, and of its dtype if that is a float, else float32.

    Example:

    >>> from keras_ext.layers import sparsemax
    >>> [float(value) for value in sparsemax([0.5, 0.25, 0.25, -1.0])]
    [0.5, 0.25, 0.25, 0.0]
    """
    x = ops.convert_to_tensor(x)
    _check_axis("sparsemax", axis, x.shape)
    dtype = keras.backend.standardize_dtype(x.dtype)
    z = ops.cast(x, keras.backend.result_type(dtype, "float32"))
    z -= ops.stop_gradient(highest(z, axis, keepdims=True))
    # All conditions treat NaN as inside, so that it is passed on.
    outside = z <= _threshold(ops.stop_gradient(z), axis)
    kept = ops.where(outside, 0.0, z)
    size = ops.sum(ops.cast(~outside, z.dtype), axis=axis, keepdims=True)
    tau = (ops.sum(kept, axis=axis, keepdims=True) - 1) / size
    p = kept - tau
    p = ops.where((outside & ~ops.isnan(tau)) | (p < 0), 0.0, p)
    return ops.cast(p, dtype) if "float" in dtype else p


def _threshold(z: Tensor, axis: int) -> Tensor:
    """Return `tau`, by algorithm 1 of the paper; the maxima of `z` are 0."""
    # No score below -1 exceeds `tau`. Clipped, it cannot swamp the sums, nor be -inf.
    ranked = -ops.sort(-ops.maximum(z, -1), axis=axis)
    rank = ops.cumsum(ops.ones_like(ranked), axis=axis)
    inside = 1 + rank * ranked > ops.cumsum(ranked, axis=axis)
    total = ops.sum(ops.where(inside, ranked, 0.0), axis=axis, keepdims=True)
    size = ops.sum(ops.cast(inside, z.dtype), axis=axis, keepdims=True)
    return (total - 1) / size


def _check_axis(owner: str, axis: int, shape: Shape) -> None:
    if not -len(shape) <= axis < len(shape):
        raise ValueError(
            f"{owner} sums to 1 along axis {axis}. "
            f"Received: an input of shape {tuple(shape)}, which has no such axis."
        )
