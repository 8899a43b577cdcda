"""Every loss and metric says the same in stock fit, in Trainer.fit and by hand."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_ext
from tests.losses.rows import LOSSES
from tests.markers import needs_tensorflow, rows_of
from tests.metrics.rows import METRICS
from tests.pairs import Watched

BATCH = 4

pytestmark = needs_tensorflow


def _model(row):
    """Return a model that hands on its input until it is trained."""
    size = row.y_pred.shape[-1]
    dense = keras.layers.Dense(size, kernel_initializer="identity")
    return keras.Sequential([keras.Input(row.y_pred.shape[1:]), dense])


def _mean(y_true, y_pred):
    return ops.mean(ops.reshape(y_pred, (ops.shape(y_pred)[0], -1)), axis=-1)


def _batches(row):
    count = len(row.y_true)
    weights = (np.arange(count) % 3).astype("float32")
    for start in range(0, count, BATCH):
        part = slice(start, start + BATCH)
        yield row.y_pred[part], row.y_true[part], weights[part]


def _data(row):
    x, y, weights = zip(*_batches(row), strict=True)
    return {
        "x": np.concatenate(x),
        "y": np.concatenate(y),
        "sample_weight": np.concatenate(weights),
        "batch_size": BATCH,
        "verbose": 0,
    }


@pytest.mark.parametrize("row", rows_of(LOSSES))
def test_a_loss_trains_alike_in_all_three(row):
    optimizer = {"class_name": "SGD", "config": {"learning_rate": 0.01}}
    stock, inner, by_hand = _model(row), _model(row), _model(row)
    trainer = keras_ext.Trainer(inner)
    losses = []
    for model in (stock, trainer):
        model.compile(keras.optimizers.get(optimizer), row.make())
        history = model.fit(**_data(row), epochs=2, shuffle=False)
        losses.append(history.history["loss"])

    by_hand_loss, by_hand_optimizer = row.make(), keras.optimizers.get(optimizer)
    losses.append(_losses_by_hand(by_hand, by_hand_loss, by_hand_optimizer, row))

    assert np.isfinite(losses).all()
    np.testing.assert_allclose(losses[1:], losses[:1] * 2, rtol=1e-5, atol=1e-6)
    for model in (inner, by_hand):
        np.testing.assert_allclose(
            model.get_weights()[0], stock.get_weights()[0], rtol=1e-5, atol=1e-6
        )


def _losses_by_hand(model, loss_of, optimizer, row):
    import tensorflow as tf

    optimizer.build(model.trainable_variables)

    @tf.function
    def step(x, y, weights):
        with tf.GradientTape() as tape:
            loss = loss_of(y, model(x, training=True), sample_weight=weights)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    losses = []
    for _ in range(2):
        values, sizes = [], []
        for batch in _batches(row):
            values.append(float(step(*map(tf.convert_to_tensor, batch))))
            sizes.append(len(batch[0]))
        losses.append(np.average(values, weights=sizes))
    return losses


@pytest.mark.parametrize("row", rows_of(METRICS))
def test_a_metric_says_the_same_in_all_three(row):
    by_hand = row.make()
    for x, y, weights in _batches(row):
        if row.values_only:
            by_hand.update_state(x)
        else:
            by_hand.update_state(y, x, sample_weight=weights)
    expected = ops.convert_to_numpy(by_hand.result())

    for wrap in (lambda model: model, keras_ext.Trainer):
        metric, model = row.make(), _model(row)
        if row.values_only:
            model.add(Watched(metric))
        model = wrap(model)
        weighted = [] if row.values_only else [metric]
        model.compile(keras.optimizers.SGD(0.0), loss=_mean, weighted_metrics=weighted)
        logs = model.evaluate(**_data(row), return_dict=True)
        np.testing.assert_allclose(logs[metric.name], expected, rtol=1e-5, atol=1e-6)
        history = model.fit(**_data(row), shuffle=False).history
        np.testing.assert_allclose(
            history[metric.name][0], expected, rtol=1e-5, atol=1e-6
        )


@pytest.mark.filterwarnings("error")
def test_reading_labels_in_compiled_code_warns_of_nothing():
    row = next(row for row in LOSSES if row.id == "Poly")
    for wrap in (lambda model: model, keras_ext.Trainer):
        model = wrap(_model(row))
        weighted = [keras_ext.metrics.CohenKappa(4)]
        model.compile("sgd", row.make(), weighted_metrics=weighted)
        model.fit(**_data(row))
