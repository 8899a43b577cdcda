"""What Keras's own tests try, as a table: the situation, stock's numbers, ours.

A row is a function that is given a way to make the trained object: the model itself, a
`Trainer` around it, or a class derived from `Trainer`. It returns what is compared.
"""

from tests.training.keras_situations import (
    callbacks,
    checkpoints,
    evaluating,
    feeding,
    fitting,
    models,
    monitors,
    nesting,
    outputs,
    saving,
    stepping,
    structures,
    weighting,
    weights,
)
from tests.training.keras_situations.table import SITUATIONS

__all__ = [
    "SITUATIONS",
    "callbacks",
    "checkpoints",
    "evaluating",
    "feeding",
    "fitting",
    "models",
    "monitors",
    "nesting",
    "outputs",
    "saving",
    "stepping",
    "structures",
    "weighting",
    "weights",
]
