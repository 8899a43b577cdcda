"""`PeepholeLSTMCell` against the papers' formulas, Keras and TensorFlow Addons."""

import math

import keras
import numpy as np
import pytest

from keras_ext.layers import PeepholeLSTMCell
from tests.layers import cells
from tests.layers.weights import assert_close
from tests.reference import cells as reference

UNITS = 3


def linear(x):
    return x


@pytest.mark.parametrize("use_bias", [False, True])
def test_equals_the_formulas(use_bias):
    cell = cells.built(PeepholeLSTMCell(UNITS, use_bias=use_bias))
    x, states = cells.sequences(), cells.states_of(cell)
    wanted = cells.expected(reference.peephole_lstm, cell, x, states, use_bias=use_bias)
    cells.compare(cells.run(cell, x, states), wanted)


def test_equals_the_formulas_with_other_functions():
    cell = cells.built(PeepholeLSTMCell(UNITS, None, "tanh"))
    x, states = cells.sequences(), cells.states_of(cell)
    wanted = cells.expected(
        reference.peephole_lstm, cell, x, states, phi=linear, gate=math.tanh
    )
    cells.compare(cells.run(cell, x, states), wanted)


def test_equals_tensorflow_addons():
    # Computed with tfa.rnn.PeepholeLSTMCell of TensorFlow Addons 0.23.0, TensorFlow
    # 2.15.1; the weights are set in the order that they have there.
    outputs, h, c = cells.as_in_addons(PeepholeLSTMCell(2))
    assert_close(
        outputs[0],
        [[-0.0349236, -0.2997914], [0.1995545, -0.0672379], [0.4732203, -0.0450846]],
        1e-6,
    )
    assert_close(h, [[0.4732203, -0.0450846]], 1e-6)
    assert_close(c, [[0.9251369, -0.1453320]], 1e-6)


@pytest.mark.parametrize(
    "rates", [{}, {"dropout": 0.4}, {"dropout": 0.4, "recurrent_dropout": 0.3}]
)
def test_without_peepholes_it_equals_the_cell_of_keras(rates):
    cell = PeepholeLSTMCell(UNITS, peephole_initializer="zeros", seed=3, **rates)
    plain = keras.layers.LSTMCell(UNITS, seed=3, **rates)
    for one in (cell, plain):
        one.build((None, cells.FEATURES))
    plain.set_weights(cell.get_weights()[:3])
    x = cells.sequences()
    for _ in range(2):
        actual, wanted = (cells.run(one, x, training=True) for one in (cell, plain))
        cells.compare(actual, wanted, 1e-6)
    still = cells.run(cell, x)[0]
    assert bool(rates) == bool(np.abs(actual[0] - still).max() > 1e-3)


def test_a_closed_gate_opens_at_a_level_of_the_cell_state():
    cell = PeepholeLSTMCell(1, None, use_bias=True)
    cell.build((None, 1))
    # What is written adds up, and nothing but the cell state opens the output.
    kernel, bias = [[0.0, 0.0, 1.0, 0.0]], [100.0, 100.0, 0.0, -100.0]
    cell.set_weights(
        [np.array(one) for one in (kernel, np.zeros((1, 4)), bias, [0], [0], [40])]
    )
    outputs, _, _ = cells.run(cell, np.ones((1, 5, 1), "float32"))
    np.testing.assert_allclose(outputs[0, :, 0], [0, 0, 3, 4, 5], atol=1e-4)


def test_each_peephole_has_its_own_start():
    cell = PeepholeLSTMCell(50)
    cell.build((None, cells.FEATURES))
    _, _, _, i, f, o = cell.get_weights()
    assert len(np.unique([i, f, o])) == 150
    assert np.abs([i, f, o]).max() <= np.sqrt(6 / 100)


def test_peepholes_are_regularized_and_constrained():
    cell = PeepholeLSTMCell(
        UNITS,
        peephole_initializer=keras.initializers.Constant(-2.0),
        peephole_regularizer=keras.regularizers.L1(0.5),
        peephole_constraint="non_neg",
    )
    model = keras.Sequential([keras.Input((4, cells.FEATURES)), keras.layers.RNN(cell)])
    assert float(sum(model.losses)) == 0.5 * 2.0 * 3 * UNITS
    model.compile(keras.optimizers.SGD(0.0), loss="mse")
    model.fit(np.zeros((2, 4, cells.FEATURES)), np.zeros((2, UNITS)), verbose=0)
    for peephole in cell.get_weights()[3:]:
        np.testing.assert_array_equal(peephole, np.zeros(UNITS))
