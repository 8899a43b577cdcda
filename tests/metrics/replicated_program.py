"""Updates every metric on two replicas, and prints how far it is from one alone.

A program of its own, since a process has to say how many devices it has before
TensorFlow starts.
"""

import json

import numpy as np
import tensorflow as tf

PARTS = slice(0, 7), slice(7, None)
"""Which samples each replica gets: not as many as the other."""


def updated(metric, strategy, batches):
    """Return the result of a metric that gets a batch on each replica."""

    @tf.function(autograph=False)
    def run(batches):
        strategy.run(lambda batch: metric.update_state(*batch), args=(batches,))

    run(strategy.experimental_distribute_values_from_function(batches))
    return np.asarray(metric.result())


def samples(row, part):
    """Return targets, predictions and weights, one of which is 0."""
    fed = row.fed(part)
    weights = np.arange(len(row.y_pred), dtype="float32")[part]
    return tuple(tf.constant(each) for each in (*fed, weights))


def main():
    """Compare all metrics."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, two)
    from tests.metrics.rows import METRICS

    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for row in METRICS:
        alone = row.make()
        alone.update_state(*samples(row, slice(None)))
        with strategy.scope():
            metric = row.make()
        together = updated(
            metric,
            strategy,
            lambda context, row=row: samples(
                row, PARTS[context.replica_id_in_sync_group]
            ),
        )
        difference = np.abs(together - np.asarray(alone.result())).max()
        print(json.dumps([row.id, float(difference)]))


if __name__ == "__main__":
    main()
