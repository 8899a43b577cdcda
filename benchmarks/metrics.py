"""The cost of a metric's update, compared with the nearest metric of Keras.

    python benchmarks/metrics.py
    python benchmarks/metrics.py --jit
    python benchmarks/metrics.py --only Kappa --rounds 31

Both update from the same batches, many times in one compiled loop, with `--jit` by XLA,
so that only the update is timed, not the call; they take turns in this one process.
Both are reset every 32 updates, before the metrics that keep samples have too many. The
last column is one `result()` in such a loop, which Keras computes in every step.
"""

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import report
import tensorflow as tf
from keras import metrics as plain
from race import Contestant, Goal, Row, race

from keras_ext import metrics

LIMIT = Goal(at_most=1.5)
HEADER = (
    "metric",
    "Keras's nearest",
    "µs/update",
    "Keras's",
    "ratio",
    "min",
    "max",
    "at most",
    "met",
    "µs/result",
)
BATCH, CLASSES = 256, 10
EPOCH = 32  # updates between two resets: 8192 samples, the default `capacity`
SECONDS = 0.2  # of a round

rng = np.random.default_rng(0)
labels = rng.integers(0, CLASSES, size=BATCH, dtype="int32")
scores = rng.uniform(size=(BATCH, CLASSES)).astype("float32")
probabilities = scores / scores.sum(axis=1, keepdims=True)
one_hot = np.eye(CLASSES, dtype="float32")[labels]
many = (rng.uniform(size=(BATCH, CLASSES)) < 0.3).astype("float32")
column = rng.uniform(size=(BATCH, 1)).astype("float32")
binary = (rng.uniform(size=(BATCH, 1)) < 0.3).astype("float32")


@dataclass(frozen=True)
class Pair:
    """Our metric and Keras's nearest, each with the inputs of its update."""

    ours: Callable[[], Any]
    nearest: Callable[[], Any]
    data: tuple[Any, ...]
    nearest_data: tuple[Any, ...] | None = None


def mean_iou() -> Any:
    """Keras's metric over a confusion matrix."""
    return plain.MeanIoU(CLASSES, sparse_y_pred=False)


class SquaredErrorOfLabels(plain.MeanSquaredError):
    """Mean squared error from labels, which Keras expects as one-hot targets."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Add a batch, as a user of Keras has to."""
        one_hot = keras.ops.one_hot(y_true, CLASSES)
        return super().update_state(one_hot, y_pred, sample_weight)


def pairs() -> list[Pair]:
    """Return all comparisons."""
    by_class = (labels, probabilities)
    by_label = (many, scores)
    return [
        Pair(lambda: metrics.BalancedAccuracy(CLASSES), mean_iou, by_class),
        Pair(lambda: metrics.CohenKappa(CLASSES), mean_iou, by_class),
        Pair(lambda: metrics.ConfusionMatrix(CLASSES), mean_iou, by_class),
        Pair(
            lambda: metrics.MatthewsCorrelationCoefficient(CLASSES), mean_iou, by_class
        ),
        Pair(metrics.BrierScore, SquaredErrorOfLabels, by_class),
        Pair(metrics.Perplexity, plain.SparseCategoricalCrossentropy, by_class),
        Pair(
            metrics.ExpectedCalibrationError,
            plain.AUC,
            by_class,
            (one_hot, probabilities),
        ),
        Pair(metrics.ExactMatch, plain.BinaryAccuracy, by_label),
        Pair(metrics.HammingLoss, plain.BinaryAccuracy, by_label),
        Pair(
            lambda: metrics.MultiLabelConfusionMatrix(CLASSES),
            lambda: plain.F1Score(threshold=0.5),  # keeps three of the four counts
            by_label,
        ),
        Pair(metrics.Specificity, plain.Recall, by_label),
        Pair(metrics.GeometricMean, plain.Mean, (column,)),
        Pair(metrics.HarmonicMean, plain.Mean, (column,)),
        Pair(
            metrics.AveragePrecision,
            lambda: plain.AUC(curve="PR"),
            (binary, column),
        ),
        Pair(
            metrics.KendallTau,
            lambda: plain.PearsonCorrelation(axis=0),
            (column[::-1], column),
        ),
        Pair(
            metrics.SpearmanCorrelation,
            lambda: plain.PearsonCorrelation(axis=0),
            (column[::-1], column),
        ),
    ]


