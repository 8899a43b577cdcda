"""The Brier score against the paper's formula and scikit-learn."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from sklearn.metrics import brier_score_loss

from keras_ext.metrics import BrierScore
from tests.metrics.modes import JIT, result_in_steps
from tests.reference import losses
from tests.reference import mean_metrics as reference

CLASSES = 4

rng = np.random.default_rng(23)
logits = (3 * rng.normal(size=(80, CLASSES))).astype("float32")
probabilities = losses.softmax(logits).astype("float32")
labels = rng.integers(0, CLASSES, size=80, dtype="int32")
weights = (rng.uniform(size=80) * (rng.uniform(size=80) < 0.7)).astype("float32")
one_hot = np.eye(CLASSES, dtype="float32")[labels]
soft = rng.dirichlet(np.ones(CLASSES), size=80).astype("float32")


def score(y_true, y_pred, sample_weight=None, **options):
    metric = BrierScore(**options)
    metric.update_state(y_true, y_pred, sample_weight=sample_weight)
    return float(metric.result())


@pytest.mark.parametrize("weight", [None, weights], ids=["equal", "weighted"])
class TestValues:
    @pytest.mark.parametrize("from_logits", [False, True])
    def test_labels(self, weight, from_logits):
        y_pred = logits if from_logits else probabilities
        options = {"from_logits": from_logits, "ignore_class": 2}
        for kwargs in (options, {**options, "ignore_class": None}):
            expected = reference.brier_score(
                labels, y_pred, sample_weight=weight, **kwargs
            )
            got = score(labels, y_pred, weight, **kwargs)
            assert got == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize("from_logits", [False, True])
    def test_distributions(self, weight, from_logits):
        y_pred = logits if from_logits else probabilities
        options = {"from_logits": from_logits, "sparse_y_true": False}
        for target in (one_hot, soft):
            expected = reference.brier_score(
                target, y_pred, sample_weight=weight, **options
            )
            assert score(target, y_pred, weight, **options) == pytest.approx(
                expected, abs=1e-6
            )

    @pytest.mark.parametrize("from_logits", [False, True])
    @pytest.mark.parametrize("sparse", [False, True])
    def test_a_single_output(self, weight, from_logits, sparse):
        y_pred = logits[:, 0] if from_logits else probabilities[:, 0]
        target = labels % 2 if sparse else soft[:, 0]
        options = {"from_logits": from_logits, "sparse_y_true": sparse}
        expected = reference.brier_score(
            target, y_pred, sample_weight=weight, **options
        )
        for true in (target, target[:, None]):
            for predicted in (y_pred, y_pred[:, None]):
                got = score(true, predicted, weight, **options)
                assert got == pytest.approx(expected, abs=1e-6)

    def test_equals_scikit_learn_for_two_classes(self, weight):
        p, y_true = probabilities[:, 0], labels % 2
        expected = brier_score_loss(y_true, p, sample_weight=weight)
        assert score(y_true, p, weight) == pytest.approx(expected, abs=1e-6)
        both = np.stack([1 - p, p], axis=-1)
        assert score(y_true, both, weight) == pytest.approx(2 * expected, abs=1e-6)

    def test_images(self, weight):
        images = probabilities.reshape(4, 5, 4, CLASSES)
        expected = reference.brier_score(labels, probabilities, sample_weight=weight)
        weight = None if weight is None else weight.reshape(4, 5, 4)
        for shape in [(4, 5, 4), (4, 5, 4, 1)]:
            got = score(labels.reshape(shape), images, weight)
            assert got == pytest.approx(expected, abs=1e-6)


def test_a_weight_per_sample_holds_for_all_its_labels():
    images = probabilities.reshape(8, 10, CLASSES)
    expected = score(labels, probabilities, np.repeat(np.arange(8.0), 10))
    got = score(labels.reshape(8, 10), images, np.arange(8.0))
    assert got == pytest.approx(expected, rel=1e-6)


def test_corner_points():
    assert float(BrierScore().result()) == 0
    assert score(labels[:0], probabilities[:0]) == 0
    assert score(labels, probabilities, np.zeros(80)) == 0
    assert score([1], [[0.0, 1.0]]) == 0
    assert score([0], [[0.0, 1.0]]) == 2
    assert score([1], [0.0]) == 1
    assert score([0], [[-1e9, 1e9]], from_logits=True) == 2


def test_the_true_probabilities_score_best():
    true = np.array([0.2, 0.5, 0.3])
    y_true = np.arange(3)

    def expected_score(p):
        return score(y_true, np.tile(p, (3, 1)), sample_weight=true)

    for other in ([0.3, 0.4, 0.3], [0.0, 1.0, 0.0], [0.34, 0.33, 0.33]):
        assert expected_score(other) > expected_score(true)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    y_pred = ops.cast(probabilities, dtype)
    expected = reference.brier_score(
        labels, ops.convert_to_numpy(ops.cast(y_pred, "float32"))
    )
    assert score(labels, y_pred) == pytest.approx(expected, abs=1e-6)
    metric = BrierScore(dtype=dtype)
    metric.update_state(labels, y_pred)
    assert keras.backend.standardize_dtype(metric.result().dtype) == dtype


WRONG = [
    ([0, 4], np.eye(4)[:2], {}, "whole numbers from 0 to 3. Received: .*label 4"),
    ([0, 0.5], np.eye(4)[:2], {}, "Received: y_true with a label 0.5"),
    ([1, 2], [0.5, 0.5], {}, "whole numbers from 0 to 1. Received: .*label 2"),
    ([0, 0], [[1, 0], [2.0, -1.0]], {}, "`y_pred`. .*a prediction .*softmax"),
    ([0, 0], [0.5, 1.5], {}, "values from -0.5 to 1.5 .*sigmoid` to a single"),
    (
        [[1, 0], [0.5, 0.7]],
        [[1.0, 0], [1, 0]],
        {"sparse_y_true": False},
        "`y_true`. Received: a target with values .*sum 1.2. .*sparse_y_true=True",
    ),
]


class TestWrongInput:
    @pytest.mark.parametrize(("y_true", "y_pred", "options", "match"), WRONG)
    def test_raises_when_eager(self, y_true, y_pred, options, match):
        with pytest.raises(ValueError, match=match):
            score(np.array(y_true), np.array(y_pred), **options)

    @pytest.mark.parametrize(("y_true", "y_pred", "options", "match"), WRONG)
    def test_is_absent_with_weight_0(self, y_true, y_pred, options, match):
        y_true, y_pred = np.array(y_true), np.array(y_pred)
        got = score(y_true, y_pred, np.array([1, 0]), **options)
        assert got == pytest.approx(score(y_true[:1], y_pred[:1], **options))

    @pytest.mark.parametrize("jit_compile", JIT)
    @pytest.mark.parametrize(("y_true", "y_pred", "options", "match"), WRONG)
    def test_is_nan_when_compiled(self, y_true, y_pred, options, match, jit_compile):
        batch = {"y_true": np.float32(y_true), "y_pred": np.float32(y_pred)}
        metric = BrierScore(**options)
        assert np.isnan(result_in_steps(metric, [batch], jit_compile))


@pytest.mark.parametrize(
    ("y_true", "y_pred", "weight", "options", "match"),
    [
        ((5,), (6, 2), None, {}, r"\(6, 2\) goes with y_true of shape \(6,\). .*\(5,"),
        ((6, 3), (6, 2), None, {"sparse_y_true": False}, r"\(6, 2\).*shape=\(6, 3\)"),
        ((6,), (6, 2), None, {"sparse_y_true": False}, "pass `sparse_y_true=True`"),
        ((6,), (6, 2), (3,), {}, r"one weight for each label.*weight.shape=\(3,\)"),
    ],
)
def test_bad_shapes(y_true, y_pred, weight, options, match):
    weight = None if weight is None else np.ones(weight)
    with pytest.raises(ValueError, match=match):
        score(np.zeros(y_true), np.full(y_pred, 0.5), weight, **options)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"ignore_class": 0.5}, "`ignore_class` must be an integer. .*0.5"),
        ({"ignore_class": 3, "sparse_y_true": False}, "there are none with .*class=3"),
    ],
)
def test_bad_arguments(options, match):
    with pytest.raises(ValueError, match=match):
        BrierScore(**options)


def test_config_keeps_every_argument():
    metric = BrierScore(from_logits=True, ignore_class=9, dtype="float16")
    assert metric.get_config() == {
        "name": "brier_score",
        "dtype": "float16",
        "from_logits": True,
        "sparse_y_true": True,
        "ignore_class": 9,
    }


@given(st.permutations(range(8)), st.integers(0, 8), st.permutations(range(CLASSES)))
def test_order_batches_and_names_of_classes_do_not_matter(order, cut, names):
    metric = BrierScore()
    renamed = np.argsort(names)[labels]
    for part in (order[:cut], order[cut:]):
        metric.update_state(renamed[part], probabilities[part][:, names], weights[part])
    expected = score(labels[:8], probabilities[:8], weights[:8])
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)
