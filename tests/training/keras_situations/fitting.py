"""Situations of `fit`: epochs, steps, validation, weights of samples and classes."""

import itertools

import keras
import numpy as np
import tensorflow as tf

from tests.training.keras_situations.parts import (
    FIT,
    MSE,
    WEIGHTS,
    Batches,
    Record,
    X,
    Y,
    dense,
    endless,
    fit_history,
)
from tests.training.keras_situations.table import (
    DERIVED,
    WRAPPED,
    refused,
    situation,
    warned,
)


@situation(WRAPPED, DERIVED)
def arrays_for_three_epochs(make):
    """Arrays, a loss and a metric, three epochs."""
    trained = make(dense())
    trained.compile(**MSE, metrics=[keras.metrics.MeanSquaredError()])
    history = trained.fit(X, Y, **FIT, epochs=3)
    return history.history, history.epoch, trained.get_weights()


@situation()
def eager_arrays(make):
    """The same with `run_eagerly`, validation and weights."""
    trained = make(dense())
    trained.compile("sgd", "mse", metrics=["mae"], run_eagerly=True)
    return fit_history(trained, X, Y, sample_weight=WEIGHTS, validation_data=(X, Y))


@situation()
def arrays_under_xla(make):
    """The same with `jit_compile=True`."""
    trained = make(dense())
    trained.compile("adam", "mse", metrics=["mae"], jit_compile=True)
    return fit_history(trained, X, Y, epochs=2, validation_data=(X, Y))


@situation()
def steps_per_execution(make):
    """Several steps per execution give the same numbers."""
    trained = make(dense())
    trained.compile(**MSE, steps_per_execution=2)
    return fit_history(trained, X, Y, epochs=2)


@situation()
def no_epochs(make):
    """No epoch at all: an empty history."""
    trained = make(dense())
    trained.compile(**MSE)
    return fit_history(trained, X, Y, epochs=0)


@situation()
def initial_epoch(make):
    """Epochs are numbered from `initial_epoch`; none if it is the last."""
    trained = make(dense())
    trained.compile(**MSE)
    first = trained.fit(X, Y, **FIT, epochs=3, initial_epoch=1)
    second = trained.fit(X, Y, **FIT, epochs=3, initial_epoch=3)
    return first.epoch, first.history, second.epoch, second.history


@situation()
def fit_again_continues(make):
    """A second `fit` goes on with weights, optimizer and iterations."""
    trained = make(dense())
    trained.compile("adam", "mse", jit_compile=False)
    first, second = fit_history(trained, X, Y), fit_history(trained, X, Y)
    return first, second, int(trained.optimizer.iterations)


@situation()
def the_history_is_an_attribute(make):
    """`history` of the trained object is what `fit` returned, with its params."""
    trained = make(dense())
    trained.compile(**MSE)
    history = trained.fit(X, Y, **FIT, epochs=2)
    known = {name: history.params[name] for name in ("verbose", "epochs", "steps")}
    return trained.history is history, known


@situation()
def steps_of_endless_data(make):
    """`steps_per_epoch` cuts endless data into epochs, which go on where it stopped."""
    trained = make(dense())
    trained.compile(**MSE)
    return trained.fit(endless(), steps_per_epoch=2, epochs=3, verbose=0).history


@situation()
def fewer_steps_than_data(make):
    """`steps_per_epoch` below the size of a dataset, until it is used up."""
    trained = make(dense())
    trained.compile(**MSE)
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(2)
    return trained.fit(data, steps_per_epoch=3, epochs=4, verbose=0).history


@situation(
    ours=[2.5, 3.5, 4.5],
    because="arrays go on from pass to pass, instead of ending an epoch: documented",
)
def fewer_steps_than_arrays(make):
    """The numbers 1 to 6 by twos, two steps in each of three epochs, at a rate of 0."""
    trained = make(dense(1, features=1))
    trained.compile(keras.optimizers.SGD(0.0), "mae", run_eagerly=True)
    x = np.arange(1, 7, dtype="float32")[:, None]
    fit = {"batch_size": 2, "steps_per_epoch": 2, "epochs": 3}
    return fit_history(trained, x, 0 * x, **fit)["loss"]


