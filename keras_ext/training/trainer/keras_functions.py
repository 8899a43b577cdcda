"""The functions that Keras's own `fit`, `evaluate`, `predict` call for a step."""

from collections.abc import Callable
from typing import Any, Literal

import keras

from keras_ext.training.trainer.programs import Programs


def install(
    trainer: keras.Model,
    programs: Programs,
    name: Literal["train", "test", "predict"],
    make: Callable[..., Any],
    *,
    force: bool,
) -> Any:
    """Make Keras call a function for a step that is created when it is called.

    Only then is it known what the model consists of, and what checks updates.

    Args:
        trainer: The Trainer, whose attribute Keras reads.
        programs: Its compiled steps.
        name: Name of the step.
        make: Creates the function for Keras by setting the attribute.
        force: Whether to create it again.

    Returns:
        The value of the attribute.
    """
    attribute = f"{name}_function"

    def made() -> Any:
        called = getattr(trainer, attribute)
        make(force=True)
        function = getattr(trainer, attribute)
        # `make` replaced the attribute, which must remain the function that checks for
        # changes.
        setattr(trainer, attribute, called)
        return function

    def call(*arguments: Any) -> Any:
        if name == "train":
            programs.metrics.begin_step()
        return programs.keras_function(name, made)(*arguments)

    if force:
        programs.forget_keras_function(name)
    if force or getattr(trainer, attribute) is None:
        setattr(trainer, attribute, call)
    return getattr(trainer, attribute)
