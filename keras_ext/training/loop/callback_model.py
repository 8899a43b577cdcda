"""The model that callbacks are shown by a `Loop`."""

from typing import Any

import keras


class ModelView:
    """A model as callbacks see it: with an optimizer and a place to say stop.

    Callbacks read `model.optimizer` and set `model.stop_training`, which a model that
    was not compiled does not have. Everything else is read from, and written to, the
    model itself; it can be called, and is an instance of the model's class.
    """

    _own = ("_model", "optimizer", "stop_training", "history")

    def __init__(
        self, model: keras.Model, optimizer: keras.optimizers.Optimizer | None = None
    ) -> None:
        self._model = model
        if optimizer is not None:
            self.optimizer = optimizer
        self.stop_training = False

    # mypy: a class is not meant to claim another class, which is the point here.
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._model)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._model(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        # A copy has no `_model` yet while it is made, and looking for one would never
        # end.
        if name == "_model":
            raise AttributeError(name)
        if name == "optimizer" and not self._model.compiled:
            raise AttributeError(
                "A callback asked for `model.optimizer`, and this Loop has none. Pass "
                "it: `keras_ext.Loop(model, optimizer=optimizer, ...)`."
            )
        return getattr(self._model, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._own:
            object.__setattr__(self, name, value)
        else:
            setattr(self._model, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return ModelView, (self._model, vars(self).get("optimizer"))
