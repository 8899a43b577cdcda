"""Embeddings that the tests of the losses over pairs have in common."""

import numpy as np

DISTANCES = ["euclidean", "squared_euclidean", "cosine"]
_rng = np.random.default_rng(8)

LABELS = _rng.integers(0, 5, size=24, dtype="int32")
LABELS[:2] = [7, 8]
"""Classes of several sizes, two of them with one sample."""
EMBEDDINGS = _rng.normal(size=(24, 5)).astype("float32")

GRID_LABELS = _rng.integers(0, 3, size=30, dtype="int32")
GRID = _rng.integers(-2, 3, size=(30, 2)).astype("float32")
"""Many equal embeddings and equal distances."""
