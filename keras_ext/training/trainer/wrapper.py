"""A model around a model: what `Trainer` accepts, adopts and passes on."""

import inspect
import warnings
from typing import Any

import keras
import tensorflow as tf

from keras_ext._types import Config
from keras_ext.training.trainer.hooks import HOOKS
from keras_ext.training.trainer.layer_metrics import without_nested
from keras_ext.training.trainer.weight_files import is_trainers_file
from keras_ext.training.trainer.wrapped_model_checks import check_wrapped


def _shown(name: str, doc: str) -> Any:
    """Return a property that is read from the wrapped model."""

    def read(self: "WrappedModel") -> Any:
        wrapped, own = self._wrapped, super(WrappedModel, self)
        # As a layer of another model, it has inputs and outputs there.
        called = name in ("input", "output") and hasattr(own, name)
        try:
            return getattr(own if called or wrapped is None else wrapped, name)
        except AttributeError as error:
            why = (
                "it is defined by `call`"
                if wrapped is None
                else f"`trainer.model`, a {type(wrapped).__name__}, has none: {error}"
            )
            raise AttributeError(
                f"This {type(self).__name__} has no `{name}`, since {why}"
            ) from error

    return property(read, doc=doc)


class WrappedModel(keras.Model):
    """A Keras model that computes what another one computes, and saves like it.

    The part of `Trainer` that is unrelated to training. Without a model to wrap, it is
    an ordinary `keras.Model`, whose subclass defines `call`.

    Args:
        model: The `keras.Model` to wrap, or `None`.
        *more: Nothing; the arguments of a functional model are rejected.
        **kwargs: `name`, `dtype`, `trainable` of `keras.Model`.
    """

    # Keras's __init__ reads both before they are set.
    _wrapped: keras.Model | None = None
    _built = False

    def __init__(self, model: keras.Model | None, *more: Any, **kwargs: Any) -> None:
        check_wrapped(model, more, kwargs, WrappedModel)
        if model is not None:
            # The model determines what to cast, and whether to scale the loss.
            kwargs = {"dtype": model.dtype_policy, "autocast": False, **kwargs}
        super().__init__(**kwargs)
        self._wrapped = model
        if model is not None:
            self._hands_down_training = (
                "training" in inspect.signature(model.call).parameters
            )

    @property
    def model(self) -> keras.Model:
        """The model to save and export; the Trainer itself if it wraps none."""
        return self if self._wrapped is None else self._wrapped

    @model.setter
    def model(self, value: Any) -> None:
        raise AttributeError(
            f"`{type(self).__name__}.model` is the wrapped model and is set only once. "
            "Pass it on: `super().__init__(model)`; give other models other names."
        )

    def __dir__(self) -> list[str]:
        # Keras saves and loads what it finds here: private names last, and thus the
        # wrapped model after its layers and the optimizer, which are in the same place
        # in the file as for the bare model. A Trainer that is its own `model` would be
        # traversed endlessly.
        return [name for name in super().__dir__() if name != "model"]

    def __getattr__(self, name: str) -> Any:
        """Raise for what is not found, and say if the wrapped model has it."""
        try:
            # Again, for the error of a property.
            return self.__getattribute__(name)
        except AttributeError as error:
            has_it = not name.startswith("_") and hasattr(self._wrapped, name)
            if hasattr(type(self), name) or not has_it:
                raise
            raise AttributeError(
                f"{error}. The wrapped model has it: `trainer.model.{name}`"
            ) from error

    def __setattr__(self, name: str, value: Any) -> None:
        if name in HOOKS and isinstance(value, keras.layers.Layer):
            raise AttributeError(
                f"`{name}` is a hook of Trainer, which a layer of that name would "
                "replace. Give the layer another name."
            )
        super().__setattr__(name, value)

    @property
    def built(self) -> bool:
        """Whether the weights exist, which Keras checks before it saves or loads them.

        A Trainer without a model and without `call`, such as a GAN, is built when all
        its parts are.
        """
        if self._wrapped is not None:
            return self._built or self._wrapped.built
        if self._built or self._defines_call:
            return self._built
        return all(part.built for part in self.layers)

    @built.setter
    def built(self, value: bool) -> None:
        self._built = value

    @property
    def _defines_call(self) -> bool:
        return self._wrapped is not None or type(self).call is not WrappedModel.call

    # The setter is Keras's, which says that the name is reserved.
    @keras.Model.layers.getter
    def layers(self) -> list[keras.layers.Layer]:
        """Layers of the wrapped model, followed by the Trainer's own.

        Keras saves in the order of this list, so that files of a Trainer and of the
        bare model have the same layout.
        """
        own: list[keras.layers.Layer] = super().layers
        if self._wrapped is None:
            return own
        shown: list[keras.layers.Layer] = self._wrapped.layers
        known = {id(layer) for layer in (self._wrapped, *shown)}
        return shown + [layer for layer in own if id(layer) not in known]

    inputs = _shown("inputs", "Symbolic inputs of the wrapped model, in a list.")
    outputs = _shown("outputs", "Symbolic outputs of the wrapped model, in a list.")
    input = _shown("input", "Symbolic inputs of the wrapped model, in its structure.")
    output = _shown("output", "Symbolic outputs of the wrapped model, likewise.")
    input_shape = _shown("input_shape", "Shapes of the wrapped model's inputs.")
    output_shape = _shown("output_shape", "Shapes of the wrapped model's outputs.")
    output_names = _shown(
        "output_names", "Names of its outputs, for `compile(loss={...})`."
    )

    @property
    def metrics(self) -> list[keras.Metric]:
        """The Trainer's metrics and those of the wrapped model and its layers.

        Not those of models that are layers of it, as everywhere in Keras.
        """
        metrics = super().metrics
        if self._wrapped is not None:
            # Not those that the wrapped model itself may be compiled with.
            metrics += keras.layers.Layer.metrics.fget(self._wrapped)
        return without_nested(self, self._wrapped, metrics)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Return the wrapped model's outputs."""
        if self._wrapped is None:
            raise NotImplementedError(
                f"{type(self).__name__} has no model to call. Wrap one, "
                "Trainer(model), or define `call` in the subclass."
            )
        if self._hands_down_training:
            return self._wrapped(inputs, training=training)
        return self._wrapped(inputs)

    def compute_output_shape(self, *args: Any, **kwargs: Any) -> Any:
        """Return the wrapped model's output shapes for these input shapes."""
        if self._wrapped is None:
            return super().compute_output_shape(*args, **kwargs)
        return self._wrapped.compute_output_shape(*args, **kwargs)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Return the shapes and dtypes of the outputs, as returned by `call`."""
        if type(self).compute_output_shape is WrappedModel.compute_output_shape:
            # Keras would rely on the method above, which does not give dtypes.
            return keras.Operation.compute_output_spec(self, *args, **kwargs)
        return super().compute_output_spec(*args, **kwargs)

    def summary(self, *args: Any, **kwargs: Any) -> None:
        """Print the wrapped model's layers; arguments of `keras.Model.summary`."""
        if self._wrapped is None:
            super().summary(*args, **kwargs)
        else:
            self._wrapped.summary(*args, **kwargs)

    def export(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Export the wrapped model; arguments of `keras.Model.export`."""
        if self._wrapped is None:
            super().export(filepath, *args, **kwargs)
        else:
            self._wrapped.export(filepath, *args, **kwargs)

    @property
    def serving_default(self) -> Any:
        """The predictions as a function, a signature for `tf.saved_model.save`.

        TensorFlow looks for one among the attributes. Keras itself has one for models
        whose inputs it learns from their first call.
        """
        sequential = isinstance(self._wrapped, keras.Sequential)
        specs = keras.tree.map_structure(
            lambda x: tf.TensorSpec(x.shape, x.dtype),
            self.inputs[0] if sequential else self.input,
        )
        return tf.function(lambda inputs: self(inputs), input_signature=[specs])

    def save(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Save the Trainer to a `.keras` file; arguments of `keras.Model.save`.

        Raises:
            ValueError: If `filepath` names an HDF5 file. From the old format, only
                functional and sequential models can be loaded.
        """
        if str(filepath).endswith((".h5", ".hdf5")):
            raise ValueError(
                f"A {type(self).__name__} saved as HDF5 could not be loaded. Expected: "
                '`save("trainer.keras")`, `save_weights("model.weights.h5")`, or '
                f"`trainer.model.save(...)`. Received: filepath={str(filepath)!r}"
            )
        super().save(filepath, *args, **kwargs)

    def save_weights(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Save the wrapped model's weights; see `keras.Model.save_weights`.

        The file is that of the bare model: without the state of the optimizer, unless
        the bare model is compiled, and without the Trainer's own variables, about which
        it warns. `save` keeps both.
        """
        if self._wrapped is None:
            super().save_weights(filepath, *args, **kwargs)
        else:
            self._warn_of_own_variables()
            self._wrapped.save_weights(filepath, *args, **kwargs)

    def load_weights(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Load the wrapped model's weights; see `keras.Model.load_weights`."""
        if self._wrapped is None or is_trainers_file(filepath):
            super().load_weights(filepath, *args, **kwargs)
        else:
            self._wrapped.load_weights(filepath, *args, **kwargs)

    def get_config(self) -> Config:
        """Return the constructor arguments that were given."""
        config = super().get_config()
        if self._wrapped is not None:
            config["model"] = keras.saving.serialize_keras_object(self._wrapped)
            # The Trainer's own compilation is the one to restore.
            config["model"].pop("compile_config", None)
        return config

    def _warn_of_own_variables(self) -> None:
        saved = {id(variable) for variable in self.model.variables}
        left_out = [v.path for v in self.trainable_variables if id(v) not in saved]
        if left_out:
            warnings.warn(
                f"`save_weights` saves only the wrapped model, without {left_out}. Use "
                "`save` to keep everything.",
                stacklevel=3,
            )

    @classmethod
    def from_config(cls, config: Config, custom_objects: Any = None) -> "WrappedModel":
        """Create the object from what `get_config` returned."""
        config = dict(config)
        if "model" in config:
            config["model"] = keras.saving.deserialize_keras_object(
                config["model"], custom_objects=custom_objects
            )
        return cls(**config)


def accepted_config(cls: Any, base: Any, config: Config) -> Config:
    """Return the part of the config of `base` that `cls.__init__` accepts.

    A subclass that overrides `get_config` knows its own arguments and gets everything.
    One that does not is checked here, when it is saved, rather than when it is loaded.

    Raises:
        NotImplementedError: If `cls.__init__` has its own arguments.
    """
    if cls.get_config is not base.get_config:
        return config
    parameters = inspect.signature(cls).parameters.values()
    kinds = {p.kind for p in parameters}
    more, keywords = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    named = {p.name for p in parameters if p.kind not in (more, keywords)}
    unknown = named - set(config) - {"model", "seed", "name"}
    # (*args, **kwargs) passes on what it is given.
    takes_model = "model" in named or {more, keywords} <= kinds
    if unknown or ("model" in config and not takes_model):
        raise NotImplementedError(
            f"{cls.__name__} cannot be saved: its __init__ takes "
            f"({', '.join(p.name for p in parameters)}), but it does not override "
            "`get_config` to return them. Add its arguments to `super().get_config()`, "
            "and create the object from them in `from_config`."
        )
    if keywords in kinds:
        return config
    return {name: value for name, value in config.items() if name in named}
