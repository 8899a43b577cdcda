"""A confusion matrix, and what the metrics over it say."""

import numpy as np
from matplotlib import pyplot

from keras_ext import metrics

NAMES = ["cat", "dog", "horse", "sheep"]
SHARES = np.array(
    [
        [0.80, 0.18, 0.01, 0.01],
        [0.15, 0.80, 0.03, 0.02],
        [0.02, 0.08, 0.70, 0.20],
        [0.05, 0.10, 0.35, 0.50],
    ]
)
rng = np.random.default_rng(0)
labels = rng.choice(4, size=1000, p=[0.5, 0.3, 0.15, 0.05])
predicted = np.array([rng.choice(4, p=SHARES[label]) for label in labels])

options = {"num_classes": 4, "sparse_y_pred": True}
matrix = metrics.ConfusionMatrix(normalize="true", **options)(labels, predicted)
scores = {
    "CohenKappa": metrics.CohenKappa(**options),
    "MatthewsCorrelationCoefficient": metrics.MatthewsCorrelationCoefficient(**options),
    "BalancedAccuracy": metrics.BalancedAccuracy(**options),
}
lines = [f"accuracy {np.mean(labels == predicted):.2f}"]
lines += [f"{name} {float(one(labels, predicted)):.2f}" for name, one in scores.items()]

figure, axes = pyplot.subplots(figsize=(6, 5))
axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
for (row, column), share in np.ndenumerate(np.asarray(matrix)):
    color = "white" if share > 0.5 else "black"
    axes.text(column, row, f"{share:.2f}", ha="center", va="center", color=color)
axes.set_xticks(range(4), NAMES)
axes.set_yticks(range(4), NAMES)
axes.set(xlabel="predicted", ylabel="true", title="\n".join(lines))
figure.tight_layout()
