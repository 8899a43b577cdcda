"""mnist-mlp trained without Keras's `fit`: in TensorFlow, JAX and PyTorch.

`jax_epochs` and `torch_epoch` import their framework when they are called.
"""

import itertools
from collections.abc import Callable

import keras
import tensorflow as tf
from workloads import Workload

EPSILON = 1e-7  # Keras's, in Adam


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


def jax_epochs(workload: Workload, epochs: int) -> Callable[[], float]:
    """Return some epochs of mnist-mlp in JAX: each a single call of compiled code.

    The code permutes the samples and scans over the batches, including dropout and the
    accuracy.
    """
    import jax
    import jax.numpy as jnp
    import optax

    size, steps = workload.batch_size, len(workload.x) // workload.batch_size
    x = jnp.asarray(workload.x.reshape(len(workload.x), -1))
    y = jnp.asarray(workload.y)
    optimizer = optax.adam(1e-3, eps=EPSILON)
    glorot = jax.nn.initializers.glorot_uniform()

    def loss_and_correct(weights, key, x, y):
        hidden = jax.nn.relu(x @ weights["w1"] + weights["b1"])
        kept = jax.random.bernoulli(key, 0.8, hidden.shape)
        hidden = jnp.where(kept, hidden / 0.8, 0.0)
        logits = hidden @ weights["w2"] + weights["b2"]
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
        return losses.mean(), (logits.argmax(axis=1) == y).sum()

    @jax.jit
    def epoch(weights, state, key, x, y):
        shuffling, dropping = jax.random.split(key)
        order = jax.random.permutation(shuffling, len(x))[: steps * size]

        def step(carry, batch):
            weights, state, loss, correct = carry
            rows, key = batch
            (more_loss, more_correct), gradients = jax.value_and_grad(
                loss_and_correct, has_aux=True
            )(weights, key, x[rows], y[rows])
            updates, state = optimizer.update(gradients, state, weights)
            weights = optax.apply_updates(weights, updates)
            return (weights, state, loss + more_loss, correct + more_correct), None

        batches = order.reshape(steps, size), jax.random.split(dropping, steps)
        return jax.lax.scan(step, (weights, state, 0.0, 0), batches)[0]

    first, second, key = jax.random.split(jax.random.key(0), 3)
    weights = {
        "w1": glorot(first, (x.shape[1], 128)),
        "b1": jnp.zeros(128),
        "w2": glorot(second, (128, 10)),
        "b2": jnp.zeros(10),
    }
    state = optimizer.init(weights)

    def run() -> float:
        nonlocal weights, state, key
        for _ in range(epochs):
            key, now = jax.random.split(key)
            weights, state, _, correct = epoch(weights, state, now, x, y)
        return float(correct) / (steps * size)

    return run


def torch_epoch(workload: Workload) -> Callable[[], float]:
    """Return an epoch of mnist-mlp in PyTorch, as a loop with its fused Adam."""
    import torch

    nn = torch.nn
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x = torch.as_tensor(workload.x, device=device)
    y = torch.as_tensor(workload.y, device=device)
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(28 * 28, 128),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(128, 10),
    ).to(device)
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), eps=EPSILON, fused=True)

    def run() -> float:
        total = torch.zeros((), device=device)
        correct = torch.zeros((), dtype=torch.int64, device=device)
        for rows in torch.randperm(len(x), device=device).split(workload.batch_size):
            labels = y[rows]
            logits = model(x[rows])
            loss = loss_fn(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
            correct += (logits.argmax(dim=1) == labels).sum()
        return float(correct) / len(x)

    return run
