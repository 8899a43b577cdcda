"""Two logical CPUs, for replicas; TensorFlow must be told before it begins."""

import contextlib
import importlib.util

import keras

# Not where these tests are skipped: other folders' tests run in the same process.
if (
    importlib.util.find_spec("tensorflow_addons") is not None
    and keras.backend.backend() == "tensorflow"
):
    import tensorflow as tf

    # If tests of another folder came first, the one with replicas is skipped.
    with contextlib.suppress(RuntimeError):
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * 2,
        )
