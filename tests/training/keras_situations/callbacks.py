"""Situations of callbacks: order of hooks, their logs, and each of Keras's own."""

import contextlib
import io
import re

import keras
import numpy as np

from tests.training.keras_situations.parts import (
    VALIDATION,
    Record,
    X,
    Y,
    compiled,
    dense,
    fit_with,
)
from tests.training.keras_situations.table import (
    DERIVED,
    WRAPPED,
    refused,
    situation,
)


@situation(WRAPPED, DERIVED)
def hooks_of_fit(make):
    """Every hook of two epochs with validation: order, numbers, logs."""
    trained, record = compiled(make, metrics=["mae"]), Record()
    fit_with(trained, [record], epochs=2, **VALIDATION)
    return record.calls


@situation()
def hooks_of_evaluate(make):
    """Every hook of `evaluate`, with the running values."""
    trained, record = compiled(make, metrics=["mae"]), Record()
    trained.evaluate(X, Y, batch_size=5, callbacks=[record], verbose=0)
    return record.calls


@situation()
def hooks_of_predict(make):
    """Every hook of `predict`, with the outputs of the batch."""
    trained, record = compiled(make), Record()
    trained.predict(X, batch_size=5, callbacks=[record], verbose=0)
    return record.calls


@situation()
def logs_are_numbers(make):
    """The kinds of what hooks and `History` receive."""
    kinds = set()

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            kinds.update(("batch", type(value)) for value in logs.values())

        def on_epoch_end(self, epoch, logs=None):
            kinds.update(("epoch", type(value)) for value in logs.values())

    history = fit_with(compiled(make, metrics=["mae"]), [Look()], **VALIDATION)
    return sorted(map(str, kinds)), [type(value[0]) for value in history.values()]


@situation()
def what_a_callback_knows(make):
    """`params`, the optimizer's rate and the model's weights in a hook."""
    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            params = {name: self.params[name] for name in ("verbose", "epochs")}
            rate = float(self.model.optimizer.learning_rate)
            seen.append((params, self.params["steps"], rate))

        def on_epoch_end(self, epoch, logs=None):
            seen.append(np.copy(self.model.get_weights()[0]))
            seen.append((self.model.stop_training, self.model.compiled))

    fit_with(compiled(make), [Look()], epochs=2)
    return seen


@situation()
def what_is_printed(make):
    """The lines of `verbose=2`, without the times in them."""
    trained, out = compiled(make, metrics=["mae"]), io.StringIO()
    with contextlib.redirect_stdout(out):
        fit_with(trained, [], epochs=2, verbose=2, **VALIDATION)
        trained.evaluate(X, Y, verbose=2)
        trained.predict(X, verbose=2)
    return re.sub(r" - [^-]+ - [^-]+/step", "", out.getvalue()).splitlines()


@situation()
def callbacks_in_all_forms(make):
    """One callback alone, nested lists, a CallbackList."""
    trained = compiled(make)
    records = [Record() for _ in range(4)]
    fit_with(trained, records[0])
    fit_with(trained, [[records[1]], records[2]])
    ready = keras.callbacks.CallbackList(
        [records[3]], add_history=True, model=trained, epochs=1, steps=3, verbose=0
    )
    history = fit_with(trained, ready)
    return [len(record.calls) for record in records], history


@situation()
def one_callback_in_two_trainings(make):
    """The same object in two calls of `fit`."""
    record, trained = Record(), compiled(make)
    fit_with(trained, [record])
    fit_with(trained, [record])
    return record.calls


