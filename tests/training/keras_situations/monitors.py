"""Situations of Keras's callbacks that stop, change rates and write logs."""

import csv
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

from tests.training.keras_situations.parts import (
    FIT,
    VALIDATION,
    L,
    X,
    Y,
    compiled,
    fit_with,
    ones,
)
from tests.training.keras_situations.table import (
    refused,
    situation,
)


@situation()
def early_stopping(make):
    """Patience, and what the callback remembers."""
    callback = keras.callbacks.EarlyStopping("val_loss", patience=2, mode="max")
    history = fit_with(compiled(make), [callback], epochs=9, **VALIDATION)
    return history, callback.stopped_epoch, callback.best_epoch, callback.wait


@situation()
def early_stopping_with_the_best_weights(make):
    """`restore_best_weights`, with a baseline and a start."""
    trained = compiled(make, optimizer=keras.optimizers.SGD(1.5))
    callback = keras.callbacks.EarlyStopping(
        "loss", patience=2, restore_best_weights=True, start_from_epoch=1
    )
    history = fit_with(trained, [callback], epochs=9)
    return history, trained.get_weights(), callback.best_epoch, float(callback.best)


@situation()
def early_stopping_by_the_name_of_the_metric(make):
    """`mode="auto"` knows which metrics grow and which shrink."""
    metrics = ["mse", "acc", "hinge", keras.metrics.F1Score("macro", name="f1")]
    trained, results = compiled(make, metrics=metrics), []
    for monitor in ("val_mse", "loss", "acc", "val_hinge", "f1"):
        callback = keras.callbacks.EarlyStopping(monitor, patience=0)
        fit_with(trained, [callback], **VALIDATION)
        results.append(callback.monitor_op.__name__)
    return results


@situation()
def early_stopping_on_an_unknown_metric(make):
    """A monitor that no one logs: an error, since its direction is unknown."""
    callback = keras.callbacks.EarlyStopping("unknown", patience=0)
    return refused(lambda: fit_with(compiled(make), [callback], epochs=2))


@situation()
def early_stopping_used_twice(make):
    """The callback begins again in a second `fit`."""
    trained = compiled(make)
    callback = keras.callbacks.EarlyStopping("loss", patience=1, mode="max")
    first = fit_with(trained, [callback], epochs=6)
    return first, fit_with(trained, [callback], epochs=6)


@situation()
def a_schedule_by_epoch(make):
    """LearningRateScheduler: rates, and the history."""
    trained = compiled(make)
    callback = keras.callbacks.LearningRateScheduler(lambda epoch: 1 / (2 + epoch))
    return fit_with(trained, [callback], epochs=3), float(
        trained.optimizer.learning_rate
    )


@situation()
def a_schedule_from_the_last_rate(make):
    """A function of epoch and rate, with a rate of the optimizer's own."""
    trained = compiled(make, optimizer=keras.optimizers.Adam(0.03))
    callback = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    history = fit_with(trained, [callback], epochs=2)
    return history, float(trained.optimizer.learning_rate)


@situation()
def a_schedule_beside_a_schedule(make):
    """Both callbacks for rates refuse an optimizer that holds a schedule."""
    decay = keras.optimizers.schedules.PolynomialDecay(0.1, 10)
    results = []
    for callback in (
        keras.callbacks.LearningRateScheduler(lambda epoch: 0.1),
        keras.callbacks.ReduceLROnPlateau("loss", patience=1),
    ):
        trained = compiled(make, optimizer=keras.optimizers.SGD(decay))
        results.append(
            refused(lambda t=trained, c=callback: fit_with(t, [c], epochs=3))
        )
    return results


@situation()
def rates_reduced_on_a_plateau(make):
    """Factor, patience, cooldown and the smallest rate."""
    trained, results = compiled(make), []
    for options in (
        {"patience": 1},
        {"patience": 1, "min_lr": 0.004},
        {"patience": 1, "cooldown": 2},
        {"patience": 5},
    ):
        trained.optimizer.learning_rate = 0.01
        callback = keras.callbacks.ReduceLROnPlateau(
            "val_loss", factor=0.1, min_delta=100, **options
        )
        history = fit_with(trained, [callback], epochs=4, **VALIDATION)
        results += [history, float(trained.optimizer.learning_rate)]
    return results


def _diverging():
    layers = [ones(2, activation="relu") for _ in range(2)]
    scale = keras.initializers.Constant(1e25)
    huge = L.Dense(3, kernel_initializer=scale, use_bias=False)
    return keras.Sequential([keras.Input((4,)), *layers, huge])


