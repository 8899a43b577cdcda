"""Losses of TensorFlow Addons have the values that they had in Keras 2."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ext
from keras_ext import addons
from tests.addons.both_keras import FIT, X, largest_difference, small, tf_keras, tfa

RNG = np.random.default_rng(2)
LABELS = RNG.integers(0, 4, size=48)
ONE_HOT = np.eye(4, dtype="float32")[LABELS]
LOGITS = RNG.normal(size=(48, 4)).astype("float32")
SHARES = keras.ops.convert_to_numpy(keras.ops.softmax(LOGITS))
BINARY = RNG.integers(0, 2, size=(48, 4)).astype("float32")
SQUARE = RNG.normal(size=(16, 16)).astype("float32")


def boxes():
    corners = RNG.uniform(size=(48, 2, 2)).astype("float32")
    return np.sort(corners, axis=1).reshape(48, 4)


PER_SAMPLE = {
    "ContrastiveLoss": (BINARY[:, 0], np.abs(LOGITS[:, 0])),
    "GIoULoss": (boxes(), boxes()),
    "PinballLoss": (LOGITS, SHARES),
    "SigmoidFocalCrossEntropy": (BINARY, SHARES),
    "SparsemaxLoss": (ONE_HOT, LOGITS),
}
PER_BATCH = {
    "LiftedStructLoss": (LABELS, LOGITS),
    "NpairsLoss": (np.arange(16), SQUARE),
    "NpairsMultilabelLoss": (RNG.integers(0, 2, size=(16, 5)), SQUARE),
    "TripletHardLoss": (LABELS, LOGITS),
    "TripletSemiHardLoss": (LABELS, LOGITS),
    "WeightedKappaLoss": (ONE_HOT, SHARES),
}


def make(name):
    options = {"num_classes": 4} if name == "WeightedKappaLoss" else {}
    return getattr(tfa.losses, name)(**options)


@pytest.mark.parametrize("name", [*PER_SAMPLE, *PER_BATCH])
def test_values_equal_those_in_keras_2_also_from_a_config(name):
    pair = {**PER_SAMPLE, **PER_BATCH}[name]
    expected = np.asarray(make(name)(*pair))
    loss = addons.loss(make(name))
    np.testing.assert_array_equal(loss(*pair), expected)
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(loss)
    )
    np.testing.assert_array_equal(again(*pair), expected)


@pytest.mark.parametrize("name", PER_SAMPLE)
def test_weights_of_samples_equal_those_in_keras_2(name):
    weights = RNG.uniform(size=48).astype("float32")
    pair = PER_SAMPLE[name]
    expected = np.asarray(make(name)(*pair, weights))
    now = addons.loss(make(name))(*pair, weights)
    np.testing.assert_allclose(now, expected, rtol=2e-7)


def test_weights_of_samples_need_values_of_samples():
    loss = addons.loss(make("TripletHardLoss"))
    with pytest.raises(ValueError, match="one value for a batch, which no weights"):
        loss(LABELS, LOGITS, np.ones(48))


def test_masked_steps_are_left_out_as_in_keras_2():
    """The mask of an `Embedding` reaches the loss, through a layer of Addons too."""
    words = np.array([[1, 2, 0], [3, 0, 0], [4, 5, 6]])
    targets = RNG.normal(size=(3, 3, 2)).astype("float32")
    table = RNG.normal(size=(7, 2)).astype("float32")
    results = []
    for of in (tf_keras, keras):
        adapted = of is keras
        snake = tfa.layers.Snake()
        snake.supports_masking = True
        loss = tfa.losses.PinballLoss(tau=0.2)
        embedding = of.layers.Embedding(7, 2, mask_zero=True)
        layer = addons.layer(snake) if adapted else snake
        model = of.Sequential([of.Input((3,)), embedding, layer])
        model.set_weights([table, *model.get_weights()[1:]])
        model.compile("sgd", addons.loss(loss) if adapted else loss)
        history = model.fit(words, targets, epochs=2, verbose=0).history
        results.append((history["loss"], model.get_weights()))
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=3e-7)
    assert largest_difference(results[0][1], results[1][1]) < 2e-7


@pytest.mark.parametrize("name", ["SigmoidFocalCrossEntropy", "TripletSemiHardLoss"])
def test_training_equals_that_in_keras_2(name):
    weights = [RNG.normal(size=shape) * 0.3 for shape in [(5, 8), (8,), (8, 4), (4,)]]

    def network(of):
        model = of.Sequential(
            [
                of.Input((5,)),
                of.layers.Dense(8, "tanh"),
                of.layers.Dense(4, "sigmoid"),
            ]
        )
        model.set_weights(weights)
        return model

    targets = BINARY if name in PER_SAMPLE else LABELS
    before = network(tf_keras)
    before.compile("sgd", make(name))
    losses = before.fit(X, targets, **FIT).history["loss"]
    models = [network(keras)]
    if name in PER_BATCH:
        # A Trainer takes no loss with the reduction "none", which some have by default.
        models.append(keras_ext.Trainer(network(keras)))
    for model in models:
        model.compile("sgd", addons.loss(make(name)))
        now = model.fit(X, targets, **FIT).history["loss"]
        np.testing.assert_allclose(now, losses, rtol=3e-7)
        assert largest_difference(model.get_weights(), before.get_weights()) < 2e-7


def test_a_function():
    loss = addons.loss(tfa.losses.pinball_loss)
    again = type(loss).from_config(loss.get_config())
    expected = np.mean(tfa.losses.pinball_loss(LOGITS, SHARES))
    np.testing.assert_allclose(loss(LOGITS, SHARES), expected, rtol=1e-6)
    np.testing.assert_array_equal(again(LOGITS, SHARES), loss(LOGITS, SHARES))


def test_errors():
    with pytest.raises(TypeError, match="of Keras 3 already: use it without the ad"):
        addons.loss(keras_ext.losses.Pinball())
    with pytest.raises(TypeError, match="must be of TensorFlow Addons or tf_keras"):
        addons.loss(tf.abs)
    with pytest.raises(TypeError, match="must be of TensorFlow Addons or tf_keras"):
        addons.loss(small(keras))
    with pytest.raises(TypeError, match=r"a class: pass an instance, PinballLoss\("):
        addons.loss(tfa.losses.PinballLoss)


@pytest.mark.parametrize(
    "other",
    [
        lambda: tfa.metrics.RSquare(),
        lambda: tfa.layers.Maxout(2),
        lambda: tf_keras.metrics.Mean(),
        lambda: tfa.image.rotate,
        lambda: tfa.text.crf_log_likelihood,
        lambda: tfa.losses,
    ],
)
def test_what_is_no_loss_is_refused(other):
    with pytest.raises(
        TypeError, match=r"`addons\.loss` must .*, or a function of `lo"
    ):
        addons.loss(other())


@pytest.mark.parametrize(
    ("make", "y_true"),
    [
        (tfa.losses.TripletSemiHardLoss, LABELS),
        (lambda: tfa.losses.TripletSemiHardLoss(distance_metric="angular"), LABELS),
        (tfa.losses.TripletHardLoss, LABELS),
        (tfa.losses.LiftedStructLoss, LABELS),
        (tfa.losses.SparsemaxLoss, ONE_HOT),
    ],
)
def test_no_function_is_called_which_xla_would_compile_for_each_value(make, y_true):
    loss = addons.loss(make())

    @tf.function
    def gradient(y_pred):
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = loss(y_true, y_pred)
        return tape.gradient(value, y_pred)

    graph = gradient.get_concrete_function(tf.TensorSpec((48, 4))).graph
    kinds = {one.type for one in graph.get_operations()}
    assert not kinds & {"PartitionedCall", "StatefulPartitionedCall"}
