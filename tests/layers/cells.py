"""Recurrent cells in the layers and loops that step them."""

import keras
import numpy as np
from keras import ops

from tests.layers.weights import arrays, images, randomize
from tests.reference import cells as reference

FEATURES, STEPS, BATCH = 3, 5, 4


def numpy(x):
    return ops.convert_to_numpy(x)


def built(cell, features=FEATURES):
    """Return the cell, with random weights and none of them 0 or 1."""
    cell.build((None, features))
    randomize(cell)
    return cell


def states_of(cell, batch=BATCH, seed=11):
    """Return random states."""
    return [
        images(batch, size, seed=seed + i) for i, size in enumerate(cell.state_size)
    ]


def zeros_of(cell, batch=BATCH):
    """Return the states that `keras.layers.RNN` starts with."""
    return [np.zeros((batch, size), "float32") for size in cell.state_size]


def sequences(seed=2):
    """Return a batch of random sequences."""
    return images(BATCH, STEPS, FEATURES, seed=seed)


def run(cell, x, states=None, *, training=False, mask=None, **options):
    """Return what `keras.layers.RNN` makes of a sequence: outputs, then states."""
    layer = keras.layers.RNN(cell, return_sequences=True, return_state=True, **options)
    return [
        numpy(one)
        for one in layer(x, initial_state=states, mask=mask, training=training)
    ]


def expected(step, cell, x, states, **options):
    """Return outputs and states by the reference `step`."""
    return reference.sequence(step, x, states, arrays(cell), **options)


def compare(actual, wanted, tolerance=1e-5):
    for one, other in zip(actual, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def drawn(cell, x, hidden, gates):
    """Return the masks that a cell draws for `x` and `hidden`: one row per gate."""
    masks = [cell.get_dropout_mask(x), cell.get_recurrent_dropout_mask(hidden)]
    rows = []
    for mask in masks:
        every = mask if isinstance(mask, list) else [mask] * gates
        rows.append(np.stack([numpy(one) for one in every], axis=1))
    return tuple(rows)


def as_in_addons(cell):
    """Return outputs and states of a small case that TensorFlow Addons computed.

    Sines for weights and cosines for inputs: a sequence of three steps with two
    features.
    """
    cell.build((None, 2))
    cell.set_weights(
        [
            np.sin(np.arange(weight.size) * (i + 1) + i).reshape(weight.shape)
            for i, weight in enumerate(cell.get_weights())
        ]
    )
    return run(cell, np.cos(np.arange(6)).reshape(1, 3, 2).astype("float32"))
