"""What compiling a Trainer means: the arguments, and the steps made with them."""

import contextlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from keras_ext._types import Config
from keras_ext.training.loop.logs import kept
from keras_ext.training.trainer.programs import CompiledSteps
from keras_ext.training.trainer.wrapper import WrappedModel


class CompiledModel(WrappedModel):
    """The part of `Trainer` that takes `compile`'s arguments and keeps its results.

    Args:
        model: The `keras.Model` to wrap, or `None`.
        *more: Nothing.
        **kwargs: `name`, `dtype`, `trainable` of `keras.Model`.
    """

    _jit_choice: bool | Literal["auto"] = "auto"

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
        self._compiled.counted = None

    def make_train_function(self, force: bool = False) -> None:
        """Make what Keras's own `fit` and `train_on_batch` call for a step."""

        def train(*arguments: Any) -> Any:
            self._begin_step()
            return self._function_of_keras("train")(*arguments)

        self._make_function_of_keras("train", train, force)

    def make_test_function(self, force: bool = False) -> None:
        """Make what Keras's own `evaluate` and `test_on_batch` call for a step."""

        def test(*arguments: Any) -> Any:
            return self._function_of_keras("test")(*arguments)

        self._make_function_of_keras("test", test, force)

    def make_predict_function(self, force: bool = False) -> Any:
        """Make what Keras's own `predict` and `predict_on_batch` call for a step."""

        def predict(*arguments: Any) -> Any:
            return self._function_of_keras("predict")(*arguments)

        return self._make_function_of_keras("predict", predict, force)

    def _make_function_of_keras(self, name: str, function: Any, force: bool) -> Any:
        """Have Keras call `function`; what it calls in turn is made when it is called.

        Only then it is known what the model consists of, and what looks at updates.
        """
        attribute = f"{name}_function"
        if force:
            of_keras = self._compiled.of_keras
            for key in [key for key in of_keras if key[0] == name]:
                del of_keras[key]
        if force or getattr(self, attribute) is None:
            setattr(self, attribute, function)
        return getattr(self, attribute)

    def _function_of_keras(self, name: str) -> Any:
        """Return what Keras makes for a step of the model as it is now."""
        compiled, attribute = self._current_steps(), f"{name}_function"
        key = name, self.update_watch
        if key not in compiled.of_keras:
            called = getattr(self, attribute)
            getattr(super(), f"make_{attribute}")(force=True)
            compiled.of_keras[key] = getattr(self, attribute)
            setattr(self, attribute, called)
            compiled.note_parts()
        return compiled.of_keras[key]

    def _begin_step(self) -> None:
        """Have metrics count batches of a training, and of nothing else."""
        if self._compiled.counted == "pass":
            self.reset_metrics()
        if self._compiled.counted != "training":
            self._compiled.counted = "training"

    @contextlib.contextmanager
    def _another_pass(self) -> Iterator[None]:
        """Have metrics of a training go on, after another pass, where they are now.

        Otherwise they may be read as the pass leaves them, until they are reset.
        """
        if self._compiled.counted != "training":
            try:
                yield
            finally:
                self._compiled.counted = "pass"
            return
        try:
            with kept(self):
                yield
        finally:
            self._compiled.counted = "training"

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
            self._compiled = CompiledSteps(self, compiled.counted)
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
    if isinstance(weights, (int, np.ndarray, np.generic, tf.Tensor, tf.Variable)):
        return np.asarray(weights, "float64").tolist()
    return weights
