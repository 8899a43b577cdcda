"""Which models a Trainer can wrap, and errors for others."""

import os
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
        model: The model to wrap.
        more: Further positional arguments.
        options: Keyword arguments.
        wrapper: The class that wraps models, which cannot itself be wrapped.

    Raises:
        TypeError: If the arguments are those of a functional model, or `model` is not
            a `keras.Model`.
        ValueError: If `model` overrides steps or passes over the data, which a Trainer
            would not call.
    """
    if more or "inputs" in options or "outputs" in options:
        raise TypeError(
            "Trainer wraps a model and does not take inputs and outputs. Expected: "
            f"Trainer(keras.Model(inputs, outputs)). Received: {1 + len(more)} "
            f"positional arguments, keywords {sorted(options)}"
        )
    if model is None:
        return
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`model` must be a keras.Model. Received: {model!r} of type "
            f"{type(model).__name__}. {_advice(model)}"
        )
    if isinstance(model, wrapper):
        raise ValueError(
            f"`model` is itself a {type(model).__name__}, whose step the new Trainer "
            "would not call. Wrap its model: `Trainer(trainer.model)`."
        )
    for name in _STEPS:
        if getattr(type(model), name) is not getattr(keras.Model, name):
            raise ValueError(
                f"{type(model).__name__} overrides `{name}`, which Trainer(model) "
                "would not call. Derive the class from keras_ext.Trainer instead of "
                "keras.Model, or wrap a model without its own steps."
            )
    _check_passes(model)


def _advice(model: Any) -> str:
    """Return how to make a model of something that is not one."""
    if isinstance(model, (str, os.PathLike)):
        return "Load a saved one: `keras.saving.load_model(file)`."
    if isinstance(model, type):
        return f"Create an instance of it: `{model.__name__}(...)`."
    return "Make one of layers: `keras.Sequential([...])`."


def _check_passes(model: keras.Model) -> None:
    """Raise if the model's own `fit` may change the data, as KerasHub's do."""
    own = [
        name
        for name in _PASSES
        if getattr(type(model), name) is not getattr(keras.Model, name)
    ]
    # KerasHub's pass the data on unchanged if there is no preprocessor.
    if not own or getattr(model, "preprocessor", model) is None:
        return
    kind = type(model).__name__
    advice = "Derive the class from keras_ext.Trainer, or wrap a model without them."
    if hasattr(model, "preprocessor"):
        advice = (
            "They prepare the data with `preprocessor`. Do so beforehand, with "
            "`dataset.map(task.preprocessor)`, and wrap only the network: "
            "`Trainer(keras.Model(task.inputs, task.outputs))`, which trains the "
            "task's own weights; a model around `task.backbone`; or the task itself "
            "after `task.preprocessor = None`."
        )
    raise ValueError(
        f"{kind} overrides {', '.join(f'`{name}`' for name in own)}, which "
        f"Trainer(model) would not call. {advice}"
    )
