"""A step on several replicas, each with its share of the batch."""

import threading
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_ext.training.data.chunks import first_tensor, has_axis

# MirroredStrategy traces each replica in a thread of its own.
_here = threading.local()


def loss_share(loss: Any) -> Any:
    """Return what this replica's loss counts for, as a factor on its gradients.

    Keras divides the mean loss of every replica by their number, which makes their sum
    the mean over the whole batch if all have equally many samples. Where one has fewer,
    its mean must count for less.
    """
    share = getattr(_here, "share", None)
    return tf.ones_like(loss) if share is None else tf.cast(share, loss.dtype)


def summable(gradients: list[Any]) -> list[Any]:
    """Return the gradients of a share such that optimizers may square their sum.

    Of a sparse batch, a gradient is slices, each column's once. Those of all replicas
    would be put side by side, and optimizers square each for itself.
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
    """Run `step` on every replica and return what each has returned.

    Every replica is given the whole batch and takes consecutive samples of it, as
    many as the others or one more or less.
    """
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return strategy.run(step, args=(batch,))

    def step_on_share(batch: Any) -> Any:
        samples = tf.shape(first_tensor(batch))[0]
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        # Rounded in the same way at both ends, so that the shares leave no sample out.
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
    """Return samples of a batch, from number `begin` to before `end`."""
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
    """Return one set of logs for those of all replicas.

    Args:
        strategy: What distributes the step.
        logs: What the step has returned on each replica.
        results: Returns what the metrics say, read from all replicas together. Logs
            of other names are averaged.
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
    """Return the outputs of all replicas, one after the other."""
    if strategy.num_replicas_in_sync == 1:
        return outputs
    return keras.tree.map_structure(
        lambda value: strategy.gather(value, axis=0), outputs
    )
