"""Metrics on several replicas of `tf.distribute`: what one alone would say, or NaN."""

import json

import pytest

from keras_ext import metrics
from tests.markers import needs_tensorflow
from tests.metrics.rows import METRICS
from tests.programs import printed

pytestmark = [needs_tensorflow, pytest.mark.early]

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
    lines = printed("-m", "tests.metrics.replicated_program").splitlines()
    return dict(map(json.loads, lines))


@pytest.mark.parametrize("row", [pytest.param(row, id=row.id) for row in METRICS])
def test_two_replicas_say_what_one_does(differences, row):
    if _keeps_samples(row.make()):  # never a number that is wrong, as documented
        assert differences[row.id] != differences[row.id]
    else:
        assert differences[row.id] <= 1e-6
