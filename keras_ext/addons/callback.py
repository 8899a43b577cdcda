"""Callbacks of TensorFlow Addons as callbacks of Keras 3."""

from typing import Any

import keras

from keras_ext.addons._config import check_kind

_HOOKS = (
    *(f"on_{when}_{what}" for what in ("begin", "end") for when in ("epoch", "batch")),
    *(
        f"on_{stage}_{part}{what}"
        for stage in ("train", "test", "predict")
        for part in ("", "batch_")
        for what in ("begin", "end")
    ),
)


class AddonsCallback(keras.callbacks.Callback):
    """A callback of Keras 3 around one of Keras 2; `addons.callback` makes it.

    Args:
        legacy: Callback of TensorFlow Addons or tf_keras.
    """

    def __init__(self, legacy: Any) -> None:
        import tf_keras

        check_kind(legacy, "callback", tf_keras.callbacks.Callback)
        if isinstance(legacy, tf_keras.callbacks.ModelCheckpoint):
            raise TypeError(
                f"`addons.callback` cannot adapt {type(legacy).__name__}, which writes "
                "files of Keras 2. Use keras.callbacks.ModelCheckpoint, after "
                "keras_ext.callbacks.WeightAveraging if averages are to be saved."
            )
        super().__init__()
        self.legacy = legacy
        for name in _HOOKS:
            base = getattr(tf_keras.callbacks.Callback, name)
            # Only those that do something: a hook for batches costs time.
            if getattr(type(legacy), name) is not base:
                setattr(self, name, getattr(legacy, name))

    def set_params(self, params: Any) -> None:
        """Pass on the parameters of the run."""
        super().set_params(params)
        self.legacy.set_params(params)

    def set_model(self, model: Any) -> None:
        """Pass on the model."""
        super().set_model(model)
        self.legacy.set_model(model)


def callback(legacy: Any) -> AddonsCallback:
    """Make a Keras 3 callback of one of TensorFlow Addons.

    Args:
        legacy: Callback of TensorFlow Addons or tf_keras: `TQDMProgressBar` or
            `TimeStopping`.

    Returns:
        A `keras.callbacks.Callback`.

    Raises:
        TypeError: If it is not such a callback, or one that writes models:
            `AverageModelCheckpoint`.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_ext import addons
    >>> callback = addons.callback(addons.tfa.callbacks.TimeStopping(seconds=0))
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", loss="mse")
    >>> x, y = np.ones((8, 2)), np.ones((8, 1))
    >>> model.fit(x, y, epochs=9, verbose=0, callbacks=[callback]).epoch
    [0]
    """
    return AddonsCallback(legacy)
