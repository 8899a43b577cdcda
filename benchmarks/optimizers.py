"""A step of LazyAdam on a large embedding, compared with one of Keras's Adam.

    python benchmarks/optimizers.py
    python benchmarks/optimizers.py --jit
    python benchmarks/optimizers.py --rows 100000 --rounds 31

The model looks up 1024 rows of a table with 32 columns, and has a dense layer. A step
is forward pass, gradients and update in one compiled function, with `--jit` by XLA; the
two take turns in this one process.
"""

import argparse
import os
from collections.abc import Callable

import keras
import numpy as np
import report
import tensorflow as tf
from race import Contestant, Goal, Row, race

from keras_ext.optimizers import LazyAdam

HEADER = ("rows", "compiled", "LazyAdam, ms", "Adam, ms", "Adam/LazyAdam", "min", "max")
COLUMNS, BATCH, STEPS = 32, 1024, 8  # steps in a round


def steps(optimizer: keras.Optimizer, rows: int, jit: bool) -> Callable[[], None]:
    """Return a function that makes some steps, each with other rows."""
    table = keras.layers.Embedding(rows, COLUMNS)
    model = keras.Sequential(
        [keras.Input((), dtype="int32"), table, keras.layers.Dense(1)]
    )
    variables = model.trainable_variables
    optimizer.build(variables)
    rng = np.random.default_rng(0)
    batches = tf.constant(rng.integers(rows, size=(STEPS, BATCH), dtype="int32"))

    @tf.function(autograph=False, jit_compile=jit)
    def step(batch: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(batch, training=True) - 1))
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    def run() -> None:
        for batch in batches:
            step(batch).numpy()

    return run


def parse() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the table")
    parser.add_argument("--rounds", type=int, default=7, help="how often each runs")
    parser.add_argument("--jit", action="store_true", help="compile by XLA")
    return parser.parse_args()


def main() -> None:
    """Let both take turns, and print the medians."""
    options = parse()
    print(f"load average {os.getloadavg()[0]:.1f}, Keras {keras.__version__}")
    runs = {
        kind.__name__: steps(kind(), options.rows, options.jit)
        for kind in (LazyAdam, keras.optimizers.Adam)
    }
    contestants = [Contestant(name, run, STEPS) for name, run in runs.items()]
    found = race(contestants, options.rounds)
    row = Row("optimizers", "embedding", found["LazyAdam"], found["Adam"], Goal())
    cells = (
        f"{options.rows}",
        "by XLA" if options.jit else "as a graph",
        f"{row.ours.median:.2f}",
        f"{row.reference.median:.2f}",
        f"{row.ratio:.1f}",
        f"{min(row.ratios):.1f}",
        f"{max(row.ratios):.1f}",
    )
    print(report.as_table([HEADER, cells]))


if __name__ == "__main__":
    main()
