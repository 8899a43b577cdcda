"""The callbacks of a loop: the user's, checked, and the built-in ones."""

from collections.abc import Iterable
from typing import Any

import keras

from keras_ext.callbacks._wrapper import CallbackWrapper
from keras_ext.callbacks.training_callback import TrainingCallback
from keras_ext.training.base.interfaces import program_of
from keras_ext.training.base.strategy_workers import workers_of
from keras_ext.training.loop.callback_contract import check_frequency
from keras_ext.training.loop.known_callbacks import is_for_chief
from keras_ext.training.loop.progress import with_progress_bar
from keras_ext.training.resume.checkpoint import Checkpoint
from keras_ext.training.resume.signals import EvaluationInterrupter


def callback_list(
    callbacks: Any, model: Any, *, verbose: int, epochs: int, steps: int | None
) -> keras.callbacks.CallbackList:
    """Return the callbacks of a loop, with History and optionally a progress bar.

    Args:
        callbacks: The user's callbacks.
        model: The model as seen by callbacks.
        verbose: 0 for no progress bar.
        epochs: The number of the epoch at which the loop ends.
        steps: Batches per epoch; `None` while that is not known.

    Raises:
        TypeError: If an item is not a callback.
        ValueError: If a callback cannot work in a loop.
    """
    add_progbar = verbose != 0
    if isinstance(callbacks, keras.callbacks.CallbackList):
        # Whoever created the list decided about the progress bar.
        callbacks, add_progbar = callbacks.callbacks, False
    callbacks = [one for one in unwrapped(callbacks, model) if one is not None]
    for callback in callbacks:
        _check_callback(callback)
    checkpoints = [one for one in callbacks if isinstance(one, Checkpoint)]
    callbacks += [EvaluationInterrupter(one.signal_listener) for one in checkpoints]
    show_graph(callbacks, model)
    return keras.callbacks.CallbackList(
        with_progress_bar(callbacks) if add_progbar else callbacks,
        add_history=True,
        model=model,
        verbose=verbose,
        epochs=epochs,
        steps=steps,
        # A callback that must see every step can rely on this, whatever the model was
        # compiled with.
        steps_per_execution=1,
        # See `keras_ext.callbacks.TrainingCallback`.
        calls_step_hooks=True,
        resumable=bool(checkpoints),
    )


def unwrapped(callbacks: Any, model: Any) -> list[Any]:
    """Return a flat list of what is called in this process.

    What `Replay` and `OnChief` wrap is in their place, and what is for the chief of
    several workers is with the chief only.
    """
    workers = workers_of(getattr(model, "distribute_strategy", None))
    is_chief = workers is None or workers.is_chief
    layers = map(_layers, keras.tree.flatten(callbacks))
    return [each[-1] for each in layers if is_chief or not any(map(is_for_chief, each))]


def _layers(callback: Any) -> list[Any]:
    """Return a callback and what it wraps, the innermost last."""
    layers = [callback]
    while isinstance(layers[-1], CallbackWrapper):
        layers.append(layers[-1].callback)
    return layers


def show_graph(callbacks: Iterable[Any], model: Any) -> None:
    """Write the layers of the model that a Trainer wraps for TensorBoard.

    Its callback writes those of a functional or sequential model, which it recognizes
    by the name of the class.
    """
    # Another model may have an attribute `model` for something else.
    if program_of(model) is None:
        return
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.TensorBoard) and callback.write_graph:
            writer = keras.callbacks.TensorBoard(callback.log_dir)
            writer.set_model(model.model)
            writer.on_train_end()  # closes the file


def _check_callback(callback: Any) -> None:
    if isinstance(callback, keras.callbacks.BackupAndRestore):
        raise ValueError(
            "keras.callbacks.BackupAndRestore works only in keras.Model.fit: no other "
            "loop can read from it where to continue. Save with "
            "keras.callbacks.ModelCheckpoint and pass `initial_epoch=`, or use "
            "`keras.Model.fit(trainer, ...)`."
        )
    if isinstance(callback, TrainingCallback):
        check_frequency(callback.batch_hook_freq)
    if isinstance(callback, keras.callbacks.Callback):
        return
    hint = "Pass instances of keras.callbacks.Callback."
    if isinstance(callback, type):
        hint = f"Create an instance of it: `{callback.__name__}(...)`."
    elif isinstance(callback, keras.optimizers.schedules.LearningRateSchedule):
        hint = "Apply it with `keras_ext.callbacks.LearningRateScheduler(schedule)`."
    raise TypeError(
        f"`callbacks` has an item that is not a callback: {callback!r}. {hint}"
    )
