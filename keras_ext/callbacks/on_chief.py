"""A callback that only one of several workers calls."""

from keras_ext.callbacks._wrapper import CallbackWrapper


class OnChief(CallbackWrapper):
    """Has only the chief of several workers call a callback.

    Under `tf.distribute.MultiWorkerMirroredStrategy`, every worker runs the whole
    program, and with it every callback: files would be written, and metrics be sent,
    once for each. Wrapped in `OnChief`, a callback is called in the first worker only:
    that of the type `"chief"` in `TF_CONFIG`, or the `"worker"` of index 0. The others
    leave it out, and make as many steps per call as the chief.

    `keras_ext.callbacks.CSVLogger` needs no `OnChief`, nor do Keras's `CSVLogger`,
    `ModelCheckpoint` and `TensorBoard`: a `keras_ext.Trainer` and a `keras_ext.Loop`
    call them on the chief only. A `keras_ext.callbacks.TrainingCallback` says the same
    with `chief_only = True`.

    Do not wrap a callback that changes the training, such as `EarlyStopping`: every
    worker has the same numbers, and comes to the same decision. One that evaluates the
    model, or reads the value of a metric from it, must be called in every worker, since
    TensorFlow adds up the parts of all of them.

    With one process, and in `keras.Model.fit`, the callback is called as without this
    class.

    Args:
        callback: The callback.

    Raises:
        TypeError: If `callback` is not a `keras.callbacks.Callback`.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> import keras_ext
    >>> note = keras.callbacks.LambdaCallback(
    ...     on_epoch_end=lambda epoch, logs: print(f"epoch {epoch} has ended")
    ... )
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> trainer = keras_ext.Trainer(model)
    >>> trainer.compile("sgd", loss="mse")
    >>> history = trainer.fit(
    ...     np.ones((64, 2)), np.ones((64, 1)), verbose=0,
    ...     callbacks=[keras_ext.callbacks.OnChief(note)],
    ... )
    epoch 0 has ended
    """

    chief_only = True
