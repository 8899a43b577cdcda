"""Viterbi decoder: reads the best sequence of tags from potentials."""

import keras

from keras_ext import _checks, _linear_chain
from keras_ext._types import Config, Shape, Tensor
from keras_ext.layers.viterbi_decode import check_length, viterbi_decode


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
        unroll: Boolean. Whether to write the steps out, as that argument of
            `keras.layers.RNN` does, instead of computing them in a loop. The number of
            steps must then be known. For formats that have no such loop: ONNX, LiteRT.
            Default: `False`.
        **kwargs: `name` of `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor, the potentials.

    Input shape:
        `(batch, time, tags, tags)`.

    Output shape:
        `(batch, time)`, int32.

    Raises:
        ValueError: If `unroll` is not a boolean; on build, if the input does not have
            the shape of potentials, or with `unroll` an unknown number of steps.

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

    Any export format can hold the decoder with `unroll=True`; without, only formats
    that have TensorFlow's loops, such as a SavedModel.
    """

    def __init__(self, *, unroll: bool = False, **kwargs: object) -> None:
        super().__init__(autocast=False, **kwargs)
        self.unroll = _checks.one_of("unroll", unroll, (True, False))

    def build(self, input_shape: Shape) -> None:
        """Check the shape; there are no weights."""
        _linear_chain.check_shape(self.name, input_shape)
        if self.unroll:
            check_length(self.name, input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        """Return the tags of the best sequences."""
        return viterbi_decode(inputs, unroll=self.unroll)[0]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the tags."""
        return input_shape[:2]

    def compute_output_spec(self, inputs: Tensor) -> keras.KerasTensor:
        """Return the shape and dtype of the tags."""
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), "int32")

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {**super().get_config(), "unroll": self.unroll}
