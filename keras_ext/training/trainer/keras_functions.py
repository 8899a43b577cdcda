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
    """Have Keras call a function for a step, which is made when it is called.

    Only then it is known what the model consists of, and what looks at updates.

    Args:
        trainer: The Trainer, whose attribute Keras looks at.
        programs: What is compiled for it.
        name: Which step it is for.
        make: What Keras makes the function with: it sets the attribute.
        force: Whether to make it again.

    Returns:
        The value of the attribute.
    """
    attribute = f"{name}_function"

    def made() -> Any:
        called = getattr(trainer, attribute)
        make(force=True)
        function = getattr(trainer, attribute)
        # `make` has replaced the attribute, which must stay what looks for changes.
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
