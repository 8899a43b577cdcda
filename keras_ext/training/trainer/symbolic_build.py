"""Creating all variables of a training step before it is traced."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_ext.training.trainer.hooks import SteppedModel


def build_variables(trainer: SteppedModel, batch: Any, *, optimizer: bool) -> None:
    """Create the variables of the model and its metrics for batches like this one.

    If variables are created while a step is traced, TensorFlow traces it a second time,
    and fails under a strategy with several replicas. Nothing is computed here: the
    hooks see symbolic tensors.

    Args:
        trainer: The Trainer.
        batch: A batch, or arrays that are cut into batches.
        optimizer: Whether to also create the variables of its optimizer.
    """
    leaves = [leaf for leaf in keras.tree.flatten(batch) if leaf is not None]
    if not all(isinstance(leaf, (tf.Tensor, tf.SparseTensor)) for leaf in leaves):
        return
    # A strategy has copies for its replicas only of variables created in it.
    with trainer.distribute_strategy.scope():
        data = keras.tree.map_structure(_symbolic, batch)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        _Dry(lambda *batch: _pass(trainer, *batch)).run(x, y, sample_weight)
    if optimizer:
        build_optimizer(trainer)


def build_optimizer(trainer: SteppedModel) -> None:
    """Create the variables of the optimizer, if the model has those to be trained."""
    own = trainer.optimizer
    if own is not None and not own.built and trainer.trainable_variables:
        # A strategy has copies for its replicas only of variables created in it.
        with trainer.distribute_strategy.scope():
            own.build(trainer.trainable_variables)


def _pass(trainer: SteppedModel, x: Any, y: Any, sample_weight: Any) -> Any:
    """Process a batch like a training step, up to the gradients."""
    # Only such a scope keeps what layers pass to `add_loss`.
    with keras.StatelessScope(collect_losses=True):
        y_pred = trainer.forward(x, training=True)
        loss = trainer.compute_loss(x, y, y_pred, sample_weight, training=True)
    trainer.compute_metrics(x, y, y_pred, sample_weight)
    return loss


# An Operation, since Keras calls one with symbolic tensors in its own graph, where
# variables can be created but are not changed.
class _Dry(keras.Operation):
    """Calls a function with symbolic tensors, for the variables that it creates."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        self.error: Exception | None = None

    def run(self, *args: Any) -> None:
        """Call the function; its errors are not rephrased as those of a layer."""
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
