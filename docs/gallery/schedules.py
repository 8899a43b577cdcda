"""Every schedule over a hundred epochs of ten steps."""

import keras
from matplotlib import pyplot

from keras_ext import schedules

STEPS = 1000
CosineDecay = keras.optimizers.schedules.CosineDecay

pictures = {
    "OneCycle": {
        "cosine": schedules.OneCycle(1.0, total_steps=STEPS),
        "linear": schedules.OneCycle(1.0, total_steps=STEPS, anneal="linear"),
    },
    "Cyclical": {
        "triangular": schedules.Cyclical(0.1, 1.0, step_size=125),
        "triangular2": schedules.Cyclical(0.1, 1.0, step_size=125, mode="triangular2"),
        "exp_range": schedules.Cyclical(
            0.1, 1.0, step_size=125, mode="exp_range", gamma=0.998
        ),
    },
    "Warmup": {
        "before a constant": schedules.Warmup(1.0, warmup_steps=200),
        "before a cosine": schedules.Warmup(
            CosineDecay(1.0, decay_steps=800), warmup_steps=200
        ),
    },
    "InverseSquareRoot": {
        "warmup_steps=100": schedules.InverseSquareRoot(1.0, warmup_steps=100),
        "warmup_steps=300": schedules.InverseSquareRoot(1.0, warmup_steps=300),
    },
    "StepDecay": {
        "every 250": schedules.StepDecay(1.0, 250, gamma=0.5),
        "at 500 and 750": schedules.StepDecay(1.0, [500, 750], gamma=0.1),
    },
    "Chain": {
        "cosine, then a cycle": schedules.Chain(
            [
                CosineDecay(1.0, decay_steps=600, alpha=0.1),
                schedules.OneCycle(0.5, total_steps=400),
            ],
            boundaries=[600],
        ),
    },
}

figure, all_axes = pyplot.subplots(3, 2, figsize=(9, 8), sharex=True, sharey=True)
for axes, (title, curves) in zip(all_axes.flat, pictures.items(), strict=True):
    schedules.plot_schedule(curves, STEPS, ax=axes)
    axes.set_title(title)
figure.tight_layout()
