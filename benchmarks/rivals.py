"""mnist-mlp trained in TensorFlow without Keras's `fit`."""

import itertools
from collections.abc import Callable

import keras
import tensorflow as tf
from workloads import Workload


def tensorflow_loop(
    workload: Workload, *, traced: bool, steps: int | None = None
) -> Callable[[], float]:
    """Return an epoch as written in tutorials: a step with a tape, looped in Python.

    Args:
        workload: What to train.
        traced: Whether the step is a `tf.function`.
        steps: Step to stop at. Default: the end of the data.
    """
    model = workload.network()
    optimizer = keras.optimizers.get(workload.optimizer)
    optimizer.build(model.trainable_variables)
    loss_fn = keras.losses.SparseCategoricalCrossentropy()
    mean_loss = keras.metrics.Mean()
    accuracy = keras.metrics.SparseCategoricalAccuracy()
    dataset = shuffled_dataset(workload)

    def train_step(x: tf.Tensor, y: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            predictions = model(x, training=True)
            loss = loss_fn(y, predictions)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        mean_loss.update_state(loss)
        accuracy.update_state(y, predictions)

    step = tf.function(train_step) if traced else train_step

    def run() -> float:
        mean_loss.reset_state()
        accuracy.reset_state()
        for x, y in itertools.islice(dataset, steps):
            step(x, y)
        return float(accuracy.result())

    return run


def shuffled_dataset(workload: Workload) -> tf.data.Dataset:
    """Return the workload's samples as a pipeline of shuffled batches."""
    dataset = tf.data.Dataset.from_tensor_slices((workload.x, workload.y))
    return dataset.shuffle(10_000).batch(workload.batch_size)
