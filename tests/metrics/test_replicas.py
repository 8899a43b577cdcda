"""Metrics on several replicas of `tf.distribute`: what one alone would say, or NaN."""

import json
import os
import subprocess
import sys

import pytest

from keras_ext import metrics
from tests.markers import needs_tensorflow
from tests.metrics.rows import METRICS

pytestmark = needs_tensorflow

KEEP_SAMPLES = (
    metrics.AveragePrecision,
    metrics.KendallTau,
    metrics.MeanAveragePrecision,
    metrics.SpearmanCorrelation,
)


def _keeps_samples(metric):
    by_mass = getattr(metric, "binning", None) == "equal_mass"
    return by_mass or isinstance(metric, KEEP_SAMPLES)


@pytest.fixture(scope="module")
def differences():
    result = subprocess.run(
        [sys.executable, "-m", "tests.metrics.replicated_program"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return dict(map(json.loads, result.stdout.strip().splitlines()))


@pytest.mark.parametrize("row", [pytest.param(row, id=row.id) for row in METRICS])
def test_two_replicas_say_what_one_does(differences, row):
    if _keeps_samples(row.make()):  # never a number that is wrong, as documented
        assert differences[row.id] != differences[row.id]
    else:
        assert differences[row.id] <= 1e-6
