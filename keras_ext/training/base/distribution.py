"""Several processes that make the same steps, and what they must agree on."""

import tensorflow as tf


def has_several_workers(strategy: tf.distribute.Strategy | None) -> bool:
    """Whether other processes make the same steps."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
