"""Adopting the compilation of a model."""

import warnings
from typing import Any

import keras


def adopt_compilation(trainer: keras.Model, model: keras.Model) -> None:
    """Compile `trainer` like `model`, with the same optimizer.

    Code that refers to `model`, such as a callback that prints its learning rate, then
    sees the optimizer that trains.

    Raises:
        ValueError: If the compilation of `model` cannot be repeated, or its optimizer
            was built for other variables.
    """
    with warnings.catch_warnings():
        # About a loss that is a lambda; the loss itself is used, not its config.
        warnings.simplefilter("ignore", UserWarning)
        config = dict(model.get_compile_config())
    for name in ("loss", "optimizer"):
        config.pop(name, None)
    # Keras keeps the resolved value of "auto", which on a CPU is False.
    config["jit_compile"] = config.get("jit_compile") or "auto"
    try:
        arguments = keras.saving.deserialize_keras_object(config)
        trainer.compile(model.optimizer, loss=model.loss, **arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The model {model.name!r} is compiled in a way that cannot be repeated "
            "for the Trainer. Register custom classes and functions with "
            "`keras.saving.register_keras_serializable`, or wrap a model that is not "
            f"compiled and compile the Trainer. Keras says: {error}"
        ) from error
    if model.optimizer is not None and model.optimizer.built:
        _check_variables(model.optimizer, model)


def warn_of_another_optimizer(
    trainer: keras.Model, model: keras.Model, callbacks: Any
) -> None:
    """Warn if callbacks may read an optimizer of `model` that does not train it."""
    callbacks = keras.tree.flatten(getattr(callbacks, "callbacks", callbacks) or [])
    if (
        model.compiled
        and model.optimizer is not trainer.optimizer
        and any(_may_hold_on(one) for one in callbacks if one is not None)
    ):
        warnings.warn(
            f"The model {model.name!r} is compiled, and {type(trainer).__name__} "
            "trains it with another optimizer, so `optimizer` of the model, and what a "
            "callback reads from it, does not change. Use `trainer.optimizer`, and "
            "compile only one of the two.",
            stacklevel=3,
        )


def _may_hold_on(callback: Any) -> bool:
    """Whether a callback may read a model other than the one it is given."""
    known = type(callback).__module__.split(".")[0] in ("keras", "keras_ext")
    return not known or isinstance(callback, keras.callbacks.LambdaCallback)


def _check_variables(optimizer: keras.optimizers.Optimizer, model: keras.Model) -> None:
    """Raise unless an optimizer was built for the current trainable variables."""
    # An optimizer does not reveal what it was built for, so it is compared with one
    # built for the current variables.
    fitting = type(optimizer).from_config(optimizer.get_config())
    fitting.build(model.trainable_variables)
    if [v.shape for v in fitting.variables] != [v.shape for v in optimizer.variables]:
        raise ValueError(
            f"The optimizer of {model.name!r} was built for variables other than those "
            "trainable now, so it cannot update these. Expected the `trainable` "
            "attributes of the last `compile`. Compile the model again, or wrap one "
            "that is not compiled."
        )