@situation()
def limits_for_debugging(make):
    """`keras.config.set_max_epochs` and `set_max_steps_per_epoch`."""
    trained = make(dense())
    trained.compile(**MSE)
    record = Record()
    keras.config.set_max_epochs(2)
    keras.config.set_max_steps_per_epoch(2)
    fit = {"epochs": 5, "callbacks": [record], "batch_size": 3}
    try:
        history = warned(lambda: fit_history(trained, X, Y, **fit))
    finally:
        keras.config.set_max_epochs(None)
        keras.config.set_max_steps_per_epoch(None)
    return history, [call[:2] for call in record.calls]


@situation()
def validation_split(make):
    """The last part of the arrays, before any shuffling, is held back."""
    trained = make(dense())
    trained.compile(**MSE, metrics=["mae"])
    return fit_history(trained, X, Y, validation_split=0.25, epochs=2)


@situation()
def validation_split_of_tensors(make):
    """The same for tensors, with weights and `steps_per_epoch`."""
    trained = make(dense())
    trained.compile(**MSE, weighted_metrics=["mae"])
    x, y, weights = (tf.constant(one) for one in (X, Y, WEIGHTS))
    fit = {**FIT, "validation_split": 0.3, "steps_per_epoch": 2}
    return trained.fit(x, y, sample_weight=weights, **fit).history


@situation()
def validation_split_of_a_dataset(make):
    """Only arrays can be split."""
    trained = make(dense())
    trained.compile(**MSE)
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)
    return refused(lambda: trained.fit(data, validation_split=0.2, verbose=0))


@situation()
def validation_data_with_weights(make):
    """Validation on (x, y, weights), in batches of its own size."""
    trained = make(dense())
    trained.compile(**MSE, metrics=["mae"], weighted_metrics=["mae"])
    data = {"validation_data": (X, Y, WEIGHTS), "validation_batch_size": 5}
    return fit_history(trained, X, Y, **data)


@situation()
def validation_every_second_epoch(make):
    """`validation_freq=2`: the history has fewer `val_` values."""
    trained = make(dense())
    trained.compile(**MSE)
    validate = {"validation_data": (X, Y), "validation_freq": 2}
    return fit_history(trained, X, Y, epochs=5, **validate)


@situation()
def validation_in_chosen_epochs(make):
    """`validation_freq=[1, 4]` counts epochs from 1."""
    trained = make(dense())
    trained.compile(**MSE)
    validate = {"validation_data": (X, Y), "validation_freq": [1, 4]}
    return fit_history(trained, X, Y, epochs=4, **validate)


@situation()
def validation_steps_of_arrays(make):
    """`validation_steps` limits the batches of arrays."""
    trained = make(dense())
    trained.compile(**MSE)
    validate = {"validation_data": (X, Y), "validation_steps": 1}
    return fit_history(trained, X, Y, epochs=2, **validate)


@situation()
def steps_of_validation_on_endless_data(make):
    """Training and validation take just the steps that were asked for."""
    trained = make(dense())
    trained.compile(**MSE)
    record = Record()
    steps = {"steps_per_epoch": 3, "validation_steps": 4, "verbose": 0}
    trained.fit(endless(), validation_data=endless(), callbacks=[record], **steps)
    return [call[0] for call in record.calls]


@situation(
    ours=[0.5, 2.5, 4.5],
    because="Keras shows the first batch of a generator again in every validation",
)
def an_endless_generator_to_validate_on(make):
    """Batches of zeros, of ones, of twos, and so on: two for each validation."""
    trained = make(dense(1, features=1))
    trained.compile(keras.optimizers.SGD(0.0), "mae", run_eagerly=True)
    numbers = ((np.full((2, 1), n), np.zeros((2, 1))) for n in itertools.count())
    validate = {"validation_data": numbers, "validation_steps": 2, "epochs": 3}
    return fit_history(trained, X[:, :1], Y[:, :1], **validate)["val_loss"]


