"""Packages that replace `keras.Model.fit`, which `Trainer.fit` does not call."""

import warnings
from typing import Any

import keras


def warn_of_replaced_fit(trainer: keras.Model, callbacks: Any) -> None:
    """Warn if a package logs what `keras.Model.fit` does, as MLflow's `autolog`.

    Not if one of its callbacks is there, which logs as well.
    """
    package = _package(getattr(keras.Model.fit, "__globals__", {}).get("__name__", ""))
    callbacks = keras.tree.flatten(getattr(callbacks, "callbacks", callbacks) or [])
    kinds = [kind for one in callbacks for kind in type(one).__mro__]
    if package in ("keras", *(_package(kind.__module__) for kind in kinds)):
        return
    kind = type(trainer).__name__
    warnings.warn(
        f"{package or 'A package'} has replaced `keras.Model.fit`, which `{kind}.fit` "
        "does not call, so it logs nothing. Pass its callback to `fit`, for MLflow "
        "`mlflow.tensorflow.MlflowCallback()`; or call the replacement, "
        "`keras.Model.fit(trainer, ...)`, which makes one step per call.",
        stacklevel=3,
    )


def _package(module: str) -> str:
    return module.partition(".")[0]
