"""Poly-1 loss against the paper's formula."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext.losses import Poly, poly
from tests.losses.compiling import assert_compiled_alike, assert_finite
from tests.reference import classification_losses as reference
from tests.slopes import assert_gradient_is_the_slope, needs_double_precision

EPSILONS = [-1.0, -0.5, 0.0, 1.0, 6.0]

rng = np.random.default_rng(12)
logits = (3 * rng.normal(size=(32, 5))).astype("float32")
labels = rng.integers(0, 5, size=32)
soft = rng.dirichlet(np.ones(5), size=32).astype("float32")
probabilities = ops.convert_to_numpy(ops.softmax(logits))


@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("from_logits", [False, True])
class TestValues:
    def test_of_labels_equal_the_formula(self, epsilon, from_logits):
        y_pred = logits if from_logits else probabilities
        some = np.where(np.arange(32) % 4, labels, -1)
        options = {"epsilon": epsilon, "from_logits": from_logits, "ignore_class": -1}
        expected, counts = reference.poly(some, y_pred, **options)
        values = poly(some, y_pred, **options)
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)
        assert float(Poly(**options)(some, y_pred)) == pytest.approx(
            expected[counts].mean(), rel=1e-5
        )

    def test_of_distributions_equal_the_formula(self, epsilon, from_logits):
        y_pred = logits if from_logits else probabilities
        options = {"epsilon": epsilon, "from_logits": from_logits}
        options["sparse_y_true"] = False
        expected, _ = reference.poly(soft, y_pred, **options)
        np.testing.assert_allclose(
            poly(soft, y_pred, **options), expected, rtol=1e-5, atol=1e-5
        )
        assert float(Poly(**options)(soft, y_pred)) == pytest.approx(
            expected.mean(), rel=1e-5
        )


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_one_hot_targets_are_labels(epsilon):
    one_hot = np.eye(5, dtype="float32")[labels]
    np.testing.assert_allclose(
        poly(one_hot, probabilities, epsilon, sparse_y_true=False),
        poly(labels, probabilities, epsilon),
        rtol=1e-6,
    )


@pytest.mark.parametrize("axis", [1, -1, 2])
def test_distributions_with_classes_on_any_axis(axis):
    true, predicted = (
        np.moveaxis(x.reshape(4, 8, 5), -1, axis) for x in (soft, probabilities)
    )
    expected = poly(soft, probabilities, sparse_y_true=False)
    np.testing.assert_allclose(
        poly(true, predicted, sparse_y_true=False, axis=axis),
        np.reshape(expected, (4, 8)),
        rtol=1e-5,
    )


def test_epsilon_0_is_keras_crossentropy():
    expected = keras.losses.categorical_crossentropy(soft, probabilities)
    np.testing.assert_allclose(
        poly(soft, probabilities, 0, sparse_y_true=False), expected, rtol=1e-5
    )


@needs_double_precision
@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("epsilon", EPSILONS)
def test_the_gradient_is_the_slope(from_logits, epsilon):
    y_pred = (logits if from_logits else probabilities).astype("float64")
    y_pred += 0 if from_logits else 1e-3  # away from what is clipped
    assert_gradient_is_the_slope(
        lambda x: poly(labels, x, epsilon, from_logits=from_logits), y_pred
    )
    assert_gradient_is_the_slope(
        lambda x: poly(soft, x, epsilon, from_logits, sparse_y_true=False), y_pred
    )


@pytest.mark.parametrize("sparse", [True, False])
def test_compiled(sparse):
    y_true = labels if sparse else soft
    assert_compiled_alike(
        lambda x: poly(y_true, x, from_logits=True, sparse_y_true=sparse), logits
    )


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("epsilon", EPSILONS)
class TestCorners:
    def test_certain_probabilities(self, sparse, epsilon):
        certain = np.eye(3, dtype="float32")
        true = np.array([0, 2, 1]) if sparse else certain[[0, 2, 1]]

        def loss(x):
            return poly(true, x, epsilon, sparse_y_true=sparse)

        most = -np.log(keras.config.epsilon()) + epsilon
        np.testing.assert_allclose(loss(certain), [0, most, most], atol=1e-5)
        assert_finite(loss, certain)
        assert_finite(loss, np.zeros_like(certain))

    def test_extreme_logits(self, sparse, epsilon):
        extreme = 3e4 * np.eye(3, dtype="float16")
        true = np.array([0, 2, 1]) if sparse else np.eye(3)[[0, 2, 1]]

        def loss(x):
            return poly(true, x, epsilon, from_logits=True, sparse_y_true=sparse)

        np.testing.assert_allclose(loss(extreme), [0, 3e4, 3e4], rtol=1e-3)
        assert_finite(loss, extreme)

    def test_a_class_that_is_ruled_out(self, sparse, epsilon):
        ruled_out = np.array([[1.0, 0.0, -np.inf]], "float32")
        true = np.array([0]) if sparse else np.array([[0.5, 0.5, 0.0]])
        assert_finite(
            lambda x: poly(true, x, epsilon, from_logits=True, sparse_y_true=sparse),
            ruled_out,
        )


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"epsilon": -1.1}, r"`epsilon` must be a finite number in \[-1, inf\)"),
        ({"epsilon": "1"}, "epsilon='1'"),
        (
            {"ignore_class": 3, "sparse_y_true": False},
            "needs `sparse_y_true=True`. Received: ignore_class=3, sparse_y_true=False",
        ),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        Poly(**arguments)
    with pytest.raises(ValueError, match=match):
        poly(labels, probabilities, **arguments)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "axis", "match"),
    [
        ((3, 4), (3, 5), -1, r"probabilities of y_pred's shape.*y_true.shape=\(3, 4\)"),
        ((3, 5), (3, 5), 2, "with the classes on axis 2. Received"),
        ((3, 1), (3, 1), -1, "at least 2. .*size=1. For a model with a single sigmoid"),
    ],
)
def test_bad_shapes_of_distributions(y_true, y_pred, axis, match):
    with pytest.raises(ValueError, match=match):
        poly(np.ones(y_true), np.ones(y_pred), sparse_y_true=False, axis=axis)


def test_config_keeps_every_argument():
    loss = Poly(-1, True, True, 255, 1, reduction="sum", name="p", dtype="float64")
    assert loss.get_config() == {
        "name": "p",
        "reduction": "sum",
        "epsilon": -1.0,
        "from_logits": True,
        "sparse_y_true": True,
        "ignore_class": 255,
        "axis": 1,
        "dtype": "float64",
    }
