"""Train a GAN by overriding one method, and see how close its digits come to real ones.

Two networks with two optimizers take turns in `train_step`; `fit`, many steps per call
and the log are those of `keras_ext.Trainer`. Progress is measured, not only looked at:
by the Fréchet distance of the pixels, as the FID measures that of features. The data
are scikit-learn's digits.
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

import keras_ext

NOISE = 16
TITLES = "Digits of scikit-learn", "Digits of the generator"


class GAN(keras_ext.Trainer):
    """Trains a generator against a discriminator, which returns logits."""

    def __init__(self, generator: keras.Model, discriminator: keras.Model) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator
        self.noise_seed = keras.random.SeedGenerator(1)
        self.bce = keras.losses.BinaryCrossentropy(from_logits=True)
        self.means = [
            keras.metrics.Mean(name=n) for n in ("generator", "discriminator")
        ]

    def compile(self, optimizer: Any, discriminator_optimizer: Any) -> None:
        """Take two optimizers; callbacks see the first, the generator's."""
        super().compile(optimizer)
        self.discriminator_optimizer = discriminator_optimizer

    def train_step(self, real: tf.Tensor) -> dict[str, tf.Tensor]:
        """Update both networks, from the same pass."""
        shape = (tf.shape(real)[0], NOISE)
        noise = keras.random.normal(shape, seed=self.noise_seed)
        with tf.GradientTape(persistent=True) as tape:
            fake = self.generator(noise, training=True)
            on_real = self.discriminator(real, training=True)
            on_fake = self.discriminator(fake, training=True)
            fooled = self.bce(tf.ones_like(on_fake), on_fake)
            # Not quite 1: a discriminator that is never certain keeps its slope.
            judged = self.bce(0.9 * tf.ones_like(on_real), on_real)
            judged += self.bce(tf.zeros_like(on_fake), on_fake)
        variables = self.generator.trainable_variables
        self.optimizer.apply(tape.gradient(fooled, variables), variables)
        variables = self.discriminator.trainable_variables
        self.discriminator_optimizer.apply(tape.gradient(judged, variables), variables)
        for mean, loss in zip(self.means, (fooled, judged), strict=True):
            mean.update_state(loss)
        return {mean.name: mean.result() for mean in self.means}


def build_networks() -> tuple[keras.Model, keras.Model]:
    """Return the generator of images of 64 pixels, and the discriminator."""
    generator = [keras.Input((NOISE,))]
    discriminator = [keras.Input((64,))]
    for width in (128, 256):
        generator += [layers.Dense(width), layers.BatchNormalization(), layers.ReLU()]
        leaky = layers.LeakyReLU(negative_slope=0.2)
        discriminator += [layers.Dense(384 - width), leaky, layers.Dropout(0.3)]
    generator.append(layers.Dense(64, activation="sigmoid"))
    discriminator.append(layers.Dense(1))
    return keras.Sequential(generator), keras.Sequential(discriminator)


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the distance of two normal distributions with the samples' moments."""
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    roots = np.sqrt(np.maximum(np.linalg.eigvals(first @ second).real, 0))
    means = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    return float(means + np.trace(first + second) - 2 * roots.sum())


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Train, measure, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default="runs/gan")
    parser.add_argument("--epochs", type=int, default=80, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    options = parser.parse_args(arguments)
    if options.epochs < 1 or options.seed < 0 or options.out.is_file():
        parser.error(f"expected epochs > 0, seed >= 0 and a folder as out: {options}")
    options.out.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(options.seed)
    real = (load_digits().data[:1792] / 16).astype("float32")
    gan = GAN(*build_networks())
    noise = keras.random.normal((len(real), NOISE), seed=options.seed)
    before = frechet_distance(real, np.array(gan.generator(noise)))
    gan.compile(keras.optimizers.Adam(1e-3, 0.5), keras.optimizers.Adam(5e-4, 0.5))
    gan.fit(real, batch_size=64, epochs=options.epochs, verbose=0)
    fake = np.array(gan.generator(noise))
    distance = frechet_distance(real, fake)
    print(f"Fréchet distance: {distance:.2f}, before training {before:.2f}")
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    figures = figure.subfigures(1, 2)
    for part, title, images in zip(figures, TITLES, (real, fake), strict=True):
        part.suptitle(title)
        for axis, image in zip(part.subplots(6, 6).flat, images, strict=False):
            axis.imshow(image.reshape(8, 8), cmap="gray")
            axis.axis("off")
    figure.savefig(options.out / "gan.png", dpi=120)
    return {"distance": distance, "before": before}


if __name__ == "__main__":
    main()
