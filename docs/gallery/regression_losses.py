"""What an error costs."""

import keras
import numpy as np
from matplotlib import pyplot

from keras_ext import losses

error = np.linspace(-3, 3, 301)[:, None]
curves = {
    "Charbonnier(0.5)": losses.charbonnier(0 * error, error, epsilon=0.5),
    "Pinball(tau=0.8)": losses.pinball(0 * error, error, tau=0.8),
    "keras Huber": keras.losses.huber(0 * error, error),
    "keras MeanSquaredError": keras.losses.mean_squared_error(0 * error, error),
}

figure, axes = pyplot.subplots(figsize=(7, 4))
for name, values in curves.items():
    axes.plot(error, values, "--" if name.startswith("keras") else "-", label=name)
axes.set(xlabel="y_pred - y_true", ylabel="loss", ylim=(0, 4))
axes.legend()
figure.tight_layout()
