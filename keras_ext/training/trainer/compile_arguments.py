"""The arguments of `Trainer.compile`, checked and in the form that Keras accepts."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf


def bind(
    function: Callable[..., Any], args: Any, kwargs: Any, replicas: int
) -> tuple[inspect.BoundArguments, bool | Literal["auto"]]:
    """Return the arguments, and the requested `jit_compile`.

    Args:
        function: `keras.Model.compile` of the model.
        args: Its arguments by position.
        kwargs: Its arguments by name.
        replicas: How many replicas make a step together.

    Raises:
        ValueError: If one number is given as the weight of several losses, or XLA is
            requested with several replicas.
    """
    call = inspect.signature(function).bind(*args, **kwargs)
    choice = call.arguments.get("jit_compile", "auto")
    if "loss_weights" in call.arguments:
        weights = _floats(call.arguments["loss_weights"])
        losses = keras.tree.flatten(call.arguments.get("loss"))
        if isinstance(weights, float) and len(losses) > 1:
            raise ValueError(
                "`loss_weights` must be one number for each loss, in a list or dict "
                f"like `loss`. Received: loss_weights={weights} for {len(losses)} "
                "losses"
            )
        call.arguments["loss_weights"] = weights
    if choice is True and replicas > 1:
        raise ValueError(
            "With several replicas, steps run as a graph. Received: "
            f"jit_compile=True under a strategy of {replicas} replicas. Leave it "
            "out."
        )
    return call, choice


def _floats(weights: Any) -> Any:
    """Return numbers and arrays as floats and lists of them, which Keras expects."""
    if isinstance(weights, Mapping):
        return {name: _floats(weight) for name, weight in weights.items()}
    if isinstance(weights, (list, tuple)):
        return [_floats(weight) for weight in weights]
    if isinstance(weights, (int, np.ndarray, np.generic, tf.Tensor, tf.Variable)):
        return np.asarray(weights, "float64").tolist()
    return weights
