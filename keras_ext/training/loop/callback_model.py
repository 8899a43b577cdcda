"""The model that a `Loop` shows to callbacks."""

from typing import Any

import keras


class ModelView:
    """A model as seen by callbacks: with an optimizer and `stop_training`.

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

    # mypy: a class should not claim to be another class, which is the point here.
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._model)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._model(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        # A copy has no `_model` while it is being created, and looking for it would
        # never end.
        if name == "_model":
            raise AttributeError(name)
        if name == "optimizer" and not self._model.compiled:
            raise AttributeError(
                "A callback read `model.optimizer`, but this Loop has none. Pass it: "
                "`keras_ext.Loop(model, optimizer=optimizer, ...)`."
            )
        return getattr(self._model, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._own:
            object.__setattr__(self, name, value)
        else:
            setattr(self._model, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return ModelView, (self._model, vars(self).get("optimizer"))
