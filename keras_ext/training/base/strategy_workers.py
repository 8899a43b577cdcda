"""The workers of a strategy: whether there are several, and what they do together."""

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from keras_ext.training.base.workers import Doing, Workers, drawn_unless, tasks_of

# With the strategy, so that no other object gets its id.
_KNOWN: dict[int, tuple[Any, Workers]] = {}


def workers_of(strategy: Any) -> Workers | None:
    """Return the workers of a strategy, the same for each; `None` of only one."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return None
    if len(tasks_of(strategy.cluster_resolver.cluster_spec())) < 2:
        return None
    if id(strategy) not in _KNOWN:
        _KNOWN[id(strategy)] = strategy, Workers(strategy)
    return _KNOWN[id(strategy)][1]


def meet(strategy: Any, doing: Doing) -> None:
    """Wait for all workers after what a user wrote, which may have raised in one.

    Before metrics are reset or read, which TensorFlow does with a sum over all workers.
    """
    workers = workers_of(strategy)
    if workers is not None:
        workers.agree(doing, 0, 0)


@contextlib.contextmanager
def told_of_errors(strategy: Any) -> Iterator[None]:
    """Have the other workers raise, too, if this one does."""
    try:
        yield
    except BaseException as error:
        workers = workers_of(strategy)
        if workers is not None:
            workers.tell(error)
        raise


def seed_of(strategy: Any, seed: int | None) -> int:
    """Return `seed`, or one that `keras.utils.set_random_seed` determines if `None`.

    It is the same in all workers of the strategy.
    """
    workers = workers_of(strategy)
    return drawn_unless(seed) if workers is None else workers.agree_on_seed(seed)


def num_workers() -> int:
    """Return how many processes there are, for those who know no strategy.

    Those of the strategies in use, and before that those that `TF_CONFIG` names.
    """
    if _KNOWN:
        return max(workers.count for _, workers in _KNOWN.values())
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    return max(1, len(tasks_of(resolver.cluster_spec())))
