"""Making all variables of a training step before it is traced."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_ext.training.trainer.hooks import SteppedModel


def build_variables(trainer: SteppedModel, batch: Any, *, optimizer: bool) -> None:
    """Make the variables of the model and its metrics for batches like this one.

    Variables that come into being while a step is traced have TensorFlow trace it a
    second time, and under a strategy of several replicas it fails. Nothing is computed
    here: the hooks see symbolic tensors.

    Args:
        trainer: The Trainer.
        batch: A batch, or arrays that are cut into batches.
        optimizer: Whether to make the variables of its optimizer too.
    """
    leaves = [leaf for leaf in keras.tree.flatten(batch) if leaf is not None]
    if not all(isinstance(leaf, (tf.Tensor, tf.SparseTensor)) for leaf in leaves):
        return
    # A strategy has copies for its replicas only of variables that are made in it.
    with trainer.distribute_strategy.scope():
        data = keras.tree.map_structure(_symbolic, batch)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        _Dry(lambda *batch: _pass(trainer, *batch)).run(x, y, sample_weight)
        own = trainer.optimizer if optimizer else None
        if own is not None and not own.built:
            own.build(trainer.trainable_variables)


def _pass(trainer: SteppedModel, x: Any, y: Any, sample_weight: Any) -> Any:
    """Make of a batch what a training step makes of it, up to the gradients."""
    # What layers pass to `add_loss` is kept by such a scope only.
    with keras.StatelessScope(collect_losses=True):
        y_pred = trainer.forward(x, training=True)
        loss = trainer.compute_loss(x, y, y_pred, sample_weight, training=True)
    trainer.compute_metrics(x, y, y_pred, sample_weight)
    return loss


# An Operation, since Keras calls one with symbolic tensors in a graph of its own, where
# variables can be made but are not changed.
class _Dry(keras.Operation):
    """Calls a function with symbolic tensors, for the variables that it makes."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        self.error: Exception | None = None

    def run(self, *args: Any) -> None:
        """Call the function; its errors come as they are, not in words on layers."""
        try:
            self(*args)
        except Exception as error:
            raise (self.error or error) from None

    def call(self, *args: Any) -> Any:
        try:
            return self.function(*args)
        except Exception as error:
            self.error = error
            raise


def _symbolic(leaf: Any) -> Any:
    if leaf is None:
        return None
    shape = (None, *leaf.shape[1:]) if leaf.shape.rank else ()
    sparse = isinstance(leaf, tf.SparseTensor)
    return keras.KerasTensor(shape, leaf.dtype.name, sparse=sparse)
