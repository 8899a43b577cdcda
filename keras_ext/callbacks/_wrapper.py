"""A callback around another one, which a Loop takes out."""

from typing import Any

import keras

_HOOKS = (
    *(
        f"on_{mode}_{end}"
        for mode in ("train", "test", "predict")
        for end in ("begin", "end")
    ),
    *(
        f"on_{mode}batch_{end}"
        for mode in ("train_", "test_", "predict_", "")
        for end in ("begin", "end")
    ),
    "on_epoch_begin",
    "on_epoch_end",
)


class CallbackWrapper(keras.callbacks.Callback):
    """Calls the hooks of another callback, in loops that do not know this class.

    A Loop puts the callback itself in the place of this object, so that what it
    remembers is saved with a run as without it.

    Args:
        callback: The callback.

    Raises:
        TypeError: If it is not a `keras.callbacks.Callback`.
    """

    def __init__(self, callback: keras.callbacks.Callback) -> None:
        super().__init__()
        if not isinstance(callback, keras.callbacks.Callback):
            own, given = type(self).__name__, getattr(callback, "__name__", "")
            hint = f" Make one: `{own}({given}(...))`."
            raise TypeError(
                "`callback` must be a keras.callbacks.Callback. Received: "
                f"{callback!r}." + (hint if isinstance(callback, type) else "")
            )
        self.callback = callback
        for hook in _HOOKS:
            setattr(self, hook, getattr(callback, hook))

    def set_params(self, params: dict[str, Any]) -> None:
        """Hand the parameters of the run to the callback, too."""
        super().set_params(params)
        self.callback.set_params(params)

    def set_model(self, model: keras.Model) -> None:
        """Hand the model to the callback, too."""
        super().set_model(model)
        self.callback.set_model(model)