def updates(metric: Any, data: tuple[Any, ...], jit: bool) -> Callable[[int], None]:
    """Return a function that runs a number of epochs of updates, compiled once."""
    batches = [tf.constant(np.stack([each] * EPOCH)) for each in data]

    @tf.function(autograph=False, jit_compile=jit)
    def run(count: tf.Tensor, batches: list[tf.Tensor]) -> tf.Tensor:
        def epoch(index: tf.Tensor) -> tuple[tf.Tensor]:
            def update(step: tf.Tensor) -> tuple[tf.Tensor]:
                # A different batch each time, or XLA would do the work only once.
                place = (step + index) % EPOCH
                metric.update_state(*(each[place] for each in batches))
                return (step + 1,)

            metric.reset_state()
            tf.while_loop(lambda step: step < EPOCH, update, [tf.constant(0)])
            return (index + 1,)

        return tf.while_loop(lambda index: index < count, epoch, [tf.constant(0)])[0]

    return lambda count: run(tf.constant(count), batches).numpy()


def results(metric: Any, jit: bool) -> Callable[[int], None]:
    """Return a function that computes the result a number of times, compiled once."""

    @tf.function(autograph=False, jit_compile=jit)
    def run(count: tf.Tensor) -> tf.Tensor:
        def body(index: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return index + 1, tf.reduce_sum(metric.result())

        start = [tf.constant(0), tf.constant(0.0)]
        return tf.while_loop(lambda index, _: index < count, body, start)[1]

    return lambda count: run(tf.constant(count)).numpy()


def seconds(run: Callable[[int], None], count: int) -> float:
    """Return how long `run(count)` takes."""
    begin = time.perf_counter()
    run(count)
    return time.perf_counter() - begin


def compare(pair: Pair, rounds: int, jit: bool) -> list[str]:
    """Let both take turns; return the cells of a row."""
    ours, nearest = pair.ours(), pair.nearest()
    nearest_data = pair.data if pair.nearest_data is None else pair.nearest_data
    runs = {
        "ours": updates(ours, pair.data, jit),
        "Keras": updates(nearest, nearest_data, jit),
    }
    for run in runs.values():
        run(2)
    count = max(1, int(SECONDS / (seconds(runs["Keras"], 10) / 10)))
    contestants = [
        Contestant(name, lambda run=run: run(count), count * EPOCH)
        for name, run in runs.items()
    ]
    found = race(contestants, rounds)
    row = Row("metrics", ours.name, found["ours"], found["Keras"], LIMIT)
    result = results(ours, jit)  # of an epoch, left by the last run
    result(2)
    return [
        type(ours).__name__,
        type(nearest).__name__,
        f"{1e3 * row.ours.median:.1f}",
        f"{1e3 * row.reference.median:.1f}",
        f"{row.ratio:.2f}",
        f"{min(row.ratios):.2f}",
        f"{max(row.ratios):.2f}",
        f"{LIMIT.at_most}",
        "yes" if row.is_met else "NO",
        f"{1e6 * seconds(result, 20) / 20:.0f}",
    ]


def parse() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="part of a metric's name")
    parser.add_argument("--rounds", type=int, default=15, help="how often each runs")
    parser.add_argument("--jit", action="store_true", help="compile by XLA")
    return parser.parse_args()


def main() -> None:
    """Run all, and print the table."""
    options = parse()
    print(f"load average {os.getloadavg()[0]:.1f}, Keras {keras.__version__}")
    lines = [
        compare(pair, options.rounds, options.jit)
        for pair in pairs()
        if options.only.lower() in type(pair.ours()).__name__.lower()
    ]
    print(report.as_table([HEADER, *lines]))


if __name__ == "__main__":
    main()
