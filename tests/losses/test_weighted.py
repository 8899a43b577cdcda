"""Sample weights beside losses with a value for each sample: which of them fit."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ext import losses
from keras_ext.losses._function_loss import Masked
from tests.backends import compiled, gradients
from tests.markers import needs_tensorflow
from tests.metrics.modes import JIT

rng = np.random.default_rng(4)
STEPS = 4
weights = np.float32([1, 0, 2, 0])
scores = rng.uniform(0.1, 1, size=(4, STEPS, 3)).astype("float32")
scores /= scores.sum(axis=-1, keepdims=True)
labels = rng.integers(0, 3, size=(4, STEPS))
one_hot = np.eye(3, dtype="float32")[labels]

CASES = [
    pytest.param(kind, y_true, id=kind.__name__)
    for kind, y_true in (
        (losses.Asymmetric, one_hot),
        (losses.Charbonnier, one_hot),
        (losses.Contrastive, one_hot),
        (losses.Pinball, one_hot),
        (losses.Poly, labels),
        (losses.SparseCategoricalCrossentropy, labels),
        (losses.SparseCategoricalFocalCrossentropy, labels),
        (losses.Sparsemax, labels),
    )
]
MATCH = r"one weight for each value of the loss, of shape \(4, 4\), .* \(4, 1\). Rec"


@pytest.mark.parametrize(("kind", "y_true"), CASES)
class TestSequences:
    def test_weights_of_samples_and_of_steps(self, kind, y_true):
        loss = kind(reduction="sum")
        alone = [float(loss(y_true[i : i + 1], scores[i : i + 1])) for i in range(4)]
        for given in (weights[:, None], np.repeat(weights[:, None], STEPS, axis=1)):
            total = float(loss(y_true, scores, sample_weight=given))
            assert total == pytest.approx(np.dot(weights, alone), rel=1e-5)
            with_axis = float(loss(y_true, scores, sample_weight=given[..., None]))
            assert with_axis == pytest.approx(total)
        assert float(loss(y_true, scores, sample_weight=2.0)) == pytest.approx(
            2 * sum(alone), rel=1e-5
        )

    @pytest.mark.parametrize("jit_compile", JIT)
    def test_absent_and_masked_steps_may_hold_anything(self, kind, y_true, jit_compile):
        absent, masked = np.zeros((2, 4, STEPS), "bool")
        absent[1, 2], masked[3, :2], masked[1, 2] = True, True, True
        kept = ~absent & ~masked
        true, pred = y_true.astype("float32"), scores.copy()
        true[~kept] = pred[~kept] = np.nan
        loss, each = kind(reduction="sum"), kind(reduction="none")
        given = np.where(absent, 0, np.arange(STEPS) + 1).astype("float32")

        def total(x):
            x = Masked("float32")(x, mask=ops.convert_to_tensor(~masked))
            return loss(true, x, sample_weight=given)

        values = ops.convert_to_numpy(each(y_true, scores))
        expected = np.sum((given * values)[kept])
        result = compiled(total, jit_compile)(ops.convert_to_tensor(pred))
        assert float(result) == pytest.approx(expected, rel=1e-5)
        if jit_compile:
            return
        (slope,) = gradients(total, pred)
        (alone,) = gradients(
            lambda x: ops.sum(each(y_true, x) * (given * kept)), scores
        )
        np.testing.assert_allclose(slope, alone, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("shape", [(4,), (3, 1), (4, 4, 3), (4, 3)])
    def test_others_are_refused(self, kind, y_true, shape):
        with pytest.raises(ValueError, match=MATCH) as caught:
            kind()(y_true, scores, sample_weight=np.ones(shape))
        assert f"sample_weight.shape={shape}" in str(caught.value)


def test_the_class_axis_may_be_another():
    first = np.moveaxis(scores, -1, 1)
    spoiled = np.where(weights[:, None, None] == 0, np.nan, first)
    loss = losses.Poly(axis=1)
    expected = losses.Poly()(labels, scores, sample_weight=weights[:, None])
    np.testing.assert_allclose(
        loss(labels, spoiled, sample_weight=weights[:, None]), expected, rtol=1e-6
    )
    spoiled[1, :, 0] = np.nan
    by_step = np.repeat(weights[:, None], STEPS, axis=1)
    by_step[0, 1] = 0
    spoiled[0, :, 1] = np.nan
    np.testing.assert_allclose(
        loss(labels, spoiled, sample_weight=by_step),
        losses.Poly()(labels, scores, sample_weight=by_step),
        rtol=1e-6,
    )
    with pytest.raises(ValueError, match=r"of shape \(4, 4\), or"):
        loss(labels, first, sample_weight=weights)


def test_a_negative_weight_multiplies():
    loss = losses.Charbonnier(reduction="sum")
    expected = -float(loss(one_hot, scores))
    value = loss(one_hot, scores, sample_weight=-1.0)
    assert float(value) == pytest.approx(expected, rel=1e-6)


def test_one_weight_is_a_number():
    expected = 3 * losses.Poly()(labels, scores)
    for weight in (3.0, np.float32([3]), np.float32([[3]])):
        value = losses.Poly()(labels, scores, sample_weight=weight)
        np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_values_with_a_last_axis_of_size_1_take_weights_without():
    y_true, y_pred = one_hot[:, :1], scores[:, :1]
    expected = losses.Charbonnier()(y_true, y_pred, sample_weight=weights[:, None])
    value = losses.Charbonnier()(y_true, y_pred, sample_weight=weights)
    np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_predictions_of_too_few_axes_are_said_to_be_so():
    with pytest.raises(
        ValueError, match=r"y_pred.shape=\(4,\), which is an axis short"
    ):
        losses.Charbonnier()(np.ones(4), np.ones(4), sample_weight=np.ones(4))


@needs_tensorflow
def test_weights_of_unknown_size_are_not_spread():
    import tensorflow as tf

    loss = losses.Charbonnier(reduction="sum")
    pairs = [tf.TensorSpec((None, 3))] * 2
    unknown = tf.function(loss, input_signature=[*pairs, tf.TensorSpec((None, None))])
    with pytest.raises(ValueError, match=r"of shape \(None,\), or"):
        unknown(np.zeros((4, 3)), np.ones((4, 3)), np.ones((4, 1)))


def test_images_and_pairs_have_a_weight_each():
    images = rng.uniform(size=(2, 16, 16, 1)).astype("float32")
    loss = losses.SSIM(data_format="channels_last")
    for given in (np.ones(2), np.ones((2, 1))):
        assert np.isfinite(loss(images, images[::-1], sample_weight=given))
    with pytest.raises(ValueError, match=r"of shape \(2,\), or .* \(2,\). Received"):
        loss(images, images, sample_weight=np.ones((2, 16)))
    with pytest.raises(ValueError, match=r"of shape \(4,\), or"):
        losses.Contrastive()(np.ones(4), np.ones(4), sample_weight=np.ones(3))


@needs_tensorflow
def test_are_refused_in_fit_too():
    model = keras.Sequential(
        [keras.Input((STEPS, 3)), keras.layers.Dense(3, "softmax")]
    )
    model.compile("sgd", losses.Poly())
    with pytest.raises(ValueError, match=r"shape \(None, 4\), or .* \(None, 1\)"):
        model.fit(scores, labels, sample_weight=weights, verbose=0)
    spoiled = np.where(weights[:, None, None] == 0, np.nan, scores)
    history = model.fit(spoiled, labels, sample_weight=weights[:, None], verbose=0)
    assert np.isfinite(history.history["loss"]).all()
