"""How often XLA compiles a loop of training steps with a triplet loss.

    python benchmarks/addons_xla.py

Prints, for losses of TensorFlow Addons through `keras_ext.addons` and for ours, the
seconds of four calls of the same compiled loop: the first compiles it, the others
should only run it. Needs the extra `addons`.
"""

import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

import keras_ext

BATCH, DIM = 16, 4
rng = np.random.default_rng(0)
X = tf.constant(rng.normal(size=(4 * BATCH, 16)), "float32")
LABELS = tf.constant(rng.integers(0, 4, size=4 * BATCH))


def seconds(loss: Callable) -> list[float]:
    """Return the seconds of four calls, of three steps each."""
    kernel = tf.Variable(rng.normal(size=(16, DIM)), dtype="float32")

    @tf.function(jit_compile=True)
    def steps(start, end):
        def step(i, _):
            rows = (i % 4) * BATCH + tf.range(BATCH)
            with tf.GradientTape() as tape:
                value = loss(tf.gather(LABELS, rows), tf.gather(X, rows) @ kernel)
            kernel.assign_sub(0.01 * tape.gradient(value, kernel))
            return i + 1, value

        return tf.while_loop(lambda i, _: i < end, step, (start, tf.constant(0.0)))

    found = []
    for start in range(0, 12, 3):
        begin = time.perf_counter()
        steps(tf.constant(start), tf.constant(start + 3))
        found.append(time.perf_counter() - begin)
    return found


def main() -> None:
    """Print a line for each loss."""
    addons = keras_ext.addons
    names = ("TripletSemiHardLoss", "TripletHardLoss", "LiftedStructLoss")
    losses = {
        f"tfa.losses.{n}": addons.loss(getattr(addons.tfa.losses, n)()) for n in names
    }
    losses["keras_ext.losses.TripletSemiHard"] = keras_ext.losses.TripletSemiHard()
    losses["keras_ext.losses.TripletHard"] = keras_ext.losses.TripletHard()
    losses["keras_ext.losses.LiftedStruct"] = keras_ext.losses.LiftedStruct()
    for name, loss in losses.items():
        keras.utils.set_random_seed(0)
        print(name, *(f"{one:.3f}" for one in seconds(loss)), flush=True)


if __name__ == "__main__":
    main()
