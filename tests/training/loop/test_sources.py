"""Where the batches of a `Loop` come from, epoch after epoch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ext import Loop
from keras_ext.training.loop import run as run_module

pytestmark = pytest.mark.once


@pytest.fixture
def made(monkeypatch):
    """Return the sources that are made."""
    sources = []

    def make(*args, make=run_module.make_source, **kwargs):
        sources.append(make(*args, **kwargs))
        return sources[-1]

    monkeypatch.setattr(run_module, "make_source", make)
    return sources


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def seen(data, change=lambda: None, chunked=True, **options):
    """Return the first column of all batches, by epoch."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    epochs = []
    for epoch in Loop(model, epochs=3, verbose=0, seed=1):
        rows = []
        hand_out = epoch.chunks if chunked else epoch.batches
        for part in hand_out(data(), batch_size=4, **options):
            batches = part.batches() if chunked else [part]
            rows += [np.asarray(x[:, 0]) for x, *_ in batches]
            epoch.log({"loss": 0.0})
        epochs.append(np.concatenate(rows))
        change()
    return epochs


X, Y = np.arange(20, dtype="float32").reshape(10, 2), np.arange(10.0)


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize(
    "convert", [read_only, tf.constant], ids=["read-only", "tensors"]
)
def test_arrays_that_cannot_change_are_copied_once(made, convert, chunked):
    x, y = convert(X), convert(Y)
    epochs = seen(lambda: (x, y), chunked=chunked)
    assert len(made) == 1
    # In the orders that they would have had anyway.
    for epoch, other in zip(epochs, seen(lambda: (X, Y)), strict=True):
        np.testing.assert_array_equal(epoch, other)
    assert len(made) == 1 + 3


def test_changes_in_place_are_seen(made):
    x = X.copy()

    def change():
        x[:] += 100

    epochs = seen(lambda: (x, read_only(Y)), change)
    assert [epoch.min() for epoch in epochs] == [0, 100, 200]
    assert len(made) == 3


def test_other_arrays_and_options_are_other_sources(made):
    x, y = read_only(X), read_only(Y)
    arrays = iter([(x, y), (x, read_only(Y)), {"x": x, "y": y}])
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    for epoch in Loop(model, epochs=3, verbose=0):
        for _ in epoch.batches(next(arrays)):
            epoch.log({"loss": 0.0})
    assert len(made) == 3
