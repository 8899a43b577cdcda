"""A callback whose hooks for batches are called after the call that made the steps."""

import keras

from keras_ext.callbacks._wrapper import CallbackWrapper


class Replay(CallbackWrapper):
    """Keeps training fast with a callback that overrides a hook for batches.

    `keras_ext.Trainer.fit`, `evaluate`, `predict` and `keras_ext.Loop` make many steps
    per call, but only one if a callback must be called after every batch. Most such
    callbacks only read the numbers of the batch. Wrapped in `Replay`, they are called
    after a call of many steps (about a tenth of a second): for each of its batches, in
    order, with the logs of that batch, as `keras.Model.fit` would have called them.
    `model.optimizer.iterations` and `learning_rate` have their values after that batch,
    too.

    What differs is the rest of the model: its weights are those after the whole call.
    So do not wrap a callback that saves or changes the model after a batch, or that
    measures the time between hooks. If a callback sets `stop_training`, the training
    ends after the call; the logs of the epoch then contain `steps_after_stop`, the
    number of steps that were made after that batch, unless it is 0.

    A callback with an attribute `batch_hook_freq = "replay"`, such as a
    `keras_ext.callbacks.TrainingCallback`, needs no `Replay`. Nor do Keras's
    `TerminateOnNaN` and `TensorBoard(update_freq=n)`, and those callbacks of
    KerasTuner, MLflow, tqdm and Weights & Biases that log batches.

    In `keras.Model.fit`, the callback is called as without this class.

    Args:
        callback: The callback. Its attribute `batch_hook_freq` is set.

    Raises:
        TypeError: If `callback` is not a `keras.callbacks.Callback`.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> import keras_ext
    >>> losses = []
    >>> note = keras.callbacks.LambdaCallback(
    ...     on_train_batch_end=lambda batch, logs: losses.append(logs["loss"])
    ... )
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> trainer = keras_ext.Trainer(model)
    >>> trainer.compile("sgd", loss="mse")
    >>> x, y = np.ones((64, 2)), np.ones((64, 1))
    >>> history = trainer.fit(
    ...     x, y, batch_size=4, verbose=0, callbacks=[keras_ext.callbacks.Replay(note)]
    ... )
    >>> len(losses)
    16
    """

    batch_hook_freq = "replay"

    def __init__(self, callback: keras.callbacks.Callback) -> None:
        super().__init__(callback)
        callback.batch_hook_freq = "replay"
