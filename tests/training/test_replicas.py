"""Several replicas: refused by `Trainer.step`, left to stock `fit`."""

import os
import subprocess
import sys

CODE = """
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)

import keras
import keras_ext
from tests.training.problems import CLASSIFY, LABELS, X, classifier

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    trainer = keras_ext.Trainer(classifier())
    trainer.compile("sgd", **CLASSIFY)
try:
    trainer.fit(X, LABELS, verbose=0)
except NotImplementedError as error:
    print(error)
keras.Model.fit(trainer, X, LABELS, batch_size=70, shuffle=False, verbose=0)

one = classifier()
one.compile("sgd", **CLASSIFY)
one.fit(X, LABELS, batch_size=70, shuffle=False, verbose=0)
kernel, expected = trainer.get_weights()[0], one.get_weights()[0]
print("difference", abs(kernel - expected).max())
"""


def test_two_replicas():
    result = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    message, difference = result.stdout.strip().splitlines()
    assert "MirroredStrategy with 2 replicas. Use `keras.Model.fit(" in message
    assert float(difference.split()[1]) < 1e-2, "batch norm sees half the batch"
