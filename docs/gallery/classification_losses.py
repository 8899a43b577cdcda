"""What the probability of a sample's own class costs."""

import numpy as np
from matplotlib import pyplot

from keras_ext import losses

p = np.linspace(0.001, 0.999, 400)
y_pred = np.stack([1 - p, p], axis=1)
own = np.ones(len(p), "int32")
many_classes = {
    "SparseCategoricalCrossentropy()": losses.sparse_categorical_crossentropy(
        own, y_pred
    ),
    "SparseCategoricalCrossentropy(0.1)": losses.sparse_categorical_crossentropy(
        own, y_pred, label_smoothing=0.1
    ),
    "SparseCategoricalFocalCrossentropy(1)": (
        losses.sparse_categorical_focal_crossentropy(own, y_pred, alpha=1.0)
    ),
    "Poly(epsilon=2)": losses.poly(own, y_pred, epsilon=2.0),
}
one_label = {
    "a label that is there": losses.asymmetric(np.ones((400, 1)), p[:, None]),
    "a label that is not": losses.asymmetric(np.zeros((400, 1)), p[:, None]),
}

figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), sharey=True)
for axes, curves in ((left, many_classes), (right, one_label)):
    for name, values in curves.items():
        axes.plot(p, values, label=name)
    axes.set(ylim=(0, 5))
    axes.legend(fontsize=8)
left.set(xlabel="probability of the own class", ylabel="loss", title="Two classes")
right.set(xlabel="probability of the label", title="Asymmetric()")
figure.tight_layout()
