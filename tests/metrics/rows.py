"""One row or more per metric: how to make it, and what to feed it.

`test_conformance.py` puts each through what holds for all metrics. One without a row
fails. To add one, add a row.
"""

import numpy as np

from keras_ext import metrics
from tests.pairs import PairCase, labels, logits, probabilities

_rng = np.random.default_rng(7)

METRICS = [
    PairCase(lambda: metrics.CohenKappa(4), labels, logits, id="CohenKappa"),
    PairCase(
        lambda: metrics.CohenKappa(4, weights="quadratic", sparse_y_true=False),
        np.eye(4, dtype="float32")[labels],
        probabilities,
        id="CohenKappa-quadratic",
    ),
    PairCase(
        lambda: metrics.CohenKappa(4, weights="linear", sparse_y_pred=True),
        labels[:, None],
        _rng.integers(0, 4, size=(12, 1), dtype="int32"),
        id="CohenKappa-sparse",
    ),
    PairCase(
        lambda: metrics.CohenKappa(2),
        labels[:, None] % 2,
        probabilities[:, :1],
        id="CohenKappa-binary",
    ),
    PairCase(
        metrics.ExpectedCalibrationError,
        labels,
        probabilities,
        id="ExpectedCalibrationError",
    ),
    PairCase(
        lambda: metrics.ExpectedCalibrationError(num_bins=5),
        labels[:, None] % 2,
        probabilities[:, :1],
        id="ExpectedCalibrationError-binary",
    ),
]
