"""Situations of weights: of samples, of steps of time, of classes."""

import keras
import tensorflow as tf

from tests.training.keras_situations.parts import (
    LABELS,
    MSE,
    ONE_HOT,
    WEIGHTS,
    Batches,
    L,
    X,
    Y,
    classifier,
    dense,
    fit_history,
)
from tests.training.keras_situations.table import (
    DERIVED,
    WRAPPED,
    refused,
    result_or_refused,
    situation,
)

CROSSENTROPY = {
    "optimizer": "sgd",
    "loss": "sparse_categorical_crossentropy",
    "jit_compile": False,
}


@situation(WRAPPED, DERIVED)
def sample_weights(make):
    """Weights count in the loss and in `weighted_metrics`, not in `metrics`."""
    trained = make(dense())
    trained.compile(**MSE, metrics=["mae"], weighted_metrics=["mae", "mse"])
    return fit_history(trained, X, Y, sample_weight=WEIGHTS, epochs=2)


@situation()
def weights_per_step_of_time(make):
    """Weights of shape (batch, time)."""
    x, y = X.reshape(6, 2, 4), Y.reshape(6, 2, 3)
    trained = make(keras.Sequential([keras.Input((2, 4)), L.Dense(3)]))
    trained.compile(**MSE, weighted_metrics=["mse"])
    return fit_history(trained, x, y, sample_weight=WEIGHTS.reshape(6, 2))


@situation()
def weighted_mean_as_reduction(make):
    """A loss that divides by the sum of the weights."""
    trained = make(dense())
    loss = keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")
    trained.compile("sgd", loss, jit_compile=False)
    return fit_history(trained, X, Y, sample_weight=WEIGHTS)


@situation()
def class_weights_of_integers(make):
    """Weights by class for integer labels; classes without one weigh 1."""
    trained = make(classifier())
    trained.compile(**CROSSENTROPY, weighted_metrics=["accuracy"])
    return fit_history(trained, X, LABELS, class_weight={0: 0.5, 2: 3.0})


@situation()
def class_weights_of_a_column(make):
    """The same for labels of shape (batch, 1)."""
    trained = make(classifier())
    trained.compile(**CROSSENTROPY)
    return fit_history(trained, X, LABELS[:, None], class_weight={0: 0.5, 2: 3.0})


@situation()
def class_weights_of_one_hot_rows(make):
    """The same for one-hot labels."""
    trained = make(classifier())
    trained.compile("sgd", "categorical_crossentropy", jit_compile=False)
    return fit_history(trained, X, ONE_HOT, class_weight={0: 0.5, 1: 1.0, 2: 3.0})


@situation()
def class_weights_in_a_dataset(make):
    """The same for a dataset."""
    trained = make(classifier())
    trained.compile(**CROSSENTROPY)
    data = tf.data.Dataset.from_tensor_slices((X, LABELS)).batch(4)
    return trained.fit(data, class_weight={0: 0.5, 2: 3.0}, verbose=0).history


@situation()
def class_weights_in_a_pydataset(make):
    """The same for a PyDataset."""
    trained = make(classifier())
    trained.compile(**CROSSENTROPY)
    data = Batches(y=LABELS)
    fit = {"class_weight": {0: 0.5, 2: 3.0}, "shuffle": False, "verbose": 0}
    return trained.fit(data, **fit).history


@situation(
    ours={"loss": [7 / 3]},
    because="Keras takes an arg max over the steps of time, and fails",
)
def class_weights_per_step_of_time(make):
    """Integer labels of shape (batch, time), each step with its class's weight."""
    trained = make(keras.Sequential([keras.Input((2, 4)), L.Dense(3)]))
    trained.compile("sgd", _two_everywhere, jit_compile=False)
    weights = {0: 0.5, 1: 0.0, 2: 3.0}
    x, labels = X.reshape(6, 2, 4), LABELS.reshape(6, 2)
    fit = {"class_weight": weights, "batch_size": 6}
    return result_or_refused(lambda: fit_history(trained, x, labels, **fit))


def _two_everywhere(y_true, y_pred):
    return 2 + 0 * y_pred[..., 0]


@situation()
def class_weights_and_sample_weights(make):
    """Both at a time are refused, for arrays and in a dataset."""
    trained = make(classifier())
    trained.compile(**CROSSENTROPY)
    both = {"class_weight": {0: 2.0}, "verbose": 0}
    data = tf.data.Dataset.from_tensor_slices((X, LABELS, WEIGHTS)).batch(4)
    return [
        refused(lambda: trained.fit(X, LABELS, sample_weight=WEIGHTS, **both)),
        refused(lambda: trained.fit(data, **both)),
    ]
