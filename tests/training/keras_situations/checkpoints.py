"""Situations of Keras's callbacks that write and read files of weights."""

import keras

from tests.training.keras_situations.parts import (
    VALIDATION,
    X,
    Y,
    compiled,
    files,
    fit_with,
)
from tests.training.keras_situations.table import (
    refused,
    situation,
    warned,
)


def _checkpoint(make, name, **options):
    return keras.callbacks.ModelCheckpoint(str(make.folder / "sub" / name), **options)


@situation()
def files_of_every_epoch(make):
    """A file per epoch, in a folder that did not exist."""
    fit_with(compiled(make), [_checkpoint(make, "{epoch:02d}.keras")], epochs=2)
    return files(make.folder / "sub")


@situation()
def names_with_numbers_in_them(make):
    """The loss in the name of the file."""
    name = "{epoch}-{loss:.3f}-{val_loss:.3f}.weights.h5"
    callback = _checkpoint(make, name, save_weights_only=True)
    fit_with(compiled(make), [callback], epochs=2, **VALIDATION)
    return files(make.folder / "sub")


@situation()
def files_of_the_best_epochs(make):
    """`save_best_only` with modes, and with a threshold to begin with."""
    trained = compiled(make, optimizer=keras.optimizers.SGD(0.0))
    for name, options in {
        "min{epoch}": {"monitor": "val_loss", "mode": "min"},
        "max{epoch}": {"monitor": "loss", "mode": "max"},
        "auto{epoch}": {},
        "never{epoch}": {"initial_value_threshold": 0.0},
        "always{epoch}": {"initial_value_threshold": 1e9},
    }.items():
        options = {"save_best_only": True, "save_weights_only": True, **options}
        callback = _checkpoint(make, f"{name}.weights.h5", **options)
        fit_with(trained, [callback], epochs=2, **VALIDATION)
    return files(make.folder / "sub")


@situation()
def files_of_batches(make):
    """`save_freq` in batches, with the number of the batch in the name."""
    trained = compiled(make)
    name = "{epoch}-{batch}.weights.h5"
    callback = _checkpoint(make, name, save_weights_only=True, save_freq=2)
    fit_with(trained, [callback], epochs=4)
    return files(make.folder / "sub")


@situation()
def files_every_few_epochs(make):
    """`save_freq` of twice the batches of an epoch."""
    callback = _checkpoint(make, "{epoch}.keras", save_freq=6)
    fit_with(compiled(make), [callback], epochs=5)
    return files(make.folder / "sub")


@situation()
def the_best_by_an_unknown_metric(make):
    """A monitor that no one logs: a warning, and a file all the same or not."""
    callback = _checkpoint(
        make, "m.keras", monitor="unknown", save_best_only=True, mode="min"
    )
    _, warns = warned(lambda: fit_with(compiled(make), [callback]))
    return warns, files(make.folder / "sub")


@situation()
def a_model_loaded_from_the_best(make):
    """What `load_model` makes of the file of the best epoch."""
    trained = compiled(make, metrics=["mae"])
    fit_with(trained, [_checkpoint(make, "m.keras", save_best_only=True)], **VALIDATION)
    loaded = keras.saving.load_model(make.folder / "sub" / "m.keras")
    return loaded.predict(X, verbose=0), loaded.evaluate(X, Y, verbose=0)


@situation()
def weights_loaded_from_the_best(make):
    """`load_weights` of the file of the best epoch, where it holds weights only."""
    return _best_weights(make, "m.weights.h5", save_weights_only=True)


@situation()
def weights_loaded_from_the_best_model(make):
    """`load_weights` of the file of the best epoch, where it holds the model."""
    return _best_weights(make, "m.keras")


def _best_weights(make, name, **options):
    trained = compiled(make)
    callback = _checkpoint(make, name, save_best_only=True, monitor="loss", **options)
    fit_with(trained, [callback])
    expected, fresh = trained.get_weights(), compiled(make)
    fresh.load_weights(make.folder / "sub" / name)
    return expected, fresh.get_weights()


@situation(
    ours=True,
    because="only Model.fit can read back where to go on: documented, refused",
)
def a_backup_to_continue_from(make):
    """BackupAndRestore."""
    callback = keras.callbacks.BackupAndRestore(str(make.folder / "backup"))
    return refused(lambda: fit_with(compiled(make), [callback]))


def _averaging(make, scaled=False):
    optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9)
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return compiled(make, optimizer=optimizer, metrics=["mse"])


@situation()
def validation_on_averaged_weights(make):
    """SwapEMAWeights, alone, with a loss scale, and for another optimizer."""
    results = []
    for scaled in (False, True):
        trained = _averaging(make, scaled)
        callback = keras.callbacks.SwapEMAWeights()
        results.append(fit_with(trained, [callback], epochs=2, **VALIDATION))
        results.append(trained.evaluate(X, Y, verbose=0))
    plain = compiled(make)
    callback = keras.callbacks.SwapEMAWeights()
    return results, refused(lambda: fit_with(plain, [callback]))


@situation()
def checkpoints_of_averaged_weights(make):
    """SwapEMAWeights by the epoch, before a ModelCheckpoint."""
    trained = _averaging(make)
    callbacks = [
        keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
        _checkpoint(make, "{epoch}.keras"),
    ]
    history = fit_with(trained, callbacks, epochs=2, **VALIDATION)
    loaded = keras.saving.load_model(make.folder / "sub" / "2.keras")
    return (
        history,
        trained.evaluate(X, Y, verbose=0),
        loaded.evaluate(X, Y, verbose=0),
    )
