"""A calibration plot of a classifier that is too sure of itself."""

import numpy as np
from matplotlib import pyplot

from keras_ext import metrics

BINS = 10
rng = np.random.default_rng(0)
logits = rng.normal(0, 1.5, size=4000)
labels = (rng.uniform(size=4000) < 1 / (1 + np.exp(-logits))).astype("int32")

figure, panels = pyplot.subplots(1, 2, figsize=(9, 4), sharey=True)
for axes, sharpness, title in (
    (panels[0], 1, "calibrated"),
    (panels[1], 3, "too sure"),
):
    p = 1 / (1 + np.exp(-sharpness * logits))
    confidence, right = np.maximum(p, 1 - p), (p > 0.5) == labels
    metric = metrics.ExpectedCalibrationError(num_bins=BINS)
    error = float(metric(labels, p[:, None]))
    bins = np.ceil(confidence * BINS).astype(int) - 1
    used = np.unique(bins)
    accuracy = [right[bins == one].mean() for one in used]
    axes.bar((used + 0.5) / BINS, accuracy, width=0.9 / BINS, label="accuracy")
    axes.plot([0.5, 1], [0.5, 1], "k--", label="confidence")
    axes.set(xlim=(0.5, 1), xlabel="confidence", title=f"{title}: error {error:.3f}")
panels[0].legend()
figure.tight_layout()
