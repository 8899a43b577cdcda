"""Taking over how a model was compiled."""

import warnings

import keras


def adopt_compilation(trainer: keras.Model, model: keras.Model) -> None:
    """Compile `trainer` as `model` is compiled, with a copy of its optimizer.

    Raises:
        ValueError: If the compilation of `model` can't be made a second time.
    """
    with warnings.catch_warnings():
        # About a loss that is a lambda; the loss itself is taken, not its config.
        warnings.simplefilter("ignore", UserWarning)
        config = dict(model.get_compile_config())
    config.pop("loss", None)
    # Keras keeps what it made of "auto", which on a CPU is False.
    config["jit_compile"] = config.get("jit_compile") or "auto"
    try:
        arguments = keras.saving.deserialize_keras_object(config)
        trainer.compile(loss=model.loss, **arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The model {model.name!r} is compiled in a way that can't be repeated for "
            "the Trainer. Register its own classes and functions with "
            "`keras.saving.register_keras_serializable`, or wrap a model that is not "
            f"compiled and compile the Trainer. Keras says: {error}"
        ) from error
    if model.optimizer is not None and model.optimizer.built:
        _copy_state(model.optimizer, trainer.optimizer, model)


def _copy_state(
    lent: keras.optimizers.Optimizer,
    own: keras.optimizers.Optimizer,
    model: keras.Model,
) -> None:
    own.build(model.trainable_variables)
    if [v.shape for v in own.variables] != [v.shape for v in lent.variables]:
        raise ValueError(
            f"The optimizer of {model.name!r} was built for other variables than are "
            "trainable now, so its state can't be copied. Expected the `trainable` "
            "attributes of the last `compile`. Compile the model again, or wrap one "
            "that is not compiled."
        )
    for variable, value in zip(own.variables, lent.variables, strict=True):
        variable.assign(value)
