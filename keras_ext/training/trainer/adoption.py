"""Taking over how a model was compiled."""

import warnings
from typing import Any

import keras


def adopt_compilation(trainer: keras.Model, model: keras.Model) -> None:
    """Compile `trainer` as `model` is compiled, with the same optimizer.

    Who holds on to `model`, a callback that prints its learning rate for instance,
    then sees the one that trains.

    Raises:
        ValueError: If the compilation of `model` can't be made a second time, or its
            optimizer was built for other variables.
    """
    with warnings.catch_warnings():
        # About a loss that is a lambda; the loss itself is taken, not its config.
        warnings.simplefilter("ignore", UserWarning)
        config = dict(model.get_compile_config())
    for name in ("loss", "optimizer"):
        config.pop(name, None)
    # Keras keeps what it made of "auto", which on a CPU is False.
    config["jit_compile"] = config.get("jit_compile") or "auto"
    try:
        arguments = keras.saving.deserialize_keras_object(config)
        trainer.compile(model.optimizer, loss=model.loss, **arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The model {model.name!r} is compiled in a way that can't be repeated for "
            "the Trainer. Register its own classes and functions with "
            "`keras.saving.register_keras_serializable`, or wrap a model that is not "
            f"compiled and compile the Trainer. Keras says: {error}"
        ) from error
    if model.optimizer is not None and model.optimizer.built:
        _check_variables(model.optimizer, model)


def warn_of_another_optimizer(
    trainer: keras.Model, model: keras.Model, callbacks: Any
) -> None:
    """Warn if callbacks may look at an optimizer of `model` that does not train it."""
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
            "compile only one of both.",
            stacklevel=4,
        )


def _may_hold_on(callback: Any) -> bool:
    """Whether a callback may look at another model than the one it is given."""
    known = type(callback).__module__.split(".")[0] in ("keras", "keras_ext")
    return not known or isinstance(callback, keras.callbacks.LambdaCallback)


def _check_variables(optimizer: keras.optimizers.Optimizer, model: keras.Model) -> None:
    """Raise unless an optimizer was built for what is trainable now."""
    # An optimizer does not say what it was built for, so it is compared with one that
    # is built for the variables of now.
    fitting = type(optimizer).from_config(optimizer.get_config())
    fitting.build(model.trainable_variables)
    if [v.shape for v in fitting.variables] != [v.shape for v in optimizer.variables]:
        raise ValueError(
            f"The optimizer of {model.name!r} was built for other variables than are "
            "trainable now, so it can't update these. Expected the `trainable` "
            "attributes of the last `compile`. Compile the model again, or wrap one "
            "that is not compiled."
        )