@situation(
    ours=["begin", "end", "begin", "end"],
    because="Keras ends an epoch of validation data before the first one begins",
)
def validation_on_a_pydataset(make):
    """The epochs of a PyDataset to validate on begin and end."""
    trained = make(dense())
    trained.compile(**MSE)
    data = Batches()
    fit_history(trained, X, Y, validation_data=data, epochs=2)
    return data.hooks


@situation()
def validation_fails_and_is_mended(make):
    """After a validation that failed, `fit` works as if nothing had happened."""
    trained = make(dense())
    trained.compile(**MSE)
    wrong = {"validation_data": (X[:, :2], Y)}
    first = refused(lambda: fit_history(trained, X, Y, **wrong))
    return first, fit_history(trained, X, Y, validation_data=(X, Y))


@situation()
def another_validation_set(make):
    """The second `fit` validates on its own data, not on the first's."""
    trained = make(dense())
    trained.compile("sgd", "mse", jit_compile=False)
    first = fit_history(trained, X, Y, validation_data=(X, Y))
    return first, fit_history(trained, X, Y, validation_data=(2 * X, Y))


@situation()
def nothing_to_train(make):
    """A frozen model: a warning, and the losses of `evaluate`."""
    model = dense()
    model.trainable = False
    trained = make(model)
    trained.compile(**MSE)
    return warned(lambda: fit_history(trained, X, Y, epochs=2))


@situation()
def a_batch_size_that_does_not_divide(make):
    """The last batch is smaller, and counts as much as it has samples."""
    trained = make(dense())
    trained.compile(optimizer=None, loss="mse", metrics=["mse"])
    trained.compile("sgd", "mse", metrics=["mse"], jit_compile=False)
    return fit_history(trained, X, Y, batch_size=5), fit_history(
        trained, X, Y, batch_size=12
    )


@situation()
def compiled_again_with_other_metrics(make):
    """After another `compile`, the names of the new metrics are logged."""
    trained = make(dense())
    trained.compile(**MSE, metrics=["mse"])
    first = fit_history(trained, X, Y)
    trained.compile(**MSE, metrics=["mae", "mape"])
    return first, fit_history(trained, X, Y), trained.evaluate(X, Y, verbose=0)


@situation()
def not_compiled(make):
    """`fit`, `evaluate` and the steps for a batch need `compile`."""
    trained = make(dense())
    return [
        refused(lambda: trained.fit(X, Y)),
        refused(lambda: trained.evaluate(X, Y)),
        refused(lambda: trained.train_on_batch(X, Y)),
        refused(lambda: trained.test_on_batch(X, Y)),
    ]


@situation()
def fit_without_an_optimizer(make):
    """Compiled without a loss or an optimizer that could train."""
    trained = make(dense())
    trained.compile(loss=None)
    return refused(lambda: trained.fit(X, Y, verbose=0))


@situation()
def moving_averages_are_written_at_the_end(make):
    """With `use_ema`, the averages are the weights after `fit`."""
    trained = make(dense())
    optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
    trained.compile(optimizer, "mse", jit_compile=False)
    return fit_history(trained, X, Y, epochs=2), trained.get_weights()


@situation()
def gradients_accumulated_over_two_steps(make):
    """`gradient_accumulation_steps=2`, three batches per epoch."""
    trained = make(dense())
    optimizer = keras.optimizers.Adam(0.1, gradient_accumulation_steps=2)
    trained.compile(optimizer, "mse", jit_compile=False)
    return fit_history(trained, X, Y, epochs=2), trained.get_weights()


@situation()
def a_schedule_in_the_optimizer(make):
    """A schedule with clipping and weight decay."""
    trained = make(dense())
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    optimizer = keras.optimizers.SGD(schedule, clipnorm=0.5, weight_decay=0.01)
    trained.compile(optimizer, "mse", jit_compile=False)
    return fit_history(trained, X, Y, epochs=2), float(trained.optimizer.learning_rate)
