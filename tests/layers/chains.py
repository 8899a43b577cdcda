"""What the tests of `CRF`, its loss and its decoder share: chains under all masks."""

import keras
import numpy as np
from keras import ops

from keras_ext.layers import CRF

TAGS, TIME = 3, 5
MASKS = {
    "none": [1, 1, 1, 1, 1],
    "trailing": [1, 1, 1, 0, 0],
    "leading": [0, 0, 1, 1, 1],
    "middle": [1, 0, 0, 1, 1],
    "everywhere": [0, 1, 0, 1, 0],
    "all but one": [0, 0, 1, 0, 0],
    "all": [0, 0, 0, 0, 0],
}
MASK = np.array(list(MASKS.values()), bool)

_rng = np.random.default_rng(11)
EMISSIONS = _rng.normal(size=(len(MASK), TIME, TAGS)).astype("float32")
TRUE_TAGS = _rng.integers(0, TAGS, size=MASK.shape)
WEIGHTS = [
    _rng.normal(size=shape).astype("float32") for shape in [(TAGS, TAGS), TAGS, TAGS]
]
"""Transitions, start and end."""

FAR_BELOW = np.zeros((1, 3, 2, 2), "float32")
FAR_BELOW[0, 0, :, 1] = -40000
FAR_BELOW[0, 1] = [[0, -32768], [-32768, 0]]
FAR_BELOW[0, 2] = [[-1e9, -1e9], [-1e9, 0]]
"""Potentials whose masked step separates tags by less than the step before.

Only the tags 1, 1, 1 are possible.
"""


def crf(weights=WEIGHTS, **options):
    """Return a layer with these weights."""
    layer = CRF(len(weights[0]), use_boundary=len(weights) > 1, **options)
    layer.build((None, None, len(weights[0])))
    layer.set_weights(weights)
    return layer


def potentials(layer, emissions, weights, mask=None):
    """Return the output of `layer` as a function of its weights, for gradients."""
    values = [ops.convert_to_tensor(weight) for weight in weights]
    with keras.StatelessScope(list(zip(layer.weights, values, strict=True))):
        return layer(emissions, mask=mask)
