"""mnist-mlp in JAX and PyTorch, each in its own process, without TensorFlow.

    python benchmarks/foreign.py torch samples.npz --epochs 5

Trains whenever a line arrives on its standard input, and prints the accuracy.
`fit_speed.py` starts one for each framework: threads and memory of one do not get in
the way of the others, which wait while it works.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator

# JAX would take most of a GPU's memory for itself.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import numpy as np

EPSILON = 1e-7  # Keras's, in Adam
PATIENCE = 1800.0  # seconds, in which some epochs are made, or something is wrong


@contextlib.contextmanager
def process(
    name: str, x: np.ndarray, y: np.ndarray, size: int, epochs: int
) -> Iterator[Callable[[], float]]:
    """Start a process; yield what trains in it and returns the accuracy.

    Args:
        name: The framework, one of `FRAMEWORKS`.
        x: The images.
        y: Their labels.
        size: Samples per step.
        epochs: How many epochs are made each time.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "samples.npz")
        np.savez(path, x=x, y=y)
        command = [sys.executable, __file__, name, path]
        command += ["--batch-size", str(size), "--epochs", str(epochs)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as child:
            try:
                yield lambda: _train(name, child)
            finally:
                child.kill()


def _train(name: str, child: "subprocess.Popen[str]") -> float:
    """Have a process train once; return the accuracy."""
    timer = threading.Timer(PATIENCE, child.kill)
    timer.start()
    try:
        child.stdin.write("train\n")
        child.stdin.flush()
        line = child.stdout.readline()
    finally:
        timer.cancel()
    if not line:
        raise RuntimeError(f"The process of {name} has ended: {child.wait()}")
    return float(line)


def jax_epochs(
    x: np.ndarray, y: np.ndarray, size: int, epochs: int
) -> Callable[[], float]:
    """Return some epochs of mnist-mlp in JAX: each a single call of compiled code.

    The code permutes the samples and scans over the batches, including dropout and the
    accuracy.
    """
    import jax
    import jax.numpy as jnp
    import optax

    steps = len(x) // size
    x = jnp.asarray(x.reshape(len(x), -1))
    y = jnp.asarray(y)
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


def torch_epochs(
    x: np.ndarray, y: np.ndarray, size: int, epochs: int
) -> Callable[[], float]:
    """Return some epochs of mnist-mlp in PyTorch: a loop with its fused Adam."""
    import torch

    nn = torch.nn
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x = torch.as_tensor(x, device=device)
    y = torch.as_tensor(y, device=device)
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(28 * 28, 128),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(128, 10),
    ).to(device)
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), eps=EPSILON, fused=True)

    def epoch() -> float:
        total = torch.zeros((), device=device)
        correct = torch.zeros((), dtype=torch.int64, device=device)
        for rows in torch.randperm(len(x), device=device).split(size):
            labels = y[rows]
            logits = model(x[rows])
            loss = loss_fn(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
            correct += (logits.argmax(dim=1) == labels).sum()
        return float(correct) / len(x)

    return lambda: [epoch() for _ in range(epochs)][-1]


FRAMEWORKS = {"jax": jax_epochs, "torch": torch_epochs}


def main() -> None:
    """Train as often as is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("framework", choices=FRAMEWORKS)
    parser.add_argument("samples", help="file with the arrays x and y")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=1, help="per line of the input")
    options = parser.parse_args()
    with np.load(options.samples) as samples:
        x, y = samples["x"], samples["y"]
    run = FRAMEWORKS[options.framework](x, y, options.batch_size, options.epochs)
    for _ in sys.stdin:
        print(run(), flush=True)


if __name__ == "__main__":
    main()
