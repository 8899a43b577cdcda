"""A step, and what it must know of the model that it belongs to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras

from keras_ext.training.step.xla_policy import Compilation


class StepContext(Compilation, Protocol):
    """What a compiled step must know of the model that it belongs to."""

    @property
    def run_eagerly(self) -> bool:
        """Whether nothing is compiled."""


@dataclass(frozen=True, eq=False)
class Step:
    """A step, as written by the user or a Trainer.

    Args:
        name: Name of the step in messages.
        function: Takes a batch and returns the logs.
        join: Combines the logs of all replicas into one set.
        build: Called with the first batch, before the step is traced for it.
        traced: Called after each trace of the step.
        explain: Called when a step has failed, with the error, the batch, and whether
            that is a single batch (not arrays that are cut into batches). May raise a
            better error.
        noted: Returns the variables whose values are kept with the logs of each step,
            where those are asked for.
    """

    name: str
    function: Callable[[Any], Any]
    join: Callable[[Any], Any]
    build: Callable[[Any], None]
    traced: Callable[[], None]
    explain: Callable[[Exception, Any, bool], None]
    noted: Callable[[], Sequence[keras.Variable]] = tuple
