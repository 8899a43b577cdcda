"""N-pairs loss of several labels against the formula, and what it refuses.

What it shares with the other losses over pairs is in `test_batchwise.py`.
"""

import numpy as np
import pytest
from keras import ops

from keras_ext.losses import NPairsMultilabel, n_pairs, n_pairs_multilabel
from tests.backends import compiled
from tests.losses.batches import EMBEDDINGS, LABELS
from tests.reference import metric_learning as reference
from tests.slopes import assert_gradient_is_the_slope, needs_double_precision

PAIRS = np.stack([EMBEDDINGS, EMBEDDINGS[::-1] ** 2], axis=1)
TAGS = (np.random.default_rng(6).uniform(size=(24, 4)) < 0.3).astype("float32")


def test_equals_the_formula():
    expected, counted = reference.n_pairs_multilabel(TAGS, PAIRS)
    assert 0 < counted.sum() < 24
    for dtype in ("float32", "bool", "int64", "uint8"):
        np.testing.assert_allclose(
            n_pairs_multilabel(TAGS.astype(dtype), PAIRS),
            expected,
            rtol=1e-5,
            atol=1e-5,
        )


def test_of_one_label_each_it_is_n_pairs():
    np.testing.assert_allclose(
        n_pairs_multilabel(np.eye(9)[LABELS], PAIRS), n_pairs(LABELS, PAIRS), rtol=1e-5
    )


def test_a_sample_without_labels_is_a_negative_and_not_in_the_mean():
    tags = np.eye(2)[[0, 1, 1]]
    tags[2] = 0
    values = ops.convert_to_numpy(n_pairs_multilabel(tags, PAIRS[:3]))
    assert values[2] == 0
    assert values[0] > ops.convert_to_numpy(n_pairs_multilabel(tags[:2], PAIRS[:2]))[0]
    loss = float(NPairsMultilabel()(tags, PAIRS[:3]))
    assert loss == pytest.approx(values.sum() / 2, rel=1e-6)


def test_a_sample_of_weight_0_counts_whatever_its_labels_are():
    labels = np.eye(4, dtype="float32")[[0, 1, 2, 0]]
    unknown = labels.copy()
    unknown[1] = np.nan
    pairs = np.random.default_rng(0).normal(size=(4, 2, 4)).astype("float32")
    weights = np.float32([1, 0, 1, 1])
    loss = NPairsMultilabel()
    expected = float(loss(labels, pairs, sample_weight=weights))
    assert float(loss(unknown, pairs, sample_weight=weights)) == expected
    values = NPairsMultilabel(reduction="none")(labels, pairs, sample_weight=weights)
    assert expected == pytest.approx(float(np.mean(values)), rel=1e-6)


@needs_double_precision
def test_the_gradient_is_the_slope():
    assert_gradient_is_the_slope(lambda x: n_pairs_multilabel(TAGS, x), PAIRS)


@pytest.mark.parametrize("wrong", [2, -1, 0.5, np.nan])
def test_labels_that_are_none(wrong):
    tags = TAGS.copy()
    tags[3, 1] = wrong
    match = f"to be 1 for the labels .*with an entry {wrong:.10g}. .*multi_hot"
    with pytest.raises(ValueError, match=match):
        NPairsMultilabel()(tags, PAIRS)
    loss = compiled(NPairsMultilabel())
    assert np.isfinite(float(loss(TAGS, PAIRS)))
    assert np.isnan(float(loss(tags, PAIRS)))


@pytest.mark.parametrize("shape", [(24,), (23, 4), (24, 4, 1)])
def test_labels_of_a_wrong_shape(shape):
    match = r"y_true of shape \(batch, labels\).*y_true.shape=.*losses.NPairs`"
    with pytest.raises(ValueError, match=match):
        n_pairs_multilabel(np.zeros(shape), PAIRS)


def test_config_keeps_every_argument():
    loss = NPairsMultilabel("sum", "tags", "float64")
    assert loss.get_config() == {"name": "tags", "reduction": "sum", "dtype": "float64"}
