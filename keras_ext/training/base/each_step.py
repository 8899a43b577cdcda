"""What each step of a call has left, for callbacks that are called after the call."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf


class EachStep:
    """The logs of each step of a call, and the values that some variables had after it.

    Args:
        logs: The logs, one for each step.
        variables: Variables that a step may change.
        values: Their values after each step, likewise; those after the last are the
            values that they have.
    """

    def __init__(
        self,
        logs: Sequence[Mapping[str, Any]],
        variables: Sequence[keras.Variable] = (),
        values: Sequence[Sequence[Any]] = (),
    ) -> None:
        self.logs = logs
        # Most stay what they are, and an assignment costs as much as a quick hook; of
        # TensorFlow's variable, with tensors, a sixth of one of Keras's.
        self._changed = [
            (variable.value, tf.unstack(np.asarray(column, variable.dtype)))
            for variable, column in zip(
                variables, zip(*values, strict=True), strict=True
            )
            if any(value != column[-1] for value in column)
        ]

    def __len__(self) -> int:
        return len(self.logs)

    def recalled(self) -> Iterator[Mapping[str, Any]]:
        """Yield the logs of each step, while the variables have the values after it."""
        try:
            for number, logs in enumerate(self.logs):
                for variable, values in self._changed:
                    variable.assign(values[number], read_value=False)
                yield logs
        finally:
            for variable, values in self._changed:
                variable.assign(values[-1], read_value=False)
