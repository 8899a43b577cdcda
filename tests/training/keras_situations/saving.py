"""Situations of saving and loading: whole, weights alone, configs, and copies."""

import copy
import os
import pickle

import keras
import numpy as np
import tensorflow as tf

from keras_ext import Trainer
from tests.training.keras_situations.objects import (
    Own,
    cubic,
    drawn,
    fitted,
    functional,
    state,
)
from tests.training.keras_situations.parts import FIT, MSE, X, Y, dense, ones
from tests.training.keras_situations.table import (
    DERIVED,
    WRAPPED,
    refused,
    result_or_refused,
    situation,
    warned,
)


def _again(make, trained, name="m.keras", **options):
    path = str(make.folder / name)
    trained.save(path)
    return keras.saving.load_model(path, **options)


@situation(WRAPPED, DERIVED)
def saved_and_loaded(make):
    """Weights, compilation and optimizer come back, and training goes on."""
    loaded = _again(make, fitted(make, metrics=["mae"]))
    return state(loaded), type(loaded.optimizer).__name__


@situation()
def saved_and_loaded_functional(make):
    """The same for a functional model with a layer, loss and metric of one's own."""
    trained = fitted(
        make, functional(), loss=cubic, metrics=[keras.metrics.Hinge(), cubic]
    )
    return state(_again(make, trained))


@situation()
def saved_and_loaded_class(make):
    """The same for a class."""
    loaded = _again(make, fitted(make, Own(3.0), weighted_metrics=["mae"]))
    return state(loaded)


@situation()
def saved_with_losses_by_name(make):
    """Dicts of losses, metrics and weights for two outputs."""
    x = keras.Input((4,))
    model = keras.Model(x, {"a": ones(1, name="a")(x), "b": ones(2, name="b")(x)})
    trained = make(model)
    trained.compile(
        "adam",
        loss={"a": "mse", "b": keras.losses.Huber(0.5)},
        metrics={"a": ["mae"], "b": [keras.metrics.MeanSquaredError("square")]},
        loss_weights={"a": 0.5, "b": 2.0},
        jit_compile=False,
    )
    y = {"a": Y[:, :1], "b": Y[:, 1:]}
    trained.fit(X, y, **FIT)
    loaded = _again(make, trained)
    return loaded.evaluate(X, y, verbose=0), loaded.fit(X, y, **FIT).history


@situation()
def saved_with_a_schedule(make):
    """An optimizer with a schedule, clipping and moving averages."""
    decay = keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.9)
    optimizer = keras.optimizers.AdamW(decay, clipnorm=1.0, use_ema=True)
    return state(_again(make, fitted(make, optimizer=optimizer)))


@situation()
def loaded_without_compiling(make):
    """`load_model(compile=False)`."""
    loaded = _again(make, fitted(make), compile=False)
    return loaded.compiled, loaded.predict(X, verbose=0)


@situation()
def saved_before_compile(make):
    """A model that was never compiled."""
    loaded = _again(make, make(functional()))
    return loaded.compiled, loaded.predict(X, verbose=0)


@situation()
def saved_before_it_is_built(make):
    """A model without weights yet stays so."""
    trained = make(Own())
    loaded, warns = warned(lambda: _again(make, trained))
    return warns, trained.built, loaded.built, loaded.compiled


@situation()
def saved_with_run_eagerly(make):
    """`run_eagerly`, `jit_compile` and `auto_scale_loss` of `compile` come back."""
    trained = make(dense())
    trained.compile("sgd", "mse", run_eagerly=True)
    return _again(make, trained).run_eagerly


@situation()
def saved_over_a_file(make):
    """Saving twice under a name."""
    trained = fitted(make)
    _again(make, trained)
    trained.fit(X, Y, **FIT)
    return _again(make, trained).predict(X, verbose=0)


@situation()
def saved_into_a_folder_that_is_missing(make):
    """A path whose folder does not exist."""
    trained = fitted(make, epochs=0)
    return refused(lambda: trained.save(str(make.folder / "no" / "m.keras")))


@situation()
def saved_under_a_wrong_name(make):
    """Endings that no format has."""
    trained = fitted(make, epochs=0)
    return [
        refused(lambda: trained.save(str(make.folder / "m.png"))),
        refused(lambda: trained.save(str(make.folder / "m"))),
        refused(lambda: trained.save_weights(str(make.folder / "m.h5"))),
        refused(lambda: trained.load_weights(str(make.folder / "m.pkl"))),
        refused(lambda: trained.save(str(make.folder / "m.keras"), bad=1)),
        sorted(os.listdir(make.folder)),
    ]


