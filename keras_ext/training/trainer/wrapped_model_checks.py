"""Which models a Trainer wraps, and what it says of others."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

_STEPS = (
    "train_step",
    "test_step",
    "predict_step",
    "compute_loss",
    "compute_metrics",
)
_PASSES = (
    "fit",
    "evaluate",
    "predict",
    "train_on_batch",
    "test_on_batch",
    "predict_on_batch",
)


def check_wrapped(
    model: Any, more: Sequence[Any], options: Mapping[str, Any], wrapper: type
) -> None:
    """Raise unless `model` is `None` or a model whose steps are Keras's own.

    Args:
        model: What is to be wrapped.
        more: What else was given by position.
        options: What was given by name.
        wrapper: The class that wraps models, and is not to be wrapped itself.

    Raises:
        TypeError: If the arguments are those of a functional model, or `model` is not
            a `keras.Model`.
        ValueError: If `model` overrides steps or passes over the data, which a Trainer
            would not call.
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
    if isinstance(model, wrapper):
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
    _check_passes(model)


def _check_passes(model: keras.Model) -> None:
    """Raise if the model's own `fit` may do something to the data, as KerasHub's do."""
    own = [
        name
        for name in _PASSES
        if getattr(type(model), name) is not getattr(keras.Model, name)
    ]
    # KerasHub's hand the data on as it is when there is no preprocessor.
    if not own or getattr(model, "preprocessor", model) is None:
        return
    kind = type(model).__name__
    advice = "Derive the class from keras_ext.Trainer, or wrap a model without them."
    if hasattr(model, "preprocessor"):
        advice = (
            "They prepare the data with `preprocessor`. Do so before, with "
            "`dataset.map(task.preprocessor)`, and wrap the network alone: "
            "`Trainer(keras.Model(task.inputs, task.outputs))`, which trains the "
            "task's own weights; a model around `task.backbone`; or the task itself "
            "after `task.preprocessor = None`."
        )
    raise ValueError(
        f"{kind} overrides {', '.join(f'`{name}`' for name in own)}, which "
        f"Trainer(model) would not call. {advice}"
    )
