"""Ray starts two workers, restarts them when one is killed, and gets the metrics."""

import csv
import importlib.util
import json

import pytest

from keras_ext.callbacks import RayReport
from tests.markers import needs_semaphores, needs_tensorflow
from tests.programs import printed

pytestmark = [needs_tensorflow, pytest.mark.once]
is_installed = importlib.util.find_spec("ray") is not None


@needs_semaphores
@pytest.mark.skipif(
    not is_installed, reason="needs Ray Train: pip install 'keras_ext[ray]'"
)
def test_a_killed_worker_is_restarted_and_continues(tmp_path):
    import tensorflow as tf

    from tests import ray_program

    told = json.loads(
        printed("-m", "tests.ray_program", str(tmp_path), timeout=600).splitlines()[-1]
    )
    assert (tmp_path / "killed").exists()
    history = ray_program.fit(tf.distribute.get_strategy()).history
    with open(tmp_path / "log.csv") as file:
        rows = list(csv.DictReader(file))
    # Continued in the middle of an epoch: each is there once.
    assert [int(row["step"]) for row in rows] == [8, 16, 24, 32]
    for name in ("loss", "accuracy"):
        logged = [float(row[name]) for row in rows]
        assert logged == pytest.approx(history[name], abs=1e-6)
        assert told["metrics"][name] == logged[-1]
    assert told["metrics"]["epoch"] == 3
    assert sum(name.endswith(".index") for name in told["files"]) == 3


@pytest.mark.skipif(is_installed, reason="Ray is installed")
def test_without_ray():
    with pytest.raises(ImportError, match=r"pip install 'keras_ext\[ray\]'"):
        RayReport("run")
