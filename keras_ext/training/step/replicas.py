"""A step on several replicas, each with its share of the batch."""

import threading
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_ext.training.data.chunks import first_tensor, has_axis

# MirroredStrategy traces each replica in its own thread.
_here = threading.local()


def loss_share(loss: Any) -> Any:
    """Return the weight of this replica's loss, as a factor for its gradients.

    Keras divides the mean loss of every replica by their number, which makes their sum
    the mean over the whole batch if all have equally many samples. If one has fewer,
    its mean must count for less.
    """
    share = getattr(_here, "share", None)
    return tf.ones_like(loss) if share is None else tf.cast(share, loss.dtype)


def summable(gradients: list[Any]) -> list[Any]:
    """Return the gradients of a share in a form that optimizers may sum and square.

    For a sparse batch, a gradient consists of slices, one per column. Those of all
    replicas would be concatenated, and optimizers square each separately.
    """
    if not getattr(_here, "sparse", False):
        return gradients
    return [
        tf.convert_to_tensor(one) if isinstance(one, tf.IndexedSlices) else one
        for one in gradients
    ]


def run_on_shares(
    strategy: tf.distribute.Strategy, step: Callable[[Any], Any], batch: Any
) -> Any:
    """Run `step` on every replica and return the result of each.

    Every replica receives the whole batch and takes consecutive samples of it, as many
    as the others, plus or minus one.
    """
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return strategy.run(step, args=(batch,))

    def step_on_share(batch: Any) -> Any:
        samples = tf.shape(first_tensor(batch))[0]
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        # Rounded in the same way at both ends, so that no sample is left out.
        begin = samples * replica // replicas
        end = samples * (replica + 1) // replicas
        _here.share = (end - begin) * replicas / samples
        leaves = keras.tree.flatten(batch)
        _here.sparse = any(isinstance(leaf, tf.SparseTensor) for leaf in leaves)
        try:
            return step(
                keras.tree.map_structure(lambda leaf: _samples(leaf, begin, end), batch)
            )
        finally:
            # A step that is traced later in this thread may have the whole batch.
            _here.share, _here.sparse = None, False

    return strategy.run(step_on_share, args=(batch,))


def _samples(leaf: Any, begin: Any, end: Any) -> Any:
    """Return the samples of a batch from `begin` up to but not including `end`."""
    if not has_axis(leaf):
        return leaf
    if not isinstance(leaf, tf.SparseTensor):
        return leaf[begin:end]
    inner = leaf.dense_shape[1:]
    start, size = (tf.cast(one, tf.int64)[None] for one in (begin, end - begin))
    samples = tf.sparse.slice(
        leaf,
        tf.concat([start, tf.zeros_like(inner)], 0),
        tf.concat([size, inner], 0),
    )
    # `tf.sparse.slice` loses the number of features, which layers need to build.
    samples.set_shape([None, *leaf.shape[1:]])
    return samples


def joined_logs(
    strategy: tf.distribute.Strategy,
    logs: dict[str, Any],
    results: Callable[[], dict[str, Any]],
) -> dict[str, Any]:
    """Return one set of logs, combined from those of all replicas.

    Args:
        strategy: Strategy that distributes the step.
        logs: Logs that the step returned on each replica.
        results: Returns the results of the metrics, read from all replicas together.
            Logs of other names are averaged.
    """
    if strategy.num_replicas_in_sync == 1:
        return logs
    metrics = results()
    return {
        name: metrics[name]
        if name in metrics
        else strategy.reduce("MEAN", value, axis=None)
        for name, value in logs.items()
    }


def joined_outputs(strategy: tf.distribute.Strategy, outputs: Any) -> Any:
    """Return the concatenated outputs of all replicas."""
    if strategy.num_replicas_in_sync == 1:
        return outputs
    return keras.tree.map_structure(
        lambda value: strategy.gather(value, axis=0), outputs
    )