@situation(ours="refused", because="what a Trainer writes as HDF5 can't be loaded")
def saved_as_hdf5(make):
    """The legacy format."""
    trained = fitted(make, epochs=0)
    saved = result_or_refused(lambda: trained.save(str(make.folder / "m.h5")))
    return saved or "saved"


@situation()
def saved_unzipped(make):
    """A folder instead of a file."""
    folder = str(make.folder / "m")
    keras.saving.save_model(fitted(make), folder, zipped=False)
    names = sorted(os.listdir(folder))
    return names, state(keras.saving.load_model(folder))


@situation(DERIVED)
def a_compile_of_ones_own(make):
    """A class that overrides `compile`: loaded with a warning, and not compiled."""
    kind = OwnCompile if make.base is keras.Model else OwnCompileOfTrainer
    trained = kind(ones())
    trained.compile("sgd", "mse")
    trained.fit(X, Y, **FIT)
    loaded, warns = warned(lambda: _again(make, trained))
    return warns, loaded.compiled, loaded.predict(X, verbose=0)


class _Compile:
    """A layer as a model, with a `compile` of its own."""

    def __init__(self, top, **kwargs):
        super().__init__(**kwargs)
        self.top = top

    def compile(self, *args, **kwargs):
        super().compile(*args, **kwargs)

    def call(self, x):
        return self.top(x)

    def get_config(self):
        return {
            **super().get_config(),
            "top": keras.saving.serialize_keras_object(self.top),
        }

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("top")), **config)


@keras.saving.register_keras_serializable(package="keras_situations")
class OwnCompile(_Compile, keras.Model):
    """That of stock Keras."""


@keras.saving.register_keras_serializable(package="keras_situations")
class OwnCompileOfTrainer(_Compile, Trainer):
    """That of a Trainer."""


@situation()
def a_config_and_back(make):
    """`from_config(get_config())` and the config of `compile`."""
    trained = fitted(make, functional(), metrics=["mae"])
    fresh = type(trained).from_config(trained.get_config())
    fresh.compile_from_config(trained.get_compile_config())
    fresh.set_weights(trained.get_weights())
    return fresh.evaluate(X, Y, verbose=0), type(fresh.optimizer).__name__


@situation()
def json_and_back(make):
    """`to_json` and `model_from_json`."""
    trained = make(functional())
    text = trained.to_json()
    fresh = keras.models.model_from_json(text)
    fresh.set_weights(trained.get_weights())
    return fresh.predict(X, verbose=0), fresh.to_json() == text


@situation()
def pickled(make):
    """`pickle`, compiled and trained."""
    trained = fitted(make, functional())
    return state(pickle.loads(pickle.dumps(trained)))


@situation()
def copied_deeply(make):
    """`copy.deepcopy`: the copy is trained on its own."""
    trained = fitted(make, functional())
    twin = copy.deepcopy(trained)
    twin.fit(X, Y, **FIT)
    return trained.get_weights(), twin.get_weights()


@situation()
def cloned(make):
    """`clone_model`: the same computation with weights of its own."""
    trained = fitted(make, functional())
    twin = keras.models.clone_model(trained)
    twin.set_weights(trained.get_weights())
    twin.compile(**MSE)
    twin.fit(X, Y, **FIT)
    return trained.get_weights(), twin.get_weights()


@situation()
def exported(make):
    """`export`, served by TensorFlow alone."""
    trained, folder = make(drawn()), str(make.folder / "served")
    trained.export(folder, verbose=False)
    served = tf.saved_model.load(folder)
    return np.asarray(served.serve(tf.constant(X)))


@situation()
def saved_as_tensorflow_does(make):
    """`tf.saved_model.save`: the signature of a functional model."""
    trained, folder = make(drawn()), str(make.folder / "served")
    tf.saved_model.save(trained, folder)
    served = tf.saved_model.load(folder)
    outputs = served.signatures["serving_default"](tf.constant(X))
    return [np.asarray(output) for output in outputs.values()]


@situation()
def summaries(make):
    """What `summary` counts, before `compile`."""
    lines = []
    make(functional()).summary(print_fn=lines.append)
    return [line for line in "".join(lines).split("\n") if "params" in line]
