"""Viterbi decoder: reads the best sequence of tags from potentials."""

import keras

from keras_ext import _linear_chain
from keras_ext._types import Shape, Tensor
from keras_ext.layers.viterbi_decode import viterbi_decode


@keras.saving.register_keras_serializable(package="keras_ext")
class ViterbiDecoder(keras.layers.Layer):
    """Reads the best sequence of tags from the potentials that `CRF` returns.

    Place it after `CRF` for inference, in a separate model that shares the layers of
    the trained one: `keras.Model(inputs, ViterbiDecoder()(potentials))`. Of all
    sequences of tags it returns the one with the highest score:

    `output = argmax over y of sum over t of potentials[t, y[t - 1], y[t]]`

    where `y[-1]` is 0. Of equal scores it takes the lowest tag, at the last step first.

    Reference: A. Viterbi, "Error Bounds for Convolutional Codes and an Asymptotically
    Optimum Decoding Algorithm", 1967, https://doi.org/10.1109/TIT.1967.1054010.

    Args:
        **kwargs: `name` of `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor, the potentials.

    Input shape:
        `(batch, time, tags, tags)`.

    Output shape:
        `(batch, time)`, int32.

    Raises:
        ValueError: On build, if the input does not have the shape of potentials.

    Example:

    >>> import numpy as np
    >>> from keras_ext.layers import CRF, ViterbiDecoder
    >>> potentials = CRF(2, transition_initializer="identity")(
    ...     np.array([[[0.0, 2.0], [0.5, 0.0], [0.0, 2.0]]])
    ... )
    >>> [int(tag) for tag in ViterbiDecoder()(potentials)[0]]
    [1, 1, 1]

    Masked steps are recognized by their potentials. They get the tag of the step
    before, and 0 at the beginning. Half-precision inputs are computed in float32. There
    is no gradient.

    A TensorFlow SavedModel can hold the decoder; ONNX, LiteRT and OpenVINO have no
    operations for it. For these, export the model up to `CRF`, and decode its output
    with `keras_ext.layers.viterbi_decode`.
    """

    def __init__(self, **kwargs: object) -> None:
        super().__init__(autocast=False, **kwargs)

    def build(self, input_shape: Shape) -> None:
        """Check the shape; there are no weights."""
        _linear_chain.check_shape(self.name, input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        """Return the tags of the best sequences."""
        return viterbi_decode(inputs)[0]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the tags."""
        return input_shape[:2]

    def compute_output_spec(self, inputs: Tensor) -> keras.KerasTensor:
        """Return the shape and dtype of the tags."""
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), "int32")
