"""Recurrent cell that was found by a search for architectures."""

from typing import Any

import keras
from keras import ops

from keras_ext import _checks
from keras_ext._types import Config, Initializer, Regularizer, Shape, Tensor
from keras_ext.layers._recurrent_cell import RecurrentCell

_NODES = 8
_FIXED = ("activation", "recurrent_activation", "unit_forget_bias")


@keras.saving.register_keras_serializable(package="keras_ext")
class NASCell(RecurrentCell):
    """Recurrent cell that a search for architectures found for language models.

    A replacement for an LSTM cell, with twice the weights: eight nodes see input and
    state, and a tree combines them in pairs. It is a cell: `keras.layers.RNN` makes a
    layer for sequences of it. With `m = h · recurrent_kernel + bias` and `x · kernel`
    cut into eight parts each, the nodes are

    `n_k = act_k(x_k + m_k)`, except for `n_3 = relu(x_3 * m_3)`

    where `act_k` is `sigmoid` for `k` of 0, 2, 5 and 7, `relu` for 1, and `tanh` for 4
    and 6. Their pairs become the new cell state and output:

    `c_new = tanh(tanh(n_0 * n_1) + c) * tanh(n_2 + n_3)`

    `h_new = tanh(c_new * tanh(tanh(n_4 * n_5) + sigmoid(n_6 + n_7)))`

    With `projection`, the output is `h_new · projection_kernel`, and so is the state
    `h`.

    Reference: B. Zoph, Q. V. Le, "Neural Architecture Search with Reinforcement
    Learning", 2016, https://arxiv.org/abs/1611.01578: the cell of figure 8 that was
    found without max and sin. Bias and projection are those of TensorFlow Addons.

    Args:
        units: Positive integer. Size of the cell state, and of the output without
            `projection`.
        projection: Positive integer. Size of the output and of the state `h`. Default:
            `None`, no projection.
        use_bias: Whether there is a bias. Default: `False`.
        kernel_initializer: Initializer of the kernel of the input. Default:
            `"glorot_uniform"`.
        recurrent_initializer: Initializer of the kernel of the state. Default:
            `"glorot_uniform"`.
        bias_initializer: Initializer of the bias. Default: `"zeros"`.
        projection_initializer: Initializer of the kernel of the projection. Default:
            `"glorot_uniform"`.
        projection_regularizer: Regularizer of this kernel. Default: `None`.
        projection_constraint: Constraint of this kernel. Default: `None`.
        dropout: Float in [0, 1). Share of the inputs to drop in training. Default: 0.
        recurrent_dropout: Float in [0, 1). Share of the states `h` to drop in training.
            Default: 0.
        **kwargs: Regularizers and constraints of `keras.layers.LSTMCell`, `seed`;
            `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor, one step of every sequence.
        states: List of two float tensors, `h` and `c` of the step before.
        training: Boolean. Whether to drop. Default: `False`; inside a layer or model,
            it follows the caller.

    Input shape:
        `(batch, features)`; `(batch, outputs)` for the state `h`, where `outputs` is
        `projection`, or `units` without one; `(batch, units)` for the state `c`.
        `features` must be known.

    Output shape:
        `(batch, outputs)`, and a list of the new states.

    Raises:
        ValueError: If an argument is out of range; on build, if the input is not of
            rank 2 or its number of features is unknown.
        TypeError: If an activation or `unit_forget_bias` is given.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_ext.layers import NASCell
    >>> layer = keras.layers.RNN(NASCell(4, projection=3), return_state=True)
    >>> [tuple(x.shape) for x in layer(np.ones((2, 10, 8), "float32"))]
    [(2, 3), (2, 3), (2, 4)]
    >>> [tuple(weight.shape) for weight in layer.weights]
    [(3, 32), (8, 32), (4, 3)]

    In `keras.layers.RNN`, masks leave steps out, and dropout is that of
    `keras.layers.LSTMCell`: the masks of a sequence are the same at all of its steps,
    and with recurrent dropout each node has its own. In a loop written by hand, a cell
    keeps them until `reset_dropout_mask` and `reset_recurrent_dropout_mask` are called.
    """

    def __init__(
        self,
        units: int,
        projection: int | None = None,
        use_bias: bool = False,
        *,
        kernel_initializer: Initializer = "glorot_uniform",
        recurrent_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        projection_initializer: Initializer = "glorot_uniform",
        projection_regularizer: Regularizer = None,
        projection_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        for name in _FIXED:
            if name in kwargs:
                raise TypeError(
                    f"NASCell has no `{name}`: the functions of its nodes are fixed, "
                    f"and it has no forget gate. Received: {name}={kwargs[name]!r}"
                )
        super().__init__(
            units,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            **kwargs,
        )
        self.projection = _checks.optional(
            _checks.positive_int, "projection", projection
        )
        self.projection_initializer = keras.initializers.get(projection_initializer)
        self.projection_regularizer = keras.regularizers.get(projection_regularizer)
        self.projection_constraint = keras.constraints.get(projection_constraint)
        self.output_size = self.projection or self.units
        # Keras takes the first state for the output, where a mask repeats one.
        self.state_size = [self.output_size, self.units]
        if self.recurrent_dropout:
            self.dropout_mask_count = _NODES

    def build(self, input_shape: Shape) -> None:
        """Create the kernels, the bias and the kernel of the projection."""
        features, width = self._check_input(input_shape), _NODES * self.units
        self.recurrent_kernel = self._weight(
            "recurrent_kernel", (self.output_size, width), "recurrent"
        )
        self.kernel = self._weight("kernel", (features, width), "kernel")
        self.bias = self.projection_kernel = None
        if self.use_bias:
            self.bias = self._weight("bias", (width,), "bias")
        if self.projection:
            self.projection_kernel = self._weight(
                "projection_kernel", (self.units, self.projection), "projection"
            )

    def call(
        self, inputs: Tensor, states: list[Tensor], training: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the output of a step, and the list of the new states."""
        hidden, carry = states
        of_inputs, of_hidden = self._products(inputs, hidden, training)
        if self.use_bias:
            of_hidden = of_hidden + self.bias
        x = ops.split(of_inputs, _NODES, axis=-1)
        m = ops.split(of_hidden, _NODES, axis=-1)
        tanh, sigmoid = ops.tanh, ops.sigmoid
        first = tanh(sigmoid(x[0] + m[0]) * ops.relu(x[1] + m[1]))
        second = tanh(sigmoid(x[2] + m[2]) + ops.relu(x[3] * m[3]))
        third = tanh(tanh(x[4] + m[4]) * sigmoid(x[5] + m[5]))
        fourth = sigmoid(tanh(x[6] + m[6]) + sigmoid(x[7] + m[7]))
        carry = tanh(first + carry) * second
        hidden = tanh(carry * tanh(third + fourth))
        if self.projection:
            hidden = ops.matmul(hidden, self.projection_kernel)
        return hidden, [hidden, carry]

    def get_config(self) -> Config:
        """Return the constructor arguments."""
        config = super().get_config()
        return {
            **{name: value for name, value in config.items() if name not in _FIXED},
            "projection": self.projection,
            "projection_initializer": keras.initializers.serialize(
                self.projection_initializer
            ),
            "projection_regularizer": keras.regularizers.serialize(
                self.projection_regularizer
            ),
            "projection_constraint": keras.constraints.serialize(
                self.projection_constraint
            ),
        }

    def _weight(self, name: str, shape: tuple[int, ...], kind: str) -> keras.Variable:
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=getattr(self, f"{kind}_initializer"),
            regularizer=getattr(self, f"{kind}_regularizer"),
            constraint=getattr(self, f"{kind}_constraint"),
        )
