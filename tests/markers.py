"""What a test may need that not every lane has."""

import multiprocessing

import keras
import pytest


def rows_of(rows):
    """Return one parameter per row, as the conformance tests take them.

    Further rows of a class that has one already differ in arguments only, and are
    marked `long`: the last lane runs them, on the newest versions.
    """
    parameters, seen = [], set()
    for row in rows:
        kind = type(row.make())
        marks = [pytest.mark.long] if kind in seen else []
        parameters.append(pytest.param(row, id=row.id, marks=marks))
        seen.add(kind)
    return parameters


def _has_semaphores():
    """Whether processes can share a semaphore, as their queues and pools do."""
    try:
        multiprocessing.Semaphore()
    except OSError:
        return False
    return True


needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="needs the TensorFlow backend",
)
needs_multi_optimizer = pytest.mark.skipif(
    not hasattr(keras.optimizers, "MultiOptimizer"),
    reason="this Keras has no MultiOptimizer",
)
needs_semaphores = pytest.mark.skipif(
    not _has_semaphores(),
    reason="needs semaphores, which Linux keeps in /dev/shm: there is none to write to",
)
