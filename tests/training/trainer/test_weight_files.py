"""Files that Trainers and bare models write and read: each one those of the other."""

import warnings
import zipfile

import keras
import numpy as np
import pytest

from keras_ext import Trainer

X, Y = np.ones((8, 2), "float32"), np.zeros((8, 1), "float32")


def sequential():
    return keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(3), keras.layers.Dense(1)]
    )


def functional():
    inputs = keras.Input((2,))
    x = keras.layers.Dropout(0.5)(sequential()(inputs))
    return keras.Model(inputs, keras.layers.Dense(1)(x))


@keras.saving.register_keras_serializable(package="tests")
class Blocks(keras.Model):
    """Layers under names before and after `layers`, and in a list."""

    def __init__(self, shifts=False, **kwargs):
        super().__init__(**kwargs)
        self.shifts = shifts
        self.dense = keras.layers.Dense(3)
        self.more = [keras.layers.Dense(3), keras.layers.Dense(3)]
        self.out = keras.layers.Dense(1)
        if shifts:
            self.shift = self.add_weight(name="shift")

    def get_config(self):
        return {**super().get_config(), "shifts": self.shifts}

    def build(self, shape):
        for layer, width in ((self.dense, 2), (self.more[0], 3), (self.more[1], 3)):
            layer.build((None, width))
        self.out.build((None, 3))

    def call(self, x):
        for layer in (self.dense, *self.more, self.out):
            x = layer(x)
        return x + self.shift if self.shifts else x


def blocks(shifts=False):
    model = Blocks(shifts)
    model.build((None, 2))
    return model


def shifted_blocks():
    return blocks(shifts=True)


KINDS = [sequential, functional, blocks]
SAVE = {
    "save.keras": lambda model, path: model.save(path),
    "save_weights.weights.h5": lambda model, path: model.save_weights(path),
    "function.keras": keras.saving.save_model,
    "function.weights.h5": keras.saving.save_weights,
}
LOAD = {
    "load_weights": lambda model, path: model.load_weights(path),
    "function": keras.saving.load_weights,
}


def filled(model, wrap, start):
    """Return it as if it had been trained: with an optimizer's state, all different."""
    model = Trainer(model) if wrap else model
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    for number, variable in enumerate(model.weights + model.optimizer.variables):
        variable.assign(np.full(variable.shape, start + number))
    return model


def values(variables):
    return [np.asarray(variable) for variable in variables]


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("writer", [True, False], ids=["Trainer", "bare"])
@pytest.mark.parametrize("file", SAVE)
def test_every_file_is_read_by_both(make, writer, file, tmp_path):
    written = filled(make(), writer, start=1)
    SAVE[file](written, tmp_path / file)
    # `Trainer.save_weights` leaves the optimizer out, of which Keras warns.
    has_optimizer = not (writer and file.startswith("save_weights"))
    for reader in (True, False):
        for name, load in LOAD.items():
            read = filled(make(), reader, start=1000)
            of_the_bare = not writer or not has_optimizer
            if make is blocks and reader and name == "function" and of_the_bare:
                # Keras looks for the attributes of the model in the Trainer.
                with pytest.raises(ValueError, match="could not be loaded"):
                    load(read, tmp_path / file)
                continue
            with warnings.catch_warnings():
                if not has_optimizer:
                    warnings.filterwarnings("ignore", "Skipping variable loading for")
                load(read, tmp_path / file)
            np.testing.assert_equal(values(read.weights), values(written.weights))
            if reader == writer and has_optimizer:
                np.testing.assert_equal(
                    values(read.optimizer.variables),
                    values(written.optimizer.variables),
                )


@pytest.mark.parametrize("make", [*KINDS, shifted_blocks])
def test_loaded_as_a_whole(make, tmp_path):
    for wrap_compiled in (False, True):
        trainer = filled(make(), not wrap_compiled, start=1)
        trainer = Trainer(trainer) if wrap_compiled else trainer
        trainer.save(tmp_path / "a.keras")
        loaded = keras.saving.load_model(tmp_path / "a.keras")
        assert type(loaded) is Trainer
        read = filled(make(), True, start=1000)
        read.load_weights(tmp_path / "a.keras")
        for other in (loaded, read):
            np.testing.assert_equal(values(other.weights), values(trainer.weights))
            np.testing.assert_equal(
                values(other.optimizer.variables), values(trainer.optimizer.variables)
            )


@pytest.mark.parametrize("name", ["absent.keras", "text.weights.h5", "text.keras"])
def test_what_is_no_such_file_is_left_to_keras(name, tmp_path):
    if name.startswith("text"):
        (tmp_path / name).write_text("text")
    messages = []
    for model in (sequential(), Trainer(sequential())):
        with pytest.raises((OSError, zipfile.BadZipFile)) as caught:
            model.load_weights(tmp_path / name)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


@pytest.mark.parametrize("name", ["best.keras", "best.weights.h5"])
def test_the_recipes_of_keras_documentation(name, tmp_path):
    """https://keras.io/api/callbacks/model_checkpoint and .../early_stopping."""
    trainer = filled(sequential(), True, start=0.01)
    checkpoint_filepath = tmp_path / name
    model_checkpoint_callback = keras.callbacks.ModelCheckpoint(
        filepath=checkpoint_filepath,
        monitor="val_loss",
        mode="min",
        save_best_only=True,
        save_weights_only=name.endswith("h5"),
    )
    callback = keras.callbacks.EarlyStopping(
        monitor="val_loss", patience=1, restore_best_weights=True, start_from_epoch=0
    )
    validation = (X, Y - 1)
    history = trainer.fit(
        X,
        Y + 1,
        validation_data=validation,
        epochs=4,
        verbose=0,
        callbacks=[model_checkpoint_callback, callback],
    )
    best = min(history.history["val_loss"])
    assert trainer.evaluate(*validation, verbose=0) == pytest.approx(best)
    trainer.fit(X, Y + 1, verbose=0)
    trainer.load_weights(checkpoint_filepath)
    if name.endswith("keras"):
        loaded = keras.models.load_model(checkpoint_filepath)
        assert loaded.evaluate(*validation, verbose=0) == pytest.approx(best)
    assert trainer.evaluate(*validation, verbose=0) == pytest.approx(best)
