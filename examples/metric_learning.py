"""Learn an embedding in which equal digits are neighbors, and draw it.

`TripletHard` pulls each digit to the furthest one of its class and pushes it from the
nearest one of another class. The embedding has two dimensions, so the picture shows all
of it; recall@1 says how often the training image that is nearest to a test image has
the same label. The data are scikit-learn's digits.
"""

import argparse
import pathlib
from collections.abc import Sequence

import keras
import numpy as np
from keras import layers
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestNeighbors

import keras_ext


def build_model() -> keras.Model:
    """Return a network that maps an image to a point in the plane."""
    return keras.Sequential(
        [
            keras.Input((64,)),
            layers.Dense(256, activation="relu"),
            layers.Dense(256, activation="relu"),
            layers.Dense(2),
        ]
    )


def draw(
    points: np.ndarray,
    images: np.ndarray,
    labels: np.ndarray,
    neighbors: np.ndarray,
    file: pathlib.Path,
) -> None:
    """Draw the test images where they are embedded, and neighbors of some of them."""
    figure = Figure(figsize=(12, 6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.6, 1))
    axis = left.subplots()
    for digit in range(10):
        axis.scatter(*points[labels == digit].T, s=14, color=f"C{digit}", alpha=0.7)
        center = np.median(points[labels == digit], axis=0)
        axis.annotate(digit, center, size=22, weight="bold", ha="center", va="center")
    axis.set(xticks=[], yticks=[])
    axis.set_aspect("equal", adjustable="datalim")
    left.suptitle("Test digits in the learned plane")
    axes = right.subplots(6, 4)
    for row, image, nearest in zip(axes, images, neighbors, strict=False):
        for axis, picture in zip(row, [image, *nearest], strict=True):
            axis.imshow(picture.reshape(8, 8), cmap="gray_r")
            axis.set(xticks=[], yticks=[])
    right.suptitle("Test image (left) and its nearest training images")
    figure.savefig(file, dpi=120)


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Train, search neighbors, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default="runs/metric_learning")
    parser.add_argument("--epochs", type=int, default=60, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    options = parser.parse_args(arguments)
    if options.epochs < 1 or options.seed < 0 or options.out.is_file():
        parser.error(f"expected epochs > 0, seed >= 0 and a folder as out: {options}")
    options.out.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(options.seed)
    images, labels = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(
        (images / 16).astype("float32"),
        labels,
        test_size=389,
        random_state=options.seed,
    )
    model = build_model()

    def search() -> tuple[np.ndarray, np.ndarray]:
        """Return where test images are, and their three nearest training images."""
        points = np.array(model(x_test))
        gallery = NearestNeighbors(n_neighbors=3).fit(np.array(model(x)))
        return points, gallery.kneighbors(points, return_distance=False)

    _, neighbors = search()
    before = float(np.mean(y[neighbors[:, 0]] == y_test))
    trainer = keras_ext.Trainer(model)
    # The hardest triplet of a batch needs several images of every class in it.
    trainer.compile("adam", keras_ext.losses.TripletHard(soft_margin=True))
    trainer.fit(x, y, batch_size=128, epochs=options.epochs, verbose=0)
    points, neighbors = search()
    recall = float(np.mean(y[neighbors[:, 0]] == y_test))
    print(f"Recall@1: {recall:.3f}, before training {before:.3f}")
    draw(points, x_test, y_test, x[neighbors], options.out / "metric_learning.png")
    return {"recall": recall, "before": before}


if __name__ == "__main__":
    main()
