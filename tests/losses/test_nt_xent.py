"""The loss of SimCLR against sums over all pairs of views.

What it shares with the other losses over pairs is in `test_batchwise.py`.
"""

import keras
import numpy as np
import pytest

from keras_ext.losses import NTXent, nt_xent
from tests.losses.batches import EMBEDDINGS
from tests.reference import metric_learning as reference
from tests.slopes import assert_gradient_is_the_slope, needs_double_precision

VIEWS = EMBEDDINGS.reshape(12, 2, 5)


@pytest.mark.parametrize("temperature", [0.05, 0.1, 1, 10.0])
def test_equals_the_formula(temperature):
    expected, counted = reference.nt_xent(None, VIEWS, temperature=temperature)
    assert counted.all()
    values = nt_xent(None, VIEWS, temperature)
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("y_true", [None, np.zeros(12), np.full((12, 3), np.nan)])
def test_targets_are_not_read(y_true):
    expected = float(NTXent()(np.arange(12), VIEWS))
    assert float(NTXent()(y_true, VIEWS)) == expected


def test_fit_without_targets():
    dense = keras.layers.Dense(5, kernel_initializer="identity")
    model = keras.Sequential([keras.Input((2, 5)), dense])
    model.compile(keras.optimizers.SGD(0.1), loss=NTXent())
    losses = model.fit(VIEWS, batch_size=12, epochs=5, verbose=0).history["loss"]
    assert losses[0] == pytest.approx(float(NTXent()(None, VIEWS)), rel=1e-5)
    assert losses[-1] < losses[0]


@needs_double_precision
def test_the_gradient_is_the_slope():
    assert_gradient_is_the_slope(lambda x: nt_xent(None, x, 0.5), VIEWS)


@pytest.mark.parametrize("temperature", [0, -1, float("inf"), True])
def test_bad_temperature(temperature):
    match = r"`temperature` must be a finite number in \(0, inf\). Received: temp"
    with pytest.raises(ValueError, match=match):
        NTXent(temperature)
    with pytest.raises(ValueError, match=match):
        nt_xent(None, VIEWS, temperature)


def test_config_keeps_every_argument():
    loss = NTXent(1, "sum", "views", "float64")
    assert loss.get_config() == {
        "name": "views",
        "reduction": "sum",
        "temperature": 1.0,
        "dtype": "float64",
    }
