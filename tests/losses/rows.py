"""One row or more per loss: how to make it, and what to feed it.

`test_conformance.py` puts each through what holds for all losses. One without a row
fails. To add one, add a row.
"""

import numpy as np

from keras_ext import losses
from tests.pairs import PairCase, labels, logits, normal, probabilities

_rng = np.random.default_rng(7)

LOSSES = [
    PairCase(
        losses.CRFNegativeLogLikelihood,
        _rng.integers(0, 3, size=(12, 5), dtype="int32"),
        normal(12, 5, 3, 3),
        id="CRFNegativeLogLikelihood",
    ),
    PairCase(
        lambda: losses.Pinball(tau=0.9), normal(12, 3), normal(12, 3), id="Pinball"
    ),
    PairCase(
        lambda: losses.Pinball(tau=[0.1, 0.5, 0.9]),
        normal(12, 1),
        normal(12, 3),
        id="Pinball-quantiles",
    ),
    PairCase(
        losses.SparseCategoricalFocalCrossentropy,
        labels,
        probabilities,
        id="SparseCategoricalFocalCrossentropy",
    ),
    PairCase(
        lambda: losses.SparseCategoricalFocalCrossentropy(
            alpha=[0.5, 1.0, 2.0, 1.0], gamma=0.5, from_logits=True
        ),
        labels[:, None],
        logits,
        id="SparseCategoricalFocalCrossentropy-logits",
    ),
]
