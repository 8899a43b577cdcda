"""Two processes that train together, killed and started again: to the bit."""

import random
import signal

import numpy as np
import pytest

from tests.markers import needs_semaphores
from tests.training.killed_workers import (
    killed_and_continued,
    random_kills,
    results,
    run,
    whole,
)

pytestmark = [
    pytest.mark.early,
    pytest.mark.once,
    needs_semaphores,  # for the threads in which TensorFlow reduces over workers
]


def test_any_worker_may_be_killed(tmp_path):
    kills = [(1, signal.SIGKILL, 12), (0, signal.SIGTERM, 18)]
    continued = killed_and_continued(tmp_path / "killed", kills)
    expected = whole(tmp_path / "whole")
    assert continued == expected
    first, second = continued[0]
    assert first == second
    assert len(continued[1]) == 3


@pytest.mark.long
def test_another_number_of_workers_continues(tmp_path):
    """With the same batches: no random numbers of a replica's own."""
    options = {"DROPOUT": "0"}
    run(tmp_path / "killed", kill=(1, signal.SIGTERM, 30), **options)
    _, printed = run(tmp_path / "killed", count=1, **options)
    assert "It was saved with 2 and is continued with 1 workers" in "".join(printed[0])
    (alone,), rows = results(tmp_path / "killed", printed)
    (both, _), expected = whole(tmp_path / "whole", **options)
    for name, values in both["history"].items():
        np.testing.assert_allclose(alone["history"][name], values, atol=1e-6)
    assert len(rows) == len(expected) == 3


@pytest.mark.long
@pytest.mark.parametrize(
    ("count", "driver", "data"), [(2, "fit", "dataset"), (3, "Loop", "arrays")]
)
def test_at_random_moments(tmp_path, count, driver, data):
    """While they compute, evaluate or write a checkpoint."""
    options = {"DRIVER": driver, "DATA": data, "SAVE_FREQ": "1", "SLEEP": "0.002"}
    kills = random_kills(random.Random(5), 3, count)
    continued = killed_and_continued(tmp_path / "killed", kills, count, **options)
    assert continued == whole(tmp_path / "whole", count, **options)
