"""The arguments of `Trainer.compile`, checked and in the form that Keras accepts."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from keras_ext import _checks
from keras_ext.training.trainer.legacy_objects import check_arguments

_PARAMETER_SERVERS = (
    tf.distribute.ParameterServerStrategy,
    tf.distribute.experimental.ParameterServerStrategy,
)


def bind(
    function: Callable[..., Any],
    args: Any,
    kwargs: Any,
    strategy: tf.distribute.Strategy,
) -> tuple[inspect.BoundArguments, bool | Literal["auto"]]:
    """Return the arguments, and the requested `jit_compile`.

    Args:
        function: `keras.Model.compile` of the model.
        args: Its arguments by position.
        kwargs: Its arguments by name.
        strategy: The strategy of the model.

    Raises:
        ValueError: If an optimizer, loss or metric is of Keras 2, `jit_compile` is not
            a choice, one number is given as the weight of several losses, XLA is
            requested with several replicas, or the strategy is that of parameter
            servers.
    """
    if isinstance(strategy, _PARAMETER_SERVERS):
        raise ValueError(
            "In a Trainer's step, all workers make the same update together. Received: "
            "a model under ParameterServerStrategy, whose workers update variables one "
            "by one; with Keras 3, updates are lost on the way. Use "
            "MirroredStrategy or MultiWorkerMirroredStrategy."
        )
    replicas = strategy.num_replicas_in_sync
    call = inspect.signature(function).bind(*args, **kwargs)
    check_arguments(call.arguments)
    choice = call.arguments.get("jit_compile", "auto")
    _checks.one_of("jit_compile", choice, (True, False, "auto", None))
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


def decline_xla(arguments: Mapping[str, Any]) -> bool:
    """Whether a loss or metric has `supports_jit = False`, as layers of Keras can.

    Args:
        arguments: Those of `keras.Model.compile`, by name.
    """
    names = ("loss", "metrics", "weighted_metrics")
    found = keras.tree.flatten([arguments.get(name) for name in names])
    return not all(getattr(one, "supports_jit", True) for one in found)


def _floats(weights: Any) -> Any:
    """Return numbers and arrays as floats and lists of them, which Keras expects."""
    if isinstance(weights, Mapping):
        return {name: _floats(weight) for name, weight in weights.items()}
    if isinstance(weights, (list, tuple)):
        return [_floats(weight) for weight in weights]
    if isinstance(weights, (int, np.ndarray, np.generic, tf.Tensor, tf.Variable)):
        return np.asarray(weights, "float64").tolist()
    return weights
