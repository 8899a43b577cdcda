"""LSTM cell with layer normalization."""

from typing import Any

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Activation, Config, Initializer, Shape, Tensor
from keras_ext.layers._options import fresh_initializer, sublayer_options
from keras_ext.layers._recurrent_cell import RecurrentCell


@keras.saving.register_keras_serializable(package="keras_ext")
class LayerNormLSTMCell(RecurrentCell):
    """`keras.layers.LSTMCell` with layer normalization of its gates and its state.

    For recurrent networks that train faster and stay stable over long sequences. It
    is a cell: `keras.layers.RNN` makes a layer for sequences of it. Three
    normalizations `LN`, each with its own scale and offset, act on what comes from the
    input, on what comes from the step before, and on the cell state `c`:

    `z = LN(x · kernel) + LN(h · recurrent_kernel) + bias`

    `c_new = sigmoid(z_f) * c + sigmoid(z_i) * tanh(z_c)`

    `h_new = sigmoid(z_o) * tanh(LN(c_new))`

    `z_i`, `z_f`, `z_c` and `z_o` are the four quarters of `z`, in this order.

    Reference: J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer Normalization", 2016,
    https://arxiv.org/abs/1607.06450, equations 20 to 22.

    Args:
        units: Positive integer. Size of the output and of both states.
        activation: Activation of the cell state. Default: `"tanh"`.
        recurrent_activation: Activation of the gates. Default: `"sigmoid"`.
        use_bias: Whether there is a bias. Default: `True`.
        dropout: Float in [0, 1). Share of the inputs to drop in training. Default: 0.
        recurrent_dropout: Float in [0, 1). Share of the states `h` to drop in training.
            Default: 0.
        epsilon: Positive float. Added to the variances. Default: 0.001.
        gamma_initializer: Initializer of the scales. Default: `"ones"`.
        beta_initializer: Initializer of the offsets. Default: `"zeros"`.
        normalize_carry: Whether the next step gets the normalized cell state instead of
            `c_new`, as in TensorFlow Addons. Default: `False`, as in the paper.
        **kwargs: The other arguments of `keras.layers.LSTMCell`: its initializers,
            regularizers and constraints, `unit_forget_bias` and `seed`; `name`,
            `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor, one step of every sequence.
        states: List of two float tensors, `h` and `c` of the step before.
        training: Boolean. Whether to drop. Default: `False`; inside a layer or model,
            it follows the caller.

    Input shape:
        `(batch, features)`, and `(batch, units)` for both states. `features` must be
        known.

    Output shape:
        `(batch, units)`, and a list of the new states, which have the same shape.

    Raises:
        ValueError: If an argument is out of range; on build, if the input is not of
            rank 2 or its number of features is unknown.
        TypeError: If an activation is a layer.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_ext.layers import LayerNormLSTMCell
    >>> layer = keras.layers.RNN(LayerNormLSTMCell(4), return_sequences=True)
    >>> tuple(layer(np.ones((2, 10, 8), "float32")).shape)
    (2, 10, 4)
    >>> [weight.name for weight in layer.weights][:5]
    ['kernel', 'recurrent_kernel', 'bias', 'gamma', 'beta']

    In `keras.layers.RNN`, masks leave steps out, and dropout is that of
    `keras.layers.LSTMCell`: the masks of a sequence are the same at all of its steps.
    In a loop written by hand, a cell keeps them until `reset_dropout_mask` and
    `reset_recurrent_dropout_mask` are called. Under a mixed-precision policy the
    normalizations are computed in float32.

    The default of `recurrent_initializer` is Keras's, which on TensorFlow cannot make
    weights in bfloat16.
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
        epsilon: float = 1e-3,
        gamma_initializer: Initializer = "ones",
        beta_initializer: Initializer = "zeros",
        normalize_carry: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units,
            activation,
            recurrent_activation,
            use_bias,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            **kwargs,
        )
        self.epsilon = _checks.number("epsilon", epsilon, low=0, open_low=True)
        self.gamma_initializer = keras.initializers.get(gamma_initializer)
        self.beta_initializer = keras.initializers.get(beta_initializer)
        self.normalize_carry = _checks.one_of(
            "normalize_carry", normalize_carry, (True, False)
        )

    def build(self, input_shape: Shape) -> None:
        """Create the weights of the cell and of the three normalizations."""
        super().build(input_shape)
        self.kernel_norm = self._norm("kernel_norm", 4 * self.units)
        self.recurrent_norm = self._norm("recurrent_norm", 4 * self.units)
        self.state_norm = self._norm("state_norm", self.units)

    def call(
        self, inputs: Tensor, states: list[Tensor], training: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the output of a step, and the list of the new states."""
        hidden, carry = states
        of_inputs, of_hidden = self._products(inputs, hidden, training)
        z = self.kernel_norm(of_inputs) + self.recurrent_norm(of_hidden)
        if self.use_bias:
            z = z + self.bias
        write, keep, new, show = ops.split(z, 4, axis=-1)
        carry = self.recurrent_activation(keep) * carry
        carry = carry + self.recurrent_activation(write) * self.activation(new)
        normalized = self.state_norm(carry)
        hidden = self.recurrent_activation(show) * self.activation(normalized)
        return hidden, [hidden, normalized if self.normalize_carry else carry]

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "epsilon": self.epsilon,
            "gamma_initializer": keras.initializers.serialize(self.gamma_initializer),
            "beta_initializer": keras.initializers.serialize(self.beta_initializer),
            "normalize_carry": self.normalize_carry,
        }

    def _norm(self, name: str, size: int) -> keras.Layer:
        norm = keras.layers.LayerNormalization(
            epsilon=self.epsilon,
            gamma_initializer=fresh_initializer(self.gamma_initializer),
            beta_initializer=fresh_initializer(self.beta_initializer),
            name=name,
            **sublayer_options(self),
        )
        norm.build((None, size))
        return norm
