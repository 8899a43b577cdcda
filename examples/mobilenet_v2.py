"""Transfer a MobileNetV2 of `keras.applications`: freeze it, train, thaw it, train on.

`load_applications_weights` gives the network of `keras_ext` the weights of its twin in
`keras.applications`; both then compute the same. The images are small, scikit-learn's
digits at 32 x 32, so the first four blocks suffice. `--weights` takes the file that
Keras offers for download (alpha 0.35, no top). Without it the twin is random: frozen
features are poor, and the training after the thaw does the work.
"""

import argparse
import pathlib
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_ext

SHAPE = (32, 32, 3)


class TransferTrainer(keras_ext.Trainer):
    """Trains with the statistics that batch normalization came with."""

    def forward(self, x: tf.Tensor, training: bool) -> tf.Tensor:
        """Return the predictions as in inference, in training as well."""
        # `base(inputs, training=False)` is not enough: the model's own value wins.
        return super().forward(x, training=False)


def load_data(seed: int) -> list[np.ndarray]:
    """Return images in [-1, 1] for training and test, and their labels."""
    images, labels = load_digits(return_X_y=True)
    x = images.reshape(-1, 8, 8, 1).repeat(4, axis=1).repeat(4, axis=2) / 8 - 1
    x = x.repeat(3, axis=-1).astype("float32")
    return train_test_split(x, labels, test_size=0.2, random_state=seed)


def carry_over(weights: pathlib.Path | None, x: np.ndarray) -> keras.Model:
    """Return our MobileNetV2 with the weights of its twin in keras.applications."""
    options = {"input_shape": SHAPE, "alpha": 0.35, "include_top": False}
    twin = keras.applications.MobileNetV2(weights=weights, **options)
    if weights is None:
        # Random weights need statistics that fit the data: those of one batch.
        for layer in twin.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.momentum = 0.0
        twin(x, training=True)
    network = keras_ext.models.MobileNetV2(**options)
    keras_ext.models.load_applications_weights(network, twin)
    return network


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Carry over, train frozen, train thawed, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default="runs/mobilenet_v2")
    parser.add_argument("--epochs", type=int, default=6, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--weights", type=pathlib.Path, help="a .h5 file")
    options = parser.parse_args(arguments)
    if options.epochs < 1 or options.seed < 0 or options.out.is_file():
        parser.error(f"expected epochs > 0, seed >= 0 and a folder as out: {options}")
    if options.weights and not options.weights.is_file():
        parser.error(f"--weights must name a file. Received: {options.weights}")
    options.out.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(options.seed)
    x, x_test, y, y_test = load_data(options.seed)
    network = carry_over(options.weights, x[:128])
    base = keras.Model(network.input, network.get_layer("block_3").output, name="base")
    inputs = keras.Input(SHAPE)
    features = layers.GlobalAveragePooling2D()(base(inputs))
    outputs = layers.Dense(10, activation="softmax")(features)
    trainer = TransferTrainer(keras.Model(inputs, outputs))

    def accuracy() -> float:
        found = np.argmax(trainer.model(x_test), axis=1)
        return float(np.mean(found == y_test))

    results, curves = {"before": accuracy()}, []
    for name, trainable, rate in [("frozen", False, 0.03), ("thawed", True, 0.003)]:
        base.trainable = trainable
        # Compiled again, the optimizer also serves the variables that were frozen.
        optimizer = keras.optimizers.Adam(rate)
        trainer.compile(
            optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"]
        )
        history = trainer.fit(x[:1408], y[:1408], 64, epochs=options.epochs)
        curves += history.history["accuracy"]
        results[name] = accuracy()
    print("Test accuracy:", {name: round(part, 3) for name, part in results.items()})
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(range(1, len(curves) + 1), curves, "o-")
    left.axvspan(0.5, options.epochs + 0.5, color="C0", alpha=0.15, label="frozen")
    left.set(title="Training accuracy", xlabel="epoch", ylim=(0, 1.02))
    left.legend(frameon=False, loc="lower right")
    bars = right.bar(results.keys(), results.values(), color=["C7", "C0", "C1"])
    right.bar_label(bars, fmt="%.3f")
    right.set(title="Test accuracy", ylim=(0, 1.1))
    figure.savefig(options.out / "mobilenet_v2.png", dpi=120)
    return results


if __name__ == "__main__":
    main()
