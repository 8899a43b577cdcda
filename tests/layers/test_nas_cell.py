"""`NASCell` against the paper's tree, and TensorFlow Addons."""

import keras
import numpy as np
import pytest

from keras_ext.layers import NASCell
from tests.layers import cells
from tests.layers.weights import assert_close
from tests.reference import cells as reference

UNITS = 3


@pytest.mark.parametrize("projection", [None, 2])
@pytest.mark.parametrize("use_bias", [False, True])
def test_equals_the_tree_of_the_paper(use_bias, projection):
    cell = cells.built(NASCell(UNITS, projection, use_bias))
    x, states = cells.sequences(), cells.states_of(cell)
    wanted = cells.expected(
        reference.nas,
        cell,
        x,
        states,
        use_bias=use_bias,
        projection=projection is not None,
    )
    cells.compare(cells.run(cell, x, states), wanted)


def test_equals_tensorflow_addons():
    # Computed with tfa.rnn.NASCell of TensorFlow Addons 0.23.0, TensorFlow 2.15.1; the
    # weights are set in the order that they have there. There the states are (c, h).
    outputs, h, c = cells.as_in_addons(NASCell(2, projection=1, use_bias=True))
    assert_close(outputs[0], [[0.0015921], [0.0390460], [0.0509968]], 1e-6)
    assert_close(h, [[0.0509968]], 1e-6)
    assert_close(c, [[0.4621882, 0.0016014]], 1e-6)


def test_sizes_of_states_and_output():
    plain, projected = NASCell(5), NASCell(5, projection=2)
    assert (plain.output_size, list(plain.state_size)) == (5, [5, 5])
    assert (projected.output_size, list(projected.state_size)) == (2, [2, 5])
    shapes = [tuple(x.shape) for x in projected.get_initial_state(batch_size=7)]
    assert shapes == [(7, 2), (7, 5)]


def test_the_kernel_of_the_projection_is_regularized_and_constrained():
    cell = NASCell(
        UNITS,
        projection=2,
        projection_initializer=keras.initializers.Constant(-2.0),
        projection_regularizer=keras.regularizers.L1(0.5),
        projection_constraint="non_neg",
    )
    model = keras.Sequential([keras.Input((4, cells.FEATURES)), keras.layers.RNN(cell)])
    assert float(sum(model.losses)) == 0.5 * 2.0 * UNITS * 2
    model.compile(keras.optimizers.SGD(0.0), loss="mse")
    model.fit(np.zeros((2, 4, cells.FEATURES)), np.zeros((2, 2)), verbose=0)
    np.testing.assert_array_equal(cell.get_weights()[-1], np.zeros((UNITS, 2)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"projection": 0}, "`projection` must be a positive integer.*projection=0"),
        ({"projection": 2.5}, "`projection` must be a positive integer.*=2.5"),
        ({"use_bias": None}, "`use_bias` must be one of True, False.*=None"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        NASCell(UNITS, **options)


@pytest.mark.parametrize("name", ["activation", "recurrent_activation"])
def test_the_functions_of_the_nodes_are_fixed(name):
    with pytest.raises(TypeError, match=f"NASCell has no `{name}`.*{name}='relu'"):
        NASCell(UNITS, **{name: "relu"})
    with pytest.raises(TypeError, match="NASCell has no `unit_forget_bias`"):
        NASCell(UNITS, unit_forget_bias=True)
