"""A model around a model: what `Trainer` accepts, takes over and passes on."""

import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_ext._types import Config
from keras_ext.training.adoption import adopt_compilation
from keras_ext.training.hooks import HOOKS
from keras_ext.training.layer_metrics import without_nested

_STEPS = (
    "train_step",
    "test_step",
    "predict_step",
    "compute_loss",
    "compute_metrics",
)


class WrappedModel(keras.Model):
    """A Keras model that computes what another one computes, and saves as that one.

    The part of `Trainer` that has nothing to do with training. Without a model to wrap,
    it is an ordinary `keras.Model`, whose subclass defines `call`.

    Args:
        model: The `keras.Model` to wrap, or `None`.
        *more: Nothing; what a functional model would be given is refused.
        **kwargs: `name`, `dtype`, `trainable` of `keras.Model`.
    """

    def __init__(self, model: keras.Model | None, *more: Any, **kwargs: Any) -> None:
        check_wrapped(model, more, kwargs)
        if model is not None:
            # What to cast, and whether to scale the loss, is for the model to say.
            kwargs = {"dtype": model.dtype_policy, "autocast": False, **kwargs}
        super().__init__(**kwargs)
        self._wrapped = model
        if model is not None:
            self.built = model.built
            self._hands_down_training = (
                "training" in inspect.signature(model.call).parameters
            )
            if model.compiled:
                adopt_compilation(self, model)

    @property
    def model(self) -> keras.Model:
        """The model to save and export; the Trainer itself, if it wraps none."""
        return self if self._wrapped is None else self._wrapped

    @model.setter
    def model(self, value: Any) -> None:
        raise AttributeError(
            f"`{type(self).__name__}.model` is the wrapped model and is set once. Pass "
            "it on: `super().__init__(model)`; give other models other names."
        )

    def __dir__(self) -> list[str]:
        # Keras saves and loads what it finds here, and would follow a Trainer that is
        # its own `model` in circles.
        own = self._wrapped is None
        return [name for name in super().__dir__() if not (own and name == "model")]

    def __setattr__(self, name: str, value: Any) -> None:
        if name in HOOKS and isinstance(value, keras.layers.Layer):
            raise AttributeError(
                f"`{name}` is a hook of Trainer, which a layer of that name would "
                "replace. Give the layer another name."
            )
        super().__setattr__(name, value)

    @property
    def output_names(self) -> list[str]:
        """Names of the wrapped model's outputs, for `compile(loss={...})`."""
        names: list[str] | None = getattr(self._wrapped, "output_names", None)
        if names is None:
            raise AttributeError(f"{type(self).__name__} has no named outputs")
        return names

    @property
    def metrics(self) -> list[keras.Metric]:
        """The own metrics and those of the wrapped model and its layers.

        Not those of models that are layers of it, as everywhere in Keras.
        """
        metrics, nested = super().metrics, self
        if self._wrapped is not None:
            # Not those that the wrapped model may itself be compiled with.
            metrics += keras.layers.Layer.metrics.fget(self._wrapped)
            nested = self._wrapped
        return without_nested(nested, metrics)

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

    def save_weights(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Save the wrapped model's weights; see `keras.Model.save_weights`.

        The file is that of the bare model that is not compiled: without the state of
        the optimizer and without variables that the Trainer itself may have, about
        which it warns. `save` keeps both.
        """
        if self._wrapped is None:
            super().save_weights(filepath, *args, **kwargs)
        else:
            self._warn_of_own_variables()
            self._wrapped.save_weights(filepath, *args, **kwargs)

    def load_weights(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Load the wrapped model's weights; see `keras.Model.load_weights`."""
        if self._wrapped is None:
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
            if self.compiled and self._shares_optimizer():
                # Keras saves the state of an optimizer where it finds it first: in
                # the wrapped model, which then needs one when it is loaded.
                optimizer = keras.optimizers.serialize(self.optimizer)
                config["model"]["compile_config"] = {"optimizer": optimizer}
        return config

    def _shares_optimizer(self) -> bool:
        """Whether the wrapped model is compiled with the same optimizer."""
        wrapped = self._wrapped
        return bool(
            wrapped is not None
            and wrapped.compiled
            and wrapped.optimizer is self.optimizer
        )

    def _warn_of_own_variables(self) -> None:
        saved = {id(variable) for variable in self.model.variables}
        left_out = [v.path for v in self.trainable_variables if id(v) not in saved]
        if left_out:
            warnings.warn(
                f"`save_weights` saves the wrapped model only, without {left_out}. Use "
                "`save` to keep everything.",
                stacklevel=3,
            )

    @classmethod
    def from_config(cls, config: Config, custom_objects: Any = None) -> "WrappedModel":
        """Make the object from what `get_config` returned."""
        config = dict(config)
        if "model" in config:
            config["model"] = keras.saving.deserialize_keras_object(
                config["model"], custom_objects=custom_objects
            )
        return cls(**config)


def check_wrapped(model: Any, more: Sequence[Any], options: Mapping[str, Any]) -> None:
    """Raise unless `model` is `None` or a model whose steps are Keras's own.

    Raises:
        TypeError: If the arguments are those of a functional model, or `model` is not
            a `keras.Model`.
        ValueError: If `model` overrides steps, which a Trainer would not call.
    """
    if more or "inputs" in options or "outputs" in options:
        raise TypeError(
            "Trainer wraps a model and takes no inputs and outputs. Expected: "
            "Trainer(keras.Model(inputs, outputs)). "
            f"Received: {1 + len(more)} positional arguments, keywords "
            f"{sorted(options)}"
        )
    if model is None:
        return
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`model` must be a keras.Model. "
            f"Received: {model!r} of type {type(model).__name__}"
        )
    if isinstance(model, WrappedModel):
        raise ValueError(
            f"`model` is a {type(model).__name__} itself, whose step the new Trainer "
            "would not call. Wrap its model: `Trainer(trainer.model)`."
        )
    for name in _STEPS:
        if getattr(type(model), name) is not getattr(keras.Model, name):
            raise ValueError(
                f"{type(model).__name__} overrides `{name}`, which Trainer(model) "
                "would not call. Derive the class from keras_ext.Trainer instead of "
                "keras.Model, or wrap a model without steps of its own."
            )


def accepted_config(cls: Any, base: Any, config: Config) -> Config:
    """Return what `cls.__init__` accepts of the config that `base` made for it.

    A subclass that overrides `get_config` knows its own arguments and gets everything.
    One that does not is checked here, when it is saved, rather than when it is loaded.

    Raises:
        NotImplementedError: If `cls.__init__` has arguments of its own.
    """
    if cls.get_config is not base.get_config:
        return config
    parameters = inspect.signature(cls).parameters.values()
    named = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
    unknown = named - set(config) - {"model", "more", "seed", "name"}
    if unknown or ("model" in config and "model" not in named):
        raise NotImplementedError(
            f"{cls.__name__} cannot be saved: its __init__ takes "
            f"({', '.join(p.name for p in parameters)}), and it does not override "
            "`get_config` to say what they were. Add its arguments to "
            "`super().get_config()`, and make the object from them in `from_config`."
        )
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return config
    return {name: value for name, value in config.items() if name in named}
