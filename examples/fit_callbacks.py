"""Use the same callbacks, on scikit-learn's digits, in `fit` and in a loop of your own.

Callbacks of Keras, of `keras_ext`, and one defined here work unchanged in both. Look at
the result with `tensorboard --logdir runs/fit_callbacks`.
"""

import argparse
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_ext

COLUMNS = {"val_loss": "log", "val_accuracy": "linear", "learning_rate": "log"}


def decay(epoch: int) -> float:
    """Return the learning rate of an epoch."""
    return 1e-2 if epoch < 3 else 1e-3 if epoch < 7 else 1e-4


class PrintLR(keras.callbacks.Callback):
    """Prints the learning rate after each epoch."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        print(f"Learning rate: {float(self.model.optimizer.learning_rate):g}")


def make_callbacks(folder: pathlib.Path) -> list[keras.callbacks.Callback]:
    """Return all of them; the rate is set first, so that the others see it."""
    return [
        keras_ext.callbacks.LearningRateScheduler(decay),
        PrintLR(),
        keras_ext.callbacks.CSVLogger(folder / "log.csv"),
        keras.callbacks.TensorBoard(folder / "tensorboard", write_graph=False),
        keras.callbacks.ModelCheckpoint(folder / "best.keras", save_best_only=True),
        keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True),
    ]


def build_model(seed: int) -> keras.Model:
    """Return the network; the same `seed` gives the same weights."""
    keras.utils.set_random_seed(seed)
    hidden = [keras.Input((64,)), layers.Dense(128, "relu"), layers.Dropout(0.2)]
    return keras.Sequential([*hidden, layers.Dense(10, "softmax")])


def by_fit(model: keras.Model, data: Any, validation: Any, **how: Any) -> None:
    """Train with the usual call."""
    trainer = keras_ext.Trainer(model)
    trainer.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    trainer.fit(*data, validation_data=validation, **how)


def by_loop(model: keras.Model, data: Any, validation: Any, **how: Any) -> None:
    """Train with a loop written by hand."""
    optimizer = keras.optimizers.Adam()
    loss_fn = keras.losses.SparseCategoricalCrossentropy()
    accuracy = keras.metrics.SparseCategoricalAccuracy()

    @tf.function
    def step(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            predictions = model(x, training=True)
            loss = loss_fn(y, predictions)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        accuracy.update_state(y, predictions)
        return loss

    for epoch in keras_ext.Loop(model, optimizer=optimizer, **how):
        for batch in epoch.batches(data, batch_size=32):
            epoch.log({"loss": step(*batch), "accuracy": accuracy})
        y_val, found = validation[1], model(validation[0])
        hits = np.mean(np.argmax(found, axis=1) == y_val)
        epoch.log_validation({"loss": loss_fn(y_val, found), "accuracy": hits})


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Train in both ways, and draw what the CSV logs say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default="runs/fit_callbacks")
    parser.add_argument("--epochs", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    options = parser.parse_args(arguments)
    if options.epochs < 1 or options.seed < 0 or options.out.is_file():
        parser.error(f"expected epochs > 0, seed >= 0 and a folder as out: {options}")
    keras.utils.set_random_seed(options.seed)
    parts = train_test_split(*load_digits(return_X_y=True), test_size=357)
    x, x_test, y, y_test = parts[0] / 16, parts[1] / 16, *parts[2:]
    data, validation = (x[160:], y[160:]), (x[:160], y[:160])
    figure, results = Figure(figsize=(12, 3.6), layout="constrained"), {}
    axes = figure.subplots(1, 3)
    for name, train, width in [("fit", by_fit, 7), ("loop", by_loop, 2)]:
        folder = options.out / name
        model, callbacks = build_model(options.seed), make_callbacks(folder)
        train(model, data, validation, epochs=options.epochs, callbacks=callbacks)
        found = keras.models.load_model(folder / "best.keras")(x_test)
        results[name] = float(np.mean(np.argmax(found, axis=1) == y_test))
        print(f"{name}: test accuracy of the best epoch {results[name]:.3f}")
        log = np.genfromtxt(folder / "log.csv", delimiter=",", names=True, ndmin=1)
        for axis, column in zip(axes, COLUMNS, strict=True):
            axis.plot(log[column], linewidth=width, label=name)
            axis.set(title=column, xlabel="epoch", yscale=COLUMNS[column])
    axes[0].legend()
    figure.savefig(options.out / "fit_callbacks.png", dpi=120)
    return results


if __name__ == "__main__":
    main()
