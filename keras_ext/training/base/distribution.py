"""Several processes that make the same steps, and what they must agree on."""

import tensorflow as tf


def num_workers() -> int:
    """Return how many processes `TF_CONFIG` names, for those who know no strategy."""
    cluster = tf.distribute.cluster_resolver.TFConfigClusterResolver().cluster_spec()
    return max(1, sum(cluster.num_tasks(job) for job in cluster.jobs))


def has_several_workers(strategy: tf.distribute.Strategy | None) -> bool:
    """Whether other processes make the same steps."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
