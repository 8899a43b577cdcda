"""Kill a training in the middle, continue it, and compare it with an undisturbed one.

The program trains once undisturbed. Then it starts itself as another process, kills it
with SIGKILL, and continues the run from its last checkpoint: `Checkpoint` among the
callbacks and `resume=True` are all it takes. The weights of both runs are equal to the
bit: dropout, optimizer and data order continue. It trains on scikit-learn's digits.
"""

import argparse
import pathlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

import keras_ext


def train(folder: pathlib.Path, epochs: int, seed: int) -> list[np.ndarray]:
    """Train in `folder`, or continue what was begun there, and return the weights."""
    keras.utils.set_random_seed(seed)
    images, labels = (part[:1792] for part in load_digits(return_X_y=True))
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.Conv2D(64, 3, strides=2, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(10, activation="softmax"),
        ]
    )
    trainer = keras_ext.Trainer(model)
    trainer.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    trainer.fit(
        (images.reshape(-1, 8, 8, 1) / 16).astype("float32"),
        labels,
        epochs=epochs,
        callbacks=[
            keras_ext.callbacks.CSVLogger(folder / "log.csv", update_freq=10),
            keras_ext.callbacks.Checkpoint(folder / "checkpoints", save_freq=25),
        ],
        resume=True,
        verbose=2,
    )
    return model.get_weights()


def read_log(folder: pathlib.Path) -> np.ndarray:
    """Return the steps and losses that the log of a run has by now."""
    rows = np.genfromtxt(folder / "log.csv", delimiter=",", names=True)
    return np.stack([rows["step"], rows["loss"]], axis=1)


def train_and_kill(folder: pathlib.Path, epochs: int, seed: int) -> None:
    """Train in another process, and kill that when half of the epochs have begun."""
    command = [sys.executable, "-u", __file__, "--child", "--out", str(folder)]
    command += ["--epochs", str(epochs), "--seed", str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        for line in child.stdout:
            if line.startswith(f"Epoch {epochs // 2 + 1}/"):
                child.kill()
    if child.returncode != -signal.SIGKILL:
        raise SystemExit(f"The run was not killed. Its exit code: {child.returncode}")


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Train undisturbed; train, kill and continue; compare and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default="runs/preemptible")
    parser.add_argument("--epochs", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--child", action="store_true", help="what is killed is this")
    options = parser.parse_args(arguments)
    if options.epochs < 2 or options.seed < 0 or options.out.is_file():
        parser.error(f"expected epochs > 1, seed >= 0 and a folder as out: {options}")
    how = options.epochs, options.seed
    if options.child:
        train(options.out, *how)
        return {}
    folders = options.out / "undisturbed", options.out / "killed"
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)  # so that both runs begin
    expected = train(folders[0], *how)
    train_and_kill(folders[1], *how)
    killed = read_log(folders[1])
    weights = train(folders[1], *how)
    equal = all(np.array_equal(a, b) for a, b in zip(weights, expected, strict=True))
    print(f"Killed after step {killed[-1, 0]:.0f}. Weights equal to the bit: {equal}")
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axis = figure.subplots()
    axis.plot(*read_log(folders[0]).T, linewidth=7, alpha=0.3, label="undisturbed")
    axis.plot(*read_log(folders[1]).T, "C3", label="killed and continued")
    axis.axvline(
        killed[-1, 0], color="k", linestyle=":", label="last row before SIGKILL"
    )
    axis.set(xlabel="step", ylabel="loss, mean of the epoch so far", yscale="log")
    axis.legend(frameon=False)
    figure.savefig(options.out / "preemptible.png", dpi=120)
    return {"equal": equal, "killed": killed, "logs": [read_log(f) for f in folders]}


if __name__ == "__main__":
    main()
