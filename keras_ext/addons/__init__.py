"""TensorFlow Addons in Keras 3: what keeps a trained model running until it has moved.

TensorFlow Addons has ended, and its last wheels are for Python 3.11, which ends in
October 2027; this bridge ends with it. Nearly everything has a successor, which the
page "Where did it go" of the documentation names: use it, and the bridge only for what
is left.

`tfa` is the package TensorFlow Addons, imported so that its `tf.keras` is tf_keras.
`loss`, `metric`, `layer`, `optimizer` and `callback` make objects of Keras 3 of its
objects. It needs the TensorFlow backend, and `pip install "keras_ext[addons]"`.
"""

from typing import Any

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "The bridge to TensorFlow Addons needs Keras's TensorFlow backend. Received: "
        f"backend {keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow before "
        "Keras is imported."
    )

from keras_ext.addons._package import tensorflow_addons
from keras_ext.addons.callback import callback
from keras_ext.addons.layer import layer
from keras_ext.addons.loss import loss
from keras_ext.addons.metric import metric
from keras_ext.addons.optimizer import optimizer

__all__ = [
    "callback",
    "layer",
    "loss",
    "metric",
    "optimizer",
    "tensorflow_addons",
]


def __getattr__(name: str) -> Any:
    """Import TensorFlow Addons for `tfa`, on first use."""
    if name != "tfa":
        raise AttributeError(f"module 'keras_ext.addons' has no attribute {name!r}")
    return tensorflow_addons()
