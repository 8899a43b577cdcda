"""What it costs that a box is off, by how far it is."""

import numpy as np
from matplotlib import pyplot

from keras_ext import losses

true = np.array([0.0, 0.0, 1.0, 1.0])
shift = np.linspace(-3, 3, 241)
moved = true + shift[:, None] * [1, 0, 1, 0]
ratio = np.linspace(1, 16, 241)
half = np.stack([np.sqrt(ratio), 1 / np.sqrt(ratio)], axis=1) / 2
stretched = np.concatenate([0.5 - half, 0.5 + half], axis=1)

figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), sharey=True)
for form in ("iou", "giou", "diou", "ciou"):
    for axes, x, boxes in ((left, shift, moved), (right, ratio, stretched)):
        y_true = np.broadcast_to(true, boxes.shape)
        axes.plot(x, losses.iou(y_true, boxes, form=form), label=form)
left.set(xlabel="moved by (in widths)", ylabel="loss", title="A unit box, moved")
right.set(xlabel="width / height", title="A unit box, stretched to the same area")
left.legend()
figure.tight_layout()
