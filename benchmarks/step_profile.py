"""Where the time of one training step goes, in `Model.fit` and in `Trainer.fit`.

    python benchmarks/step_profile.py [--data mnist.npz] [--rounds 5]

The same network and data, broken down: each line leaves something out, or does it
differently. All are timed in turn, and each line is the median of the rounds.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from workloads import LOSS, Workload, mnist_mlp, read_data

import keras_ext

STEPS = 1875


def stock_function(workload: Workload) -> Callable[[], None]:
    """Return Keras's compiled step, called repeatedly on one batch."""
    model = workload.model()
    model.fit(workload.x[:32], workload.y[:32], verbose=0)
    batch = tf.data.Dataset.from_tensors((workload.x[:32], workload.y[:32]))
    step = model.train_function

    def run() -> None:
        iterator = iter(batch.cache().repeat())
        for _ in range(STEPS):
            step(iterator)

    return run


def fit(model: Any, workload: Workload) -> Callable[[], None]:
    """Return `fit` on all samples of the workload."""

    def run() -> None:
        model.fit(workload.x, workload.y, batch_size=32, verbose=0)

    run()
    return run


def chunks(trainer: Any, workload: Workload) -> Callable[[], None]:
    """Return the loop of `Trainer.fit` without the copy of the arrays to the device."""
    x, y = tf.constant(workload.x), tf.constant(workload.y)

    def run() -> None:
        for epoch in keras_ext.Loop(trainer, verbose=0):
            for chunk in epoch.chunks((x, y), batch_size=32):
                epoch.log(trainer.steps(chunk))

    run()
    return run


def without_dropout(workload: Workload, optimizer: str) -> keras_ext.Trainer:
    """Return a Trainer of the same network without its Dropout."""
    layers = workload.network().layers
    kept = [layer for layer in layers if not isinstance(layer, keras.layers.Dropout)]
    trainer = keras_ext.Trainer(keras.Sequential([keras.Input((28, 28)), *kept]))
    trainer.compile(optimizer, LOSS, metrics=["accuracy"])
    return trainer


def main() -> None:
    """Time every line in turn and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="an .npz file like MNIST's; default: synthetic")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    arguments = parser.parse_args()
    workload = mnist_mlp(read_data(arguments.data)).first(STEPS)
    lines = {
        "Model.fit": fit(workload.model(), workload),
        "  its compiled step, in a bare loop": stock_function(workload),
        "Trainer.fit, as a graph": fit(workload.trainer(jit_compile=False), workload),
        "Trainer.fit, with XLA": fit(workload.trainer(), workload),
        "  arrays on the device already": chunks(workload.trainer(), workload),
        "  and without Dropout": chunks(without_dropout(workload, "adam"), workload),
        "  and with SGD for Adam": chunks(without_dropout(workload, "sgd"), workload),
    }
    times: dict[str, list[float]] = {name: [] for name in lines}
    for _ in range(arguments.rounds):
        for name, run in lines.items():
            begin = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - begin) / STEPS * 1e3)
    whole = statistics.median(times["Model.fit"])
    print(f"{'mnist-mlp, batch 32':<38} {'ms/step':>8} {'share':>7}")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:<38} {median:>8.3f} {median / whole:>7.1%}")


if __name__ == "__main__":
    main()
