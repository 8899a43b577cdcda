"""LSTM cell whose gates see the cell state."""

from typing import Any

import keras
from keras import ops

from keras_ext._types import (
    Activation,
    Config,
    Initializer,
    Regularizer,
    Shape,
    Tensor,
)
from keras_ext.layers._options import fresh_initializer
from keras_ext.layers._recurrent_cell import RecurrentCell


@keras.saving.register_keras_serializable(package="keras_ext")
class PeepholeLSTMCell(RecurrentCell):
    """`keras.layers.LSTMCell` whose gates see the cell state.

    For sequences in which exact times matter, such as spikes to be counted or rhythms:
    a gate can wait until the cell state reaches a level, also while the output gate
    hides it. It is a cell: `keras.layers.RNN` makes a layer for sequences of it. With
    `z = x · kernel + h · recurrent_kernel + bias`, and one weight per unit in `p_i`,
    `p_f` and `p_o`:

    `c_new = sigmoid(z_f + p_f * c) * c + sigmoid(z_i + p_i * c) * tanh(z_c)`

    `h_new = sigmoid(z_o + p_o * c_new) * tanh(c_new)`

    `z_i`, `z_f`, `z_c` and `z_o` are the four quarters of `z`, in this order.

    Reference: F. A. Gers, J. Schmidhuber, "Recurrent Nets that Time and Count", 2000,
    https://doi.org/10.1109/IJCNN.2000.861302. The `tanh` of the output, which they
    leave out, is that of H. Sak, A. Senior, F. Beaufays, "Long Short-Term Memory Based
    Recurrent Neural Network Architectures for Large Vocabulary Speech Recognition",
    2014, https://arxiv.org/abs/1402.1128.

    Args:
        units: Positive integer. Size of the output and of both states.
        activation: Activation of the cell state. Default: `"tanh"`.
        recurrent_activation: Activation of the gates. Default: `"sigmoid"`.
        use_bias: Whether there is a bias. Default: `True`.
        dropout: Float in [0, 1). Share of the inputs to drop in training. Default: 0.
        recurrent_dropout: Float in [0, 1). Share of the states `h` to drop in training;
            what the gates see of the cell state is not dropped. Default: 0.
        peephole_initializer: Initializer of the three peephole weights. Default:
            `"glorot_uniform"`.
        peephole_regularizer: Regularizer of the peephole weights. Default: `None`.
        peephole_constraint: Constraint of the peephole weights. Default: `None`.
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
    >>> from keras_ext.layers import PeepholeLSTMCell
    >>> layer = keras.layers.RNN(PeepholeLSTMCell(4), return_state=True)
    >>> [tuple(x.shape) for x in layer(np.ones((2, 10, 8), "float32"))]
    [(2, 4), (2, 4), (2, 4)]
    >>> [weight.name for weight in layer.weights][3:]
    ['input_gate_peephole', 'forget_gate_peephole', 'output_gate_peephole']

    With peephole weights of 0 it is `keras.layers.LSTMCell`.

    In `keras.layers.RNN`, masks leave steps out, and dropout is that of
    `keras.layers.LSTMCell`: the masks of a sequence are the same at all of its steps.
    In a loop written by hand, a cell keeps them until `reset_dropout_mask` and
    `reset_recurrent_dropout_mask` are called.

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
        peephole_initializer: Initializer = "glorot_uniform",
        peephole_regularizer: Regularizer = None,
        peephole_constraint: Any = None,
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
        self.peephole_initializer = keras.initializers.get(peephole_initializer)
        self.peephole_regularizer = keras.regularizers.get(peephole_regularizer)
        self.peephole_constraint = keras.constraints.get(peephole_constraint)

    def build(self, input_shape: Shape) -> None:
        """Create the weights of the cell and one peephole weight per gate and unit."""
        super().build(input_shape)
        self.input_gate_peephole = self._peephole("input")
        self.forget_gate_peephole = self._peephole("forget")
        self.output_gate_peephole = self._peephole("output")

    def call(
        self, inputs: Tensor, states: list[Tensor], training: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the output of a step, and the list of the new states."""
        hidden, carry = states
        of_inputs, of_hidden = self._products(inputs, hidden, training)
        z = of_inputs + of_hidden
        if self.use_bias:
            z = z + self.bias
        write, keep, new, show = ops.split(z, 4, axis=-1)
        write = self.recurrent_activation(write + self.input_gate_peephole * carry)
        keep = self.recurrent_activation(keep + self.forget_gate_peephole * carry)
        carry = keep * carry + write * self.activation(new)
        show = self.recurrent_activation(show + self.output_gate_peephole * carry)
        hidden = show * self.activation(carry)
        return hidden, [hidden, carry]

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "peephole_initializer": keras.initializers.serialize(
                self.peephole_initializer
            ),
            "peephole_regularizer": keras.regularizers.serialize(
                self.peephole_regularizer
            ),
            "peephole_constraint": keras.constraints.serialize(
                self.peephole_constraint
            ),
        }

    def _peephole(self, gate: str) -> keras.Variable:
        return self.add_weight(
            name=f"{gate}_gate_peephole",
            shape=(self.units,),
            initializer=fresh_initializer(self.peephole_initializer),
            regularizer=self.peephole_regularizer,
            constraint=self.peephole_constraint,
        )
