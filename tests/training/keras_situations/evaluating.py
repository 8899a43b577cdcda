"""Situations of `evaluate`, `predict` and the methods for single batches."""

import itertools

import keras
import numpy as np
import tensorflow as tf

from tests.training.keras_situations.parts import (
    FIT,
    LABELS,
    MSE,
    WEIGHTS,
    L,
    X,
    Y,
    classifier,
    dense,
    endless,
    ones,
    two_outputs,
)
from tests.training.keras_situations.table import (
    DERIVED,
    WRAPPED,
    refused,
    situation,
)


def zero(y_true, y_pred):
    return 0.0 * keras.ops.sum(y_pred, axis=-1)


def one(y_true, y_pred):
    return 1.0 + zero(y_true, y_pred)


@situation(WRAPPED, DERIVED)
def results_as_list_and_dict(make):
    """Loss and metric as list and as dict, samples counted equally."""
    trained = make(dense())
    trained.compile(**MSE, metrics=[keras.metrics.MeanAbsoluteError()])
    return (
        trained.evaluate(X, Y, batch_size=5, verbose=0),
        trained.evaluate(X, Y, batch_size=5, verbose=0, return_dict=True),
        trained.evaluate(X, Y, verbose=0),
    )


@situation()
def one_result_is_a_number(make):
    """A loss alone is a number, in a dict it has a name."""
    trained = make(dense())
    trained.compile(**MSE)
    result = trained.evaluate(X, Y, verbose=0)
    return result, type(result), trained.evaluate(X, Y, verbose=0, return_dict=True)


@situation()
def results_in_the_order_of_the_metrics(make):
    """The list follows the order in which metrics were compiled."""
    trained = make(dense())
    trained.compile(**MSE, metrics=[zero, one])
    first = trained.evaluate(X, Y, verbose=0)
    trained.compile(**MSE, metrics=[one, zero])
    return first, trained.evaluate(X, Y, verbose=0)


@situation()
def evaluation_with_weights(make):
    """Weights in the loss and in weighted metrics only."""
    trained = make(dense())
    trained.compile(**MSE, metrics=["mae"], weighted_metrics=["mae"])
    return trained.evaluate(
        X, Y, sample_weight=WEIGHTS, batch_size=5, verbose=0, return_dict=True
    )


@situation()
def evaluation_for_some_steps(make):
    """`steps` of arrays and of endless data."""
    trained = make(dense())
    trained.compile(**MSE)
    return (
        trained.evaluate(X, Y, batch_size=4, steps=2, verbose=0),
        trained.evaluate(endless(), steps=5, verbose=0),
    )


@situation()
def evaluation_under_xla_and_eager(make):
    """The same numbers compiled by XLA and line by line."""
    results = []
    for how in ({"jit_compile": True}, {"run_eagerly": True}):
        trained = make(dense())
        trained.compile("sgd", "mse", metrics=["mae"], **how)
        results.append(trained.evaluate(X, Y, batch_size=5, verbose=0))
    return results


@situation()
def evaluation_without_an_optimizer(make):
    """A loss and no word on the optimizer."""
    trained = make(dense())
    trained.compile(loss="mse", metrics=["mae"])
    return trained.evaluate(X, Y, verbose=0), trained.test_on_batch(X, Y)


@situation()
def evaluation_of_metrics_alone(make):
    """No loss, one metric."""
    trained = make(dense())
    trained.compile(metrics=["mae"])
    return refused(lambda: trained.evaluate(X, Y, verbose=0))


@situation()
def evaluation_of_a_model_never_built(make):
    """A Sequential without an input is built by the data."""
    trained = make(keras.Sequential([ones()]))
    trained.compile(**MSE)
    result = trained.evaluate(X, Y, verbose=0)
    return result, trained.built, [w.shape for w in trained.weights]


@situation()
def a_metric_with_several_results(make):
    """A metric whose result is a dict."""

    class Both(keras.metrics.Metric):
        def __init__(self):
            super().__init__(name="both")
            self.total = self.add_weight(name="total", initializer="zeros")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.total.assign_add(keras.ops.sum(y_pred))

        def result(self):
            return {"sum": self.total.value, "twice": 2 * self.total}

    trained = make(dense())
    trained.compile(**MSE, metrics=[Both()])
    return (
        trained.evaluate(X, Y, verbose=0, return_dict=True),
        trained.fit(X, Y, **FIT).history,
    )


@situation()
def stopping_an_evaluation(make):
    """`stop_evaluating`, set by a callback, ends a pass over endless data."""

    class Stop(keras.callbacks.Callback):
        batches = 0

        def on_test_batch_end(self, batch, logs=None):
            self.batches += 1
            self.model.stop_evaluating = self.batches == 5

    trained, stop = make(dense()), Stop()
    trained.compile(**MSE)
    return trained.evaluate(endless(), callbacks=[stop], verbose=0), stop.batches


@situation()
def stopping_a_prediction(make):
    """`stop_predicting` likewise."""

    class Stop(keras.callbacks.Callback):
        batches = 0

        def on_predict_batch_end(self, batch, logs=None):
            self.batches += 1
            self.model.stop_predicting = self.batches == 5

    trained, stop = make(dense()), Stop()
    inputs = ((x,) for x, _ in endless())
    return trained.predict(inputs, callbacks=[stop], verbose=0), stop.batches


