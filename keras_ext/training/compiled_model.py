"""What compiling a Trainer means: the arguments, and the steps made with them."""

import contextlib
import functools
import inspect
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from keras_ext._types import Config
from keras_ext.training.compiled_steps import CompiledSteps
from keras_ext.training.logs import kept
from keras_ext.training.wrapping import WrappedModel


class CompiledModel(WrappedModel):
    """The part of `Trainer` that takes `compile`'s arguments and keeps its results.

    Args:
        model: The `keras.Model` to wrap, or `None`.
        *more: Nothing.
        **kwargs: `name`, `dtype`, `trainable` of `keras.Model`.
    """

    _jit_choice: bool | Literal["auto"] = "auto"
    train_function: Any
    # Whether the metrics have counted batches of a training since they were reset.
    _metrics_are_of_training = False
    # What was current when Keras's own function for a step was made.
    _trains_as: CompiledSteps | None = None

    def __init__(self, model: keras.Model | None, *more: Any, **kwargs: Any) -> None:
        super().__init__(model, *more, **kwargs)
        self._compiled = CompiledSteps(self)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Configure the training; arguments of `keras.Model.compile`.

        `jit_compile="auto"`, the default, has XLA compile the steps where it is
        expected to make them faster: on a GPU, and on a CPU where the step contains no
        convolution or pooling. `True` and `False` decide it. `loss_weights` may be
        arrays and integers too.
        """
        call = inspect.signature(super().compile).bind(*args, **kwargs)
        choice = call.arguments.get("jit_compile", "auto")
        if "loss_weights" in call.arguments:
            weights = _floats(call.arguments["loss_weights"])
            losses = keras.tree.flatten(call.arguments.get("loss"))
            if isinstance(weights, float) and len(losses) > 1:
                raise ValueError(
                    "`loss_weights` must be one number for each loss, in a list or "
                    f"dict as `loss` is. Received: loss_weights={weights} for "
                    f"{len(losses)} losses"
                )
            call.arguments["loss_weights"] = weights
        replicas = self.distribute_strategy.num_replicas_in_sync
        if choice is True and replicas > 1:
            raise ValueError(
                "With several replicas, steps run as a graph. Received: "
                f"jit_compile=True under a strategy of {replicas} replicas. Leave it "
                "out."
            )
        with self.distribute_strategy.scope():
            super().compile(*call.args, **call.kwargs)
        # Keras declines for layers that say they can't be compiled.
        declined = choice is True and not self.jit_compile
        self._jit_choice = False if declined else choice
        self._compiled = CompiledSteps(self)

    def reset_metrics(self) -> None:
        """Start the running values of all metrics again."""
        super().reset_metrics()
        self._metrics_are_of_training = False

    def make_train_function(self, force: bool = False) -> Any:
        """Return what Keras's own `fit` and `train_on_batch` call for a step."""
        compiled = self._current_steps()
        if self.train_function is None or force or self._trains_as is not compiled:
            compiled.note_parts()
            self._trains_as, self.train_function = compiled, None
            super().make_train_function(force)
            function = self.train_function

            @functools.wraps(function)
            def train(*args: Any) -> Any:
                self._metrics_are_of_training = True
                return function(*args)

            self.train_function = train
        return self.train_function

    @contextlib.contextmanager
    def _another_pass(self) -> Iterator[None]:
        """Have metrics go on, after a pass without training, where they are now.

        After a training they need not: then they may be read as the pass leaves them.
        """
        if not self._metrics_are_of_training:
            yield
            return
        try:
            with kept(self.metrics_variables):
                yield
        finally:
            self._metrics_are_of_training = True

    def compile_from_config(self, config: Config) -> None:
        """Compile as a saved one was; Keras calls this when it loads one."""
        if type(self).compile is not CompiledModel.compile:
            # Keras says what such a subclass has to override.
            super().compile_from_config(config)
            return
        self.compile(**keras.saving.deserialize_keras_object(config))
        optimizer = self.optimizer
        # Which variables it serves in a Trainer of several networks, only the step
        # knows.
        known = self.built and self._defines_call
        if optimizer is not None and known and not optimizer.built:
            optimizer.build(self.trainable_variables)

    def get_compile_config(self) -> Config | None:
        """Return the arguments of `compile`, with `jit_compile` as it was given."""
        config: Config | None = super().get_compile_config()
        return config and {**config, "jit_compile": self._jit_choice}

    def _current_steps(self, *, other_variables_train: bool = False) -> CompiledSteps:
        """Return the compiled steps; new ones where the model has changed since.

        Args:
            other_variables_train: Whether it counts as a change that others than
                before are trainable.
        """
        compiled = self._compiled
        frozen = other_variables_train and compiled.trains_others()
        if frozen or compiled.are_stale():
            self._compiled = CompiledSteps(self)
        return self._compiled

    def _require_compiled(self, method: str) -> None:
        if not self.compiled:
            raise RuntimeError(
                f"`{type(self).__name__}.{method}` needs a compiled Trainer. Call "
                "`compile(optimizer=..., loss=...)` first."
            )


def _floats(weights: Any) -> Any:
    """Return numbers and arrays as floats and lists of them, which Keras expects."""
    if isinstance(weights, Mapping):
        return {name: _floats(weight) for name, weight in weights.items()}
    if isinstance(weights, (list, tuple)):
        return [_floats(weight) for weight in weights]
    if isinstance(weights, (int, np.ndarray, np.generic, tf.Tensor)):
        return np.asarray(weights, "float64").tolist()
    return weights
