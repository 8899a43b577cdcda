"""Sparsemax beside softmax, and the loss that goes with it."""

import keras
import numpy as np
from matplotlib import pyplot

from keras_ext import layers, losses

gap = np.linspace(-3, 3, 301)
logits = np.stack([0 * gap, gap], axis=1).astype("float32")
own = np.ones(len(gap), "int32")

figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4))
left.plot(gap, layers.sparsemax(logits)[:, 1], label="sparsemax")
left.plot(gap, keras.ops.softmax(logits)[:, 1], "--", label="softmax")
left.set(title="Probability of the second of two classes")
right.plot(gap, losses.sparsemax(own, logits), label="Sparsemax")
crossentropy = keras.losses.sparse_categorical_crossentropy(
    own, logits, from_logits=True
)
right.plot(gap, crossentropy, "--", label="keras crossentropy")
right.set(title="Loss, where that class is the true one")
for axes in (left, right):
    axes.set(xlabel="its logit less the other's")
    axes.legend()
figure.tight_layout()