@situation(WRAPPED, DERIVED)
def predictions_before_compile(make):
    """`predict` needs no `compile`, and takes the last, smaller batch."""
    return make(dense()).predict(X, batch_size=5, verbose=0)


@situation()
def predictions_under_xla_and_eager(make):
    """The same compiled by XLA and line by line."""
    results = []
    for how in ({"jit_compile": True}, {"run_eagerly": True}):
        trained = make(dense())
        trained.compile("sgd", "mse", **how)
        results.append(trained.predict(X, batch_size=5, verbose=0))
    return results


@situation()
def predictions_for_some_steps(make):
    """`steps` of arrays, a dataset and a generator."""
    trained = make(dense())
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)
    return (
        trained.predict(X, batch_size=4, steps=2, verbose=0),
        trained.predict(data, steps=1, verbose=0),
        trained.predict(endless(), steps=4, verbose=0),
    )


@situation()
def predictions_as_list_tuple_and_dict(make):
    """The container of the outputs is kept."""
    return [
        make(two_outputs(kind)).predict(X, batch_size=5, verbose=0)
        for kind in (list, tuple, dict)
    ]


@situation(WRAPPED, DERIVED)
def predictions_nested_deeply(make):
    """A tuple in a dict in a list."""

    class Nested(make.base):
        def call(self, x):
            return [{"a": (x, 2 * x), "b": x[:, :1]}, keras.ops.sum(x, axis=1)]

    return make(Nested()).predict(X, batch_size=5, verbose=0)


@situation()
def predictions_of_whole_numbers(make):
    """Outputs of int32, in order, from batches of uneven sizes."""

    def uneven():
        for first, last in ((0, 2), (2, 5), (5, 9), (9, 12)):
            yield np.arange(first, last)

    spec = tf.TensorSpec((None,), tf.int32)
    data = tf.data.Dataset.from_generator(uneven, output_signature=spec)
    x = keras.Input((), dtype="int32")
    return make(keras.Model(x, L.Identity()(x))).predict(data, verbose=0)


@situation()
def predictions_of_bfloat16(make):
    """The dtype of half precision is kept."""
    model = keras.Sequential([keras.Input((4,)), ones(dtype="bfloat16")])
    predictions = make(model).predict(X, verbose=0)
    return str(predictions.dtype), predictions.astype("float32")


@situation()
def predictions_that_draw(make):
    """A layer that drops out when it predicts draws again for every batch and call."""
    x = keras.Input((20,))
    model = keras.Model(x, L.Dropout(0.5, seed=3)(x, training=True))
    trained = make(model)
    trained.compile(jit_compile=False)
    inputs = np.ones((4, 20), "float32")
    first = trained.predict(inputs, batch_size=2, verbose=0)
    second = trained.predict(inputs, batch_size=2, verbose=0)
    return [bool((a != b).any()) for a, b in itertools.pairwise([*first, *second])]


@situation()
def predictions_after_the_weights_changed(make):
    """Weights set by hand count in the next call."""
    trained = make(dense())
    first = trained.predict(X, verbose=0)
    trained.set_weights([2 * weight for weight in trained.get_weights()])
    return first, trained.predict(X, verbose=0)


@situation(WRAPPED, DERIVED)
def single_batches(make):
    """Training, testing and predicting by the batch, with running metrics."""
    trained = make(dense())
    trained.compile(**MSE, metrics=[keras.metrics.MeanSquaredError()])
    return (
        trained.train_on_batch(X, Y),
        trained.train_on_batch(X, Y, return_dict=True),
        trained.test_on_batch(X, Y),
        trained.test_on_batch(X, Y, return_dict=True),
        trained.predict_on_batch(X),
        trained.train_on_batch(X, Y, WEIGHTS),
        trained.test_on_batch(X, Y, WEIGHTS),
        trained.predict_on_batch(X),
    )


@situation()
def single_batches_with_class_weights(make):
    """`train_on_batch(class_weight=...)`."""
    trained = make(classifier())
    trained.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    weights = {0: 0.5, 1: 2.0}
    return [trained.train_on_batch(X, LABELS, class_weight=weights) for _ in range(2)]


@situation()
def single_batches_eager_and_under_xla(make):
    """The same line by line and under XLA."""
    results = []
    for how in ({"jit_compile": True}, {"run_eagerly": True}):
        trained = make(dense())
        trained.compile("sgd", "mse", metrics=["mae"], **how)
        results += [trained.train_on_batch(X, Y), trained.test_on_batch(X, Y)]
        results.append(trained.predict_on_batch(X))
    return results


@situation()
def single_batches_between_epochs(make):
    """`reset_metrics` between batches, `fit` and `evaluate` after them."""
    trained = make(dense())
    trained.compile(**MSE, metrics=["mae"])
    first = trained.train_on_batch(X[:6], Y[:6])
    second = trained.train_on_batch(X[6:], Y[6:])
    trained.reset_metrics()
    third = trained.test_on_batch(X[6:], Y[6:])
    return first, second, third, trained.fit(X, Y, **FIT).history


@situation()
def metrics_of_the_trained_object(make):
    """Names of `metrics`, and `get_metrics_result`, before and after training."""
    trained = make(dense())
    trained.compile(**MSE, metrics=["mae"])
    before = [metric.name for metric in trained.metrics]
    trained.fit(X, Y, **FIT)
    results = {k: float(v) for k, v in trained.get_metrics_result().items()}
    return before, [metric.name for metric in trained.metrics], results
