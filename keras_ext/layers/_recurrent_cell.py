"""What the cells of `keras.layers.RNN` share: checks, dropout and shapes."""

from typing import Any

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Activation, Shape, Tensor
from keras_ext.layers._options import resolve_activation


class RecurrentCell(keras.layers.LSTMCell):
    """Checks the arguments of an LSTM cell, and multiplies with dropout.

    `keras.layers.RNN` draws the dropout masks of a sequence before its first step,
    which a compiled loop needs, only for cells that derive from one of Keras's: hence
    the base class, also of a cell that is no LSTM.
    """

    def __init__(
        self,
        units: int,
        activation: Activation = "tanh",
        recurrent_activation: Activation = "sigmoid",
        use_bias: bool = True,
        *,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            _checks.positive_int("units", units),
            resolve_activation("activation", activation),
            resolve_activation("recurrent_activation", recurrent_activation),
            _checks.one_of("use_bias", use_bias, (True, False)),
            dropout=_rate("dropout", dropout),
            recurrent_dropout=_rate("recurrent_dropout", recurrent_dropout),
            **kwargs,
        )

    def build(self, input_shape: Shape) -> None:
        """Create the kernels and the bias, those of `keras.layers.LSTMCell`."""
        self._check_input(input_shape)
        super().build(input_shape)

    def compute_output_shape(
        self, inputs_shape: Shape, states_shape: Any = None
    ) -> tuple[Shape, list[Shape]]:
        """Return the shape of the output and those of the states."""
        batch = inputs_shape[0]
        return (batch, self.output_size), [(batch, size) for size in self.state_size]

    def _check_input(self, shape: Shape) -> int:
        """Return the number of features, or raise if the shape is not that of a step.

        Raises:
            ValueError: If the input is not of rank 2, or its last axis is not known.
        """
        _checks.rank(self.name, shape, 2, "(batch, features)")
        features = _checks.known_channels(self.name, shape, -1)
        self.input_spec = keras.InputSpec(ndim=2, axes={-1: features})
        return features

    def _products(
        self, inputs: Tensor, hidden: Tensor, training: bool
    ) -> tuple[Tensor, Tensor]:
        """Return `inputs · kernel` and `hidden · recurrent_kernel`, with dropout."""
        of_inputs = of_hidden = None
        if training and self.dropout:
            of_inputs = self.get_dropout_mask(inputs)
        if training and self.recurrent_dropout:
            of_hidden = self.get_recurrent_dropout_mask(hidden)
        return (
            _product(inputs, self.kernel, of_inputs),
            _product(hidden, self.recurrent_kernel, of_hidden),
        )


def _rate(name: str, value: float) -> float:
    return _checks.number(name, value, low=0, high=1, open_high=True)


def _product(x: Tensor, kernel: Tensor, masks: Tensor | list[Tensor] | None) -> Tensor:
    """Return `x · kernel`, with a mask on `x`, or one for each part of the kernel."""
    if masks is None:
        return ops.matmul(x, kernel)
    if not isinstance(masks, list):
        return ops.matmul(x * masks, kernel)
    parts = ops.split(kernel, len(masks), axis=-1)
    pairs = zip(masks, parts, strict=True)
    return ops.concatenate([ops.matmul(x * mask, part) for mask, part in pairs], -1)
