"""A `train_step` as one compiled function."""

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

if TYPE_CHECKING:
    from keras_ext.training.trainer import Trainer


class CompiledStep:
    """The `train_step` of a Trainer, traced for batches of every size.

    Args:
        trainer: A compiled Trainer. With `run_eagerly`, its step is not traced.

    Raises:
        NotImplementedError: If the Trainer was made under a strategy of several
            replicas.
    """

    def __init__(self, trainer: "Trainer") -> None:
        self._trainer = trainer
        self._strategy = trainer.distribute_strategy
        replicas = self._strategy.num_replicas_in_sync
        if replicas > 1:
            raise NotImplementedError(
                "Trainer.step and Trainer.fit run on one replica. Received: "
                f"{type(self._strategy).__name__} with {replicas} replicas. Use "
                "`keras.Model.fit(trainer, ...)` there."
            )
        self._function: Any = self._run
        self._traced = trainer.run_eagerly or tf.config.functions_run_eagerly()
        if not self._traced:
            self._function = tf.function(
                self._run,
                autograph=False,
                reduce_retracing=True,
                jit_compile=trainer.jit_compile,
            )
        self._variables: list[int] | None = None

    def __call__(self, data: Any) -> dict[str, Any]:
        """Make the step on one batch and return the logs."""
        batch = keras.tree.map_structure(_as_tensor, data)
        if not self._traced:
            self._function.get_concrete_function(
                keras.tree.map_structure(_spec_of_any_batch, batch)
            )
            self._traced = True
        logs = self._function(batch)
        if self._variables is None:
            self._variables = self._trainable_now()
        return logs

    def is_stale(self) -> bool:
        """Whether other variables are trainable than when the step was traced."""
        return self._variables not in (None, self._trainable_now())

    def _run(self, batch: Any) -> Any:
        logs = self._strategy.run(self._trainer.train_step, args=(batch,))
        if not isinstance(logs, dict):
            raise TypeError(
                f"`{type(self._trainer).__name__}.train_step` must return a dict of "
                f"names and numbers, such as {{'loss': loss}}. Received: {logs!r}"
            )
        return logs

    def _trainable_now(self) -> list[int]:
        return [id(variable) for variable in self._trainer.trainable_variables]


def _as_tensor(leaf: Any) -> Any:
    """Return `leaf` as a tensor; `None` and tensors of all kinds stay."""
    if leaf is None or tf.is_tensor(leaf):
        return leaf
    return tf.convert_to_tensor(leaf)


def _spec_of_any_batch(leaf: Any) -> Any:
    """Return the type of `leaf` with its first axis left open."""
    if not isinstance(leaf, tf.Tensor) or not leaf.shape.rank:
        return leaf
    return tf.TensorSpec([None, *leaf.shape[1:]], leaf.dtype)
