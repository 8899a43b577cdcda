"""Layers, models, losses, metrics, optimizers, callbacks and a Trainer for Keras 3.

The component rooms (`layers`, `models`, `losses`, `metrics`, `optimizers`, `schedules`,
`callbacks`) use only Keras's public API and run on every Keras backend. `Trainer`,
`SharpnessAwareTrainer` and `Loop` need the TensorFlow backend; they are loaded on first
use, so that importing `keras_ext` costs next to nothing and does not itself import
TensorFlow. So is `addons`, the bridge to TensorFlow Addons.
"""

import importlib
from typing import TYPE_CHECKING, Any

from keras_ext import (
    callbacks,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    schedules,
)
from keras_ext._late_registration import register as _register
from keras_ext._version import __version__

if TYPE_CHECKING:
    from keras_ext import addons
    from keras_ext.training import Loop, SharpnessAwareTrainer, Trainer

__all__ = [
    "Loop",
    "SharpnessAwareTrainer",
    "Trainer",
    "__version__",
    "addons",
    "callbacks",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "schedules",
]

_SAVED = ("SharpnessAwareTrainer", "Trainer")
_LAZY = ("Loop", *_SAVED, "addons")

_register("keras_ext.training", *_SAVED)
for _kind in ("layer", "loss", "metric", "optimizer"):
    _register(f"keras_ext.addons.{_kind}", f"Addons{_kind.title()}")


def __getattr__(name: str) -> Any:
    """Load the names that need TensorFlow, and TensorFlow itself, on first use."""
    if name not in _LAZY:
        raise AttributeError(f"module 'keras_ext' has no attribute {name!r}")
    if name == "addons":
        return importlib.import_module("keras_ext.addons")
    return getattr(importlib.import_module("keras_ext.training"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