@situation()
def training_ends_on_nan(make):
    """TerminateOnNaN with a log: the epoch that ended is in both."""
    trained, path = compiled(make, _diverging()), str(make.folder / "log.csv")
    callbacks = [
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.CSVLogger(path),
    ]
    history = fit_with(trained, callbacks, epochs=9, **VALIDATION)
    with open(path, newline="") as file:
        rows = list(csv.reader(file))
    finite = [bool(np.isfinite(history["loss"][0]))]
    return len(history["loss"]), finite, len(rows), rows[0], rows[1][0]


@situation()
def training_goes_on_without_nan(make):
    """TerminateOnNaN does nothing to a training that does well."""
    return fit_with(compiled(make), [keras.callbacks.TerminateOnNaN()], epochs=2)


def _rows(path, delimiter=","):
    with open(path, newline="") as file:
        rows = list(csv.reader(file, delimiter=delimiter))
    # What is a number is compared as one.
    return rows[0], [[_number(cell) for cell in row] for row in rows[1:]]


def _number(cell):
    try:
        return float(cell)
    except ValueError:
        return cell


@situation()
def a_log_file(make):
    """CSVLogger: a separator, appending, and the same object again."""
    path, trained = str(make.folder / "log.tsv"), compiled(make, metrics=["mae"])
    fit_with(trained, [keras.callbacks.CSVLogger(path, separator="\t")], **VALIDATION)
    again = keras.callbacks.CSVLogger(path, separator="\t", append=True)
    fit_with(trained, [again], **VALIDATION)
    fit_with(trained, [again], epochs=2, **VALIDATION)
    return _rows(path, "\t")


@situation()
def a_log_file_with_rare_validation(make):
    """Validation in every third epoch: `NA` in the others."""
    path = str(make.folder / "log.csv")
    callback = keras.callbacks.CSVLogger(path)
    fit_with(compiled(make), [callback], epochs=5, **VALIDATION, validation_freq=3)
    return _rows(path)


@situation()
def events_sent_to_a_server(make):
    """RemoteMonitor: what is posted after every epoch; the request is a fake."""
    with mock.patch("requests.post") as post:
        monitor = keras.callbacks.RemoteMonitor(send_as_json=True)
        fit_with(compiled(make), [monitor], epochs=2, **VALIDATION)
    return [call.kwargs["json"] for call in post.call_args_list]


def _tags(folder):
    """The tags of all events in a folder, by the run they belong to."""
    tags = set()
    for file in folder.rglob("events.out.*"):
        for record in tf.data.TFRecordDataset(str(file)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            tags |= {(file.parent.name, value.tag) for value in event.summary.value}
    return sorted(tags)


def _board(make, **options):
    folder = str(make.folder / "board")
    return keras.callbacks.TensorBoard(
        folder, write_graph=False, profile_batch=0, **options
    )


@situation(needs="tensorboard")
def a_board_by_epoch(make):
    """TensorBoard, by the epoch, in two calls of `fit`, with a schedule."""
    decay = keras.optimizers.schedules.CosineDecay(0.01, 9)
    trained = compiled(make, optimizer=keras.optimizers.SGD(decay), metrics=["mae"])
    board = _board(make)
    for _ in range(2):
        fit_with(trained, [board], epochs=2, **VALIDATION)
    return _tags(make.folder / "board")


@situation(needs="tensorboard")
def a_board_by_batch(make):
    """TensorBoard, by the batch, with steps per second and histograms."""
    board = _board(make, update_freq=1, write_steps_per_second=True, histogram_freq=1)
    fit_with(compiled(make), [board], epochs=2, **VALIDATION)
    tags = _tags(make.folder / "board")
    # Keras names histograms after the paths of layers, which differ with a wrapper.
    return sorted({(run, tag.split("/")[-1]) for run, tag in tags})


@situation(needs="tensorboard")
def a_board_with_embeddings(make):
    """TensorBoard's projector, with a file of words for an Embedding."""
    model = keras.Sequential(
        [keras.Input((4,)), L.Embedding(9, 2, name="words"), L.Flatten(), ones()]
    )
    trained = compiled(make, model)
    (make.folder / "board").mkdir()
    board = _board(make, embeddings_freq=1, embeddings_metadata={"words": "m.tsv"})
    trained.fit(np.abs(X).astype(int), Y, callbacks=[board], **FIT)
    (file,) = make.folder.rglob("projector_config.pbtxt")
    return str(file.relative_to(make.folder)), file.read_text()
