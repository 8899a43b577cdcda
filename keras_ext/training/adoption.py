"""Taking over how a model was compiled."""

import warnings

import keras


def adopt_compilation(trainer: keras.Model, model: keras.Model) -> None:
    """Compile `trainer` as `model` is compiled, with the same optimizer.

    Who holds on to `model`, a callback that prints its learning rate for instance,
    then sees the one that trains. Only a model with a `compile` of its own, which Keras
    does not compile when it loads one, is left its optimizer and lends a copy.

    Raises:
        ValueError: If the compilation of `model` can't be made a second time, or its
            optimizer was built for other variables.
    """
    with warnings.catch_warnings():
        # About a loss that is a lambda; the loss itself is taken, not its config.
        warnings.simplefilter("ignore", UserWarning)
        config = dict(model.get_compile_config())
    config.pop("loss", None)
    # Keras keeps what it made of "auto", which on a CPU is False.
    config["jit_compile"] = config.get("jit_compile") or "auto"
    shared = type(model).compile is keras.Model.compile
    try:
        arguments = keras.saving.deserialize_keras_object(config)
        if shared:
            arguments["optimizer"] = model.optimizer
        trainer.compile(loss=model.loss, **arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The model {model.name!r} is compiled in a way that can't be repeated for "
            "the Trainer. Register its own classes and functions with "
            "`keras.saving.register_keras_serializable`, or wrap a model that is not "
            f"compiled and compile the Trainer. Keras says: {error}"
        ) from error
    if model.optimizer is not None and model.optimizer.built:
        own = trainer.optimizer
        if shared:
            own = type(own).from_config(own.get_config())
        _build_alike(own, model)
        if not shared:
            for variable, value in zip(
                own.variables, model.optimizer.variables, strict=True
            ):
                variable.assign(value)


def warn_of_another_optimizer(trainer: keras.Model, model: keras.Model) -> None:
    """Warn if `model` is compiled with an optimizer that does not train it."""
    if model.compiled and model.optimizer is not trainer.optimizer:
        warnings.warn(
            f"The model {model.name!r} is compiled, and {type(trainer).__name__} "
            "trains it with another optimizer, so `optimizer` of the model, and what a "
            "callback reads from it, does not change. Use `trainer.optimizer`, and "
            "compile only one of both.",
            stacklevel=4,
        )


def _build_alike(own: keras.optimizers.Optimizer, model: keras.Model) -> None:
    """Build `own` for the model; raise unless the model's optimizer was built so."""
    own.build(model.trainable_variables)
    if [v.shape for v in own.variables] != [v.shape for v in model.optimizer.variables]:
        raise ValueError(
            f"The optimizer of {model.name!r} was built for other variables than are "
            "trainable now, so it can't update these. Expected the `trainable` "
            "attributes of the last `compile`. Compile the model again, or wrap one "
            "that is not compiled."
        )