@situation()
def functions_as_callbacks(make):
    """LambdaCallback with hooks for training, batches, testing and predicting."""
    seen = []

    callback = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: seen.append("train"),
        on_train_end=lambda logs: seen.append(sorted(logs)),
        on_epoch_begin=lambda epoch, logs: seen.append(("epoch", epoch)),
        on_epoch_end=lambda epoch, logs: seen.append((epoch, sorted(logs))),
        on_train_batch_begin=lambda batch, logs: seen.append(("batch", batch)),
        on_train_batch_end=lambda batch, logs: seen.append((batch, logs["loss"])),
        on_test_begin=lambda logs: seen.append("test"),
        on_predict_begin=lambda logs: seen.append("predict"),
    )
    trained = compiled(make)
    fit_with(trained, [callback], epochs=2, **VALIDATION)
    trained.evaluate(X, Y, callbacks=[callback], verbose=0)
    trained.predict(X, callbacks=[callback], verbose=0)
    return seen


@situation()
def stopping_after_a_batch(make):
    """`stop_training` in the middle of the second epoch."""

    class Stop(keras.callbacks.Callback):
        batches = 0

        def on_train_batch_end(self, batch, logs=None):
            self.batches += 1
            self.model.stop_training = self.batches == 5

    trained, record = compiled(make), Record()
    history = fit_with(trained, [Stop(), record], epochs=4, **VALIDATION)
    return history, [call[:2] for call in record.calls if "epoch" in call[0]]


@situation()
def stopping_after_an_epoch(make):
    """`stop_training` at the end of an epoch, then another `fit`."""

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    trained = compiled(make)
    first = fit_with(trained, [Stop()], epochs=5)
    stopped = trained.stop_training
    return first, stopped, fit_with(trained, [], epochs=2), trained.stop_training


@situation()
def weights_changed_in_a_hook(make):
    """A callback that clips the weights after every batch."""

    class Clip(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            weights = self.model.get_weights()
            self.model.set_weights([np.clip(w, 0, 0.98) for w in weights])

    trained = compiled(make)
    return fit_with(trained, [Clip()], epochs=2), trained.get_weights()


@situation()
def the_rate_changed_in_a_hook(make):
    """A callback that halves the learning rate after every batch."""

    class Halve(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            optimizer = self.model.optimizer
            optimizer.learning_rate = 0.5 * float(optimizer.learning_rate)

    trained = compiled(make)
    return fit_with(trained, [Halve()], epochs=2), float(
        trained.optimizer.learning_rate
    )


@situation()
def predictions_in_a_hook(make):
    """`predict` at the end of every epoch."""
    seen = []

    class Predict(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(self.model.predict(X, verbose=0))

    return fit_with(
        compiled(make, metrics=["mae"]), [Predict()], epochs=2, **VALIDATION
    ), seen


@situation()
def an_evaluation_between_epochs(make):
    """`evaluate` at the end of every epoch, on other data."""
    seen = []

    class Evaluate(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(self.model.evaluate(2 * X, Y, verbose=0))

    return fit_with(compiled(make, metrics=["mae"]), [Evaluate()], epochs=2), seen


@situation(
    ours={"loss": [4.5], "mean_absolute_error": [4.5]},
    because="Keras resets the metrics of the running epoch and leaves others in them",
)
def an_evaluation_within_an_epoch(make):
    """`evaluate` on hundreds after the second batch of 1 to 8, with a rate of 0."""

    class Evaluate(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                hundreds = np.full((4, 1), 100.0, "float32")
                self.model.evaluate(hundreds, 0 * hundreds, verbose=0)

    trained = make(dense(1, features=1))
    metrics = [keras.metrics.MeanAbsoluteError()]
    trained.compile(keras.optimizers.SGD(0.0), "mae", metrics=metrics)
    x = np.arange(1, 9, dtype="float32")[:, None]
    fit = {"batch_size": 2, "shuffle": False, "verbose": 0, "callbacks": [Evaluate()]}
    return trained.fit(x, 0 * x, **fit).history


@situation(
    ours=["on_train_begin", "on_epoch_begin", "on_train_end"],
    because="callbacks are closed also after an exception: documented",
)
def an_error_in_a_hook(make):
    """An exception in `on_train_batch_begin`."""

    class Fail(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            raise ValueError("stop here")

    trained, record = compiled(make), Record()
    refused(lambda: fit_with(trained, [Fail(), record]))
    return [call[0] for call in record.calls]
