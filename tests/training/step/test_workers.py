"""Two processes that train together: the same numbers as one alone."""

import json
import os
import socket
import subprocess
import sys

import numpy as np

from tests.markers import needs_semaphores

CODE = """
import contextlib, json, os, time
import tensorflow as tf

together = "TF_CONFIG" in os.environ
strategy = tf.distribute.MultiWorkerMirroredStrategy() if together else None

import keras
import keras_ext
from tests.training.problems import CLASSIFY, LABELS, X

keras.utils.set_random_seed(5)
with strategy.scope() if strategy else contextlib.nullcontext():
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(16, activation="relu", kernel_regularizer="l2"),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    trainer = keras_ext.Trainer(model, seed=1)
    trainer.compile("adam", **CLASSIFY)


class Slow(keras.callbacks.Callback):
    # Lets the second worker fall behind the first.
    batch_hook_freq = "epoch"

    def on_train_batch_end(self, batch, logs=None):
        if '"index": 1' in os.environ.get("TF_CONFIG", ""):
            time.sleep(0.03)


slow = [Slow()]
history = trainer.fit(
    X, LABELS, batch_size=2, epochs=6, verbose=0, callbacks=slow
).history
results = trainer.evaluate(X, LABELS, batch_size=9, verbose=0)
predictions = trainer.predict(X, batch_size=16, verbose=0)
weights = [weight.tolist() for weight in trainer.get_weights()]
print(json.dumps([history, results, predictions.tolist(), weights]))
"""


def start(cluster=None, index=0):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    if cluster:
        task = {"type": "worker", "index": index}
        environment["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
    return subprocess.Popen(
        [sys.executable, "-c", CODE],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result(process):
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return json.loads(output.strip().splitlines()[-1])


def free_ports(count):
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def flat(structure):
    if isinstance(structure, dict):
        structure = [structure[name] for name in sorted(structure)]
    if not isinstance(structure, list):
        return [structure]
    return [value for item in structure for value in flat(item)]


@needs_semaphores  # for the threads in which TensorFlow reduces over workers
def test_two_workers_compute_what_one_process_does():
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
    with start(cluster, 0) as one, start(cluster, 1) as other:
        try:
            first, second = result(one), result(other)
        finally:
            one.kill()
            other.kill()
    assert first == second
    np.testing.assert_allclose(flat(first), flat(result(start())), atol=1e-6)
