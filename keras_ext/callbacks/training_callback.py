"""What a callback may tell a run and request of it: the contract, as a base class."""

from typing import Any, Literal

import keras

from keras_ext.callbacks.run_request import RunRequest


class TrainingCallback(keras.callbacks.Callback):
    """A callback that declares how often it is called, what it saves and requests.

    A `keras.callbacks.Callback` with a few more attributes and hooks, for callbacks
    that should keep `keras_ext.Trainer.fit` and `keras_ext.Loop` fast, and take part in
    a run that `keras_ext.callbacks.Checkpoint` saves. Everything has a default, so you
    need not override any; in `keras.Model.fit` it is an ordinary callback. A callback
    that is not derived from this class but has an attribute or method of one of these
    names is treated in the same way.

    Hooks that may be overridden, in addition to those of Keras:

    - `before_compiled_step()` and `after_compiled_step()`: called before and after
      every step, for every kind of batch. They are traced into the compiled function,
      so they compute with tensors and keep their state in variables. If they cannot be
      traced, they are called from Python, with one step per call; they are also called
      this way if a hook for batches is called after every batch, which they may rely
      on, and if the step is not compiled. `fit` traces them an extra time to find out.
      A hook that is `None` is not called.
    - `get_state()` and `set_state(state)`: the state of the callback, for a run that is
      saved and continued.

    Do not override `calls_step_hooks` and `is_resumable`: they describe the run.

    Attributes:
        batch_hook_freq: How often the hooks for batches (`on_train_batch_end` and so
            on) must be called, if one is overridden: a positive integer, at every
            multiple of that many batches, counted in the epoch and in total, possibly
            more often; `"epoch"`, once per call, which makes as many steps as fit into
            a tenth of a second; or `"replay"`, after a call, for each of its batches
            with the logs of that batch, see `keras_ext.callbacks.Replay`. Default: 1,
            after every batch.
        request: A `RunRequest` or its text, which the run follows as soon as it can;
            `None` requests nothing. Default: `None`.
        chief_only: Whether only the first of several workers calls it, as one that
            writes files, see `keras_ext.callbacks.OnChief`. Default: `False`.
        traced_with: An object that the hooks around a step use in addition to `self`,
            such as a schedule: if it is replaced, they are traced again. Default:
            `None`.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> import keras_ext
    >>> class StepCounter(keras_ext.callbacks.TrainingCallback):
    ...     batch_hook_freq = "epoch"  # it needs no call after every batch
    ...
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.steps = keras.Variable(0, dtype="int64", trainable=False)
    ...
    ...     def after_compiled_step(self):
    ...         self.steps.assign_add(1)
    ...
    ...     def get_state(self):
    ...         return {"steps": int(self.steps)}
    ...
    ...     def set_state(self, state):
    ...         self.steps.assign(state["steps"])
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> trainer = keras_ext.Trainer(model)
    >>> trainer.compile("sgd", loss="mse")
    >>> counter = StepCounter()
    >>> history = trainer.fit(
    ...     np.ones((70, 2)), np.ones((70, 1)), epochs=2, verbose=0,
    ...     callbacks=[counter],
    ... )
    >>> int(counter.steps)  # 3 batches an epoch, the last a smaller one
    6
    """

    batch_hook_freq: Literal["epoch", "replay"] | int = 1
    request: RunRequest | None = None
    chief_only: bool = False
    traced_with: Any = None

    def before_compiled_step(self) -> None:
        """Act before a step; called at every step, traced if possible."""

    def after_compiled_step(self) -> None:
        """Act after a step; called at every step, traced if possible."""

    def get_state(self) -> dict[str, Any] | None:
        """Return the state of the callback; called eagerly when the run is saved.

        Returns:
            Dict of plain data: numbers, strings, arrays, and lists, tuples, sets and
            dicts of them. If this is not overridden, all attributes are saved that hold
            plain data and are neither arguments of the constructor nor attributes of
            this class; an override must return its own dict.
        """
        return None

    def set_state(self, state: dict[str, Any]) -> None:
        """Set a state from `get_state`; called eagerly when a run is continued.

        Called after `on_train_begin`. The default sets attributes; if `get_state` is
        overridden, this must be too.

        Args:
            state: The dict, as read from a file: check it, and raise `ValueError` if it
                is not one that `get_state` returns.
        """
        raise NotImplementedError(
            f"{type(self).__name__} overrides `get_state` without `set_state`, so a "
            "run cannot be continued with it. Override both or neither."
        )

    @property
    def calls_step_hooks(self) -> bool:
        """Whether the run calls `before_compiled_step` and `after_compiled_step`.

        False in `keras.Model.fit`: act in the hooks for batches there. Read it in
        `on_train_begin`: an evaluation that is also given the callback changes it.
        """
        return bool((self.params or {}).get("calls_step_hooks"))

    @property
    def is_resumable(self) -> bool:
        """Whether the run is saved by a Checkpoint, so that a `request` is followed."""
        return bool((self.params or {}).get("resumable"))
