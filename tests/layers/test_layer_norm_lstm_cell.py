"""`LayerNormLSTMCell` against the paper's formulas, and TensorFlow Addons."""

import math

import keras
import numpy as np
import pytest

from keras_ext.layers import LayerNormLSTMCell
from tests.layers import cells
from tests.layers.weights import assert_close
from tests.reference import cells as reference

UNITS = 3


def softsign(x):
    return x / (1 + abs(x))


@pytest.mark.parametrize("normalize_carry", [False, True])
@pytest.mark.parametrize("use_bias", [False, True])
def test_equals_the_formulas(use_bias, normalize_carry):
    cell = cells.built(
        LayerNormLSTMCell(UNITS, use_bias=use_bias, normalize_carry=normalize_carry)
    )
    x, states = cells.sequences(), cells.states_of(cell)
    wanted = cells.expected(
        reference.layer_norm_lstm,
        cell,
        x,
        states,
        use_bias=use_bias,
        normalized_carry=normalize_carry,
    )
    cells.compare(cells.run(cell, x, states), wanted)


def test_equals_the_formulas_with_other_functions():
    cell = cells.built(LayerNormLSTMCell(UNITS, "softsign", "tanh", epsilon=0.1))
    x, states = cells.sequences(), cells.states_of(cell)
    wanted = cells.expected(
        reference.layer_norm_lstm,
        cell,
        x,
        states,
        epsilon=0.1,
        phi=softsign,
        gate=math.tanh,
    )
    cells.compare(cells.run(cell, x, states), wanted)


def test_equals_tensorflow_addons():
    # Computed with tfa.rnn.LayerNormLSTMCell of TensorFlow Addons 0.23.0, TensorFlow
    # 2.15.1; the weights are set in the order that they have there.
    outputs, h, c = cells.as_in_addons(LayerNormLSTMCell(2, normalize_carry=True))
    assert_close(
        outputs[0],
        [[0.6388326, -0.1915768], [0.4042274, -0.3684105], [0.7557912, -0.3260816]],
        1e-6,
    )
    assert_close(h, [[0.7557912, -0.3260816]], 1e-6)
    assert_close(c, [[1.6461387, -1.6114812]], 1e-6)


def test_normalizes_the_scale_of_the_kernels_away():
    cell = cells.built(LayerNormLSTMCell(UNITS, epsilon=1e-7))
    x, states = cells.sequences(), cells.states_of(cell)
    before = cells.run(cell, x, states)
    kernel, recurrent_kernel, *rest = cell.get_weights()
    cell.set_weights([30 * kernel, 0.2 * recurrent_kernel, *rest])
    cells.compare(cells.run(cell, x, states), before, 1e-3)
    cell.set_weights([kernel, recurrent_kernel, *[2 * one for one in rest]])
    assert np.abs(cells.run(cell, x, states)[0] - before[0]).max() > 0.1


def test_norms_stay_accurate_in_half_precision():
    full = cells.built(LayerNormLSTMCell(UNITS))
    half = LayerNormLSTMCell(UNITS, dtype="mixed_float16")
    half.build((None, cells.FEATURES))
    half.set_weights(full.get_weights())
    # The squares of 600 overflow in float16.
    x, states = 600 * cells.sequences()[:, 0], cells.states_of(full)
    (actual, _), (wanted, _) = half(x, states), full(x, states)
    np.testing.assert_allclose(cells.numpy(actual), wanted, atol=5e-3)


def test_weights_start_as_their_initializers_say():
    cell = LayerNormLSTMCell(
        UNITS,
        bias_initializer=keras.initializers.Constant(0.5),
        gamma_initializer=keras.initializers.RandomNormal(),
        beta_initializer=keras.initializers.Constant(0.25),
    )
    cell.build((None, cells.FEATURES))
    _, _, bias, *norms = cell.get_weights()
    np.testing.assert_array_equal(bias, [0.5] * 3 + [1.0] * 3 + [0.5] * 6)
    assert not np.any(norms[0] == norms[2])  # each of the norms draws its own
    for beta in norms[1::2]:
        np.testing.assert_array_equal(beta, np.full(beta.shape, 0.25))


def test_a_frozen_cell_has_nothing_to_train():
    cell = LayerNormLSTMCell(UNITS, trainable=False)
    cell.build((None, cells.FEATURES))
    assert cell.trainable_variables == []
    cell.trainable = True
    assert len(cell.trainable_variables) == 9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 0}, r"`epsilon` must be a finite number in \(0, inf\).*epsilon=0"),
        ({"normalize_carry": 1.5}, "`normalize_carry` must be one of True, False"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        LayerNormLSTMCell(UNITS, **options)
